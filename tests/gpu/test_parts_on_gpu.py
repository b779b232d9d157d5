"""Degradations, critics and spectra on a CUDA device give the CPU's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torch.nn.functional as F
from critic_runs import save_experiment
from skimage import data
from test_training_on_gpu import no_waiting

from basicsr.analysis.images import Runtime, list_images
from basicsr.analysis.quality_critic import load_critic
from basicsr.analysis.robustness import RobustnessSettings, measure_robustness
from basicsr.degradation import DEGRADATIONS, PairPool
from basicsr.utils.seeding import torch_generator

pytestmark = pytest.mark.gpu


def make_batch(device: str) -> dict[str, torch.Tensor]:
    """Smooth images with a random kernel each."""
    coarse = torch.rand(4, 3, 30, 30, generator=torch_generator("gpu", 0))
    kernels = torch.rand(4, 21, 21, generator=torch_generator("gpu", 1))
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    gt = F.interpolate(coarse, size=(120, 120), mode="bicubic").clamp(0, 1)
    names = ("kernel", "kernel1", "kernel2", "sinc_kernel")
    return {"gt": gt.to(device), **{name: kernels.to(device) for name in names}}


@pytest.mark.parametrize("gate", ["batch", "sample"])
@pytest.mark.parametrize("name", ["hard_gated", "simple_gated", "second_order"])
def test_degradations_are_those_of_the_cpu_and_keep_nobody_waiting(name: str, gate: str) -> None:
    pipeline: Any = DEGRADATIONS[name](scale=4, gt_size=64, gate=gate)
    on_cpu, on_gpu = make_batch("cpu"), make_batch("cuda")
    for seed in range(6):
        parameters = pipeline.draw(4, 120, 120, torch_generator("gpu", 2, seed))
        expected = pipeline.apply(on_cpu, parameters)
        pipeline.apply(on_gpu, parameters)  # tables and filters get there
        with no_waiting():
            actual = pipeline.apply(on_gpu, parameters)
        assert actual.lq.is_cuda
        torch.testing.assert_close(actual.gt.cpu(), expected.gt)
        difference = (actual.lq.cpu() - expected.lq).abs() * 255
        # Rounding to 8 bit, and in JPEG to whole steps, turns a last bit into a level here and there.
        assert (difference > 0.5).float().mean() < 0.02, (seed, float(difference.max()))


def test_the_pool_keeps_nobody_waiting() -> None:
    pipeline: Any = DEGRADATIONS["hard_gated"](scale=4, gt_size=64)
    pool = PairPool(8, 4)
    batch, generator = make_batch("cuda"), torch_generator("gpu", 3)
    for _ in range(3):
        pool.exchange(pipeline(batch, generator), generator)
    pair = pipeline(batch, generator)
    with no_waiting():
        taken = pool.exchange(pair, generator)
    assert taken.lq.is_cuda and taken.lq.shape == pair.lq.shape


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_experiment(tmp_path_factory.mktemp("runs") / "dual")


@pytest.mark.parametrize("load_name", ["net_d", "net_spectral_d"])
def test_critics_score_and_react_to_bands_alike(load_name: str, experiment: Path, tmp_path: Path) -> None:
    for name in ("astronaut", "chelsea"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), getattr(data, name)()[120:180, 120:184, ::-1])
    found = {}
    for device in ("cpu", "cuda"):
        critic = load_critic(experiment, load_name, device=device)
        settings = RobustnessSettings(input_size=32, divide=5, noise_std=20)
        scores, bad = measure_robustness(
            list_images(tmp_path), {"C": critic}, settings, Runtime(batch_size=7, device=device)
        )
        assert not bad
        found[device] = scores["C"]
    for part in ("clean", "masked", "noisy"):
        ours, theirs = (torch.as_tensor(getattr(found[device], part)) for device in ("cuda", "cpu"))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
