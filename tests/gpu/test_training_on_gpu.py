"""Training on a CUDA device: the golden losses, a host that does not wait, resuming to the same bits, NCCL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from golden_cases import case_names, load_case
from golden_training import build, feed, inject_alpha
from tiny_run import start, write_options

from basicsr.models.checkpoint import load_checkpoint
from basicsr.utils.dist_util import is_compiled
from basicsr.utils.seeding import choose_algorithms

pytestmark = pytest.mark.gpu
TIMEOUT = 240

SWIN = {
    "type": "SwinTransformer",
    "img_size": 32,
    "patch_size": 8,
    "num_classes": 1,
    "embed_dim": 16,
    "depths": [2],
    "num_heads": [2],
    "window_size": 2,
    "mlp_ratio": 2,
}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device is an error in here."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", case_names("train_"))
def test_losses_on_the_gpu_are_the_golden_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case(name)
    model = build(case, monkeypatch, num_gpu=1)
    inject_alpha(case, model, monkeypatch)
    assert model.device.type == "cuda"
    for iteration in case.config["current_iters"]:
        feed(case, model, iteration)
        model.optimize_parameters(iteration)
        for log, value in model.get_current_log().items():
            if log not in case.info.get("unstable_logs", []):
                expected = float(case.arrays[f"out.log/{iteration}/{log}"])
                assert value == pytest.approx(expected, rel=5e-3, abs=1e-4), (iteration, log)


@pytest.mark.parametrize("name", case_names("train_"))
def test_the_host_does_not_wait_within_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case(name)
    model = build(case, monkeypatch, num_gpu=1)
    first, *_, last = case.config["current_iters"]
    feed(case, model, first)
    model.begin_iteration(first)
    model.optimize_parameters(first)
    feed(case, model, last)
    with no_waiting():
        model.begin_iteration(last)
        model.optimize_parameters(last)
        model.update_learning_rate(last)
    assert all(value == value for value in model.get_current_log().values())


def test_the_host_does_not_wait_for_augmented_critics(monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case("train_wgan_spec")
    train = case.config["opt"]["train"]
    model = build(case, monkeypatch, num_gpu=1, train={**train, "diffaug": True})
    assert model.settings.diffaug
    feed(case, model, 1)
    model.optimize_parameters(1)
    with no_waiting():
        model.optimize_parameters(2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case("train_esrgan_spec")
    model = build(case, monkeypatch, num_gpu=1, train={**case.config["opt"]["train"], "precision": precision})
    before = model.networks()["g"].conv_first.weight.detach().clone()
    for iteration in (1, 2, 3):
        model.begin_iteration(iteration)
        feed(case, model, iteration)
        model.optimize_parameters(iteration)
    assert all(value == value for value in model.get_current_log().values())
    assert not torch.equal(before, model.networks()["g"].conv_first.weight)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("compiled", [False, "critics", "all"])
def test_speed_options_have_the_losses_of_the_plain_step(
    compiled: bool | str, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"compile": compiled, "channels_last": channels_last}
    case = load_case("train_esrgan_spec")
    logs = []
    for train in (case.config["opt"]["train"], {**case.config["opt"]["train"], **changes}):
        model = build(case, monkeypatch, num_gpu=1, train=train)
        for iteration in (1, 2, 3):
            model.begin_iteration(iteration)
            feed(case, model, iteration)
            model.optimize_parameters(iteration)
        logs.append({name: value for name, value in model.get_current_log().items() if name.startswith("l_")})
    expected = {False: set(), "critics": {"d", "spectral_d"}, "all": {"g", "d", "spectral_d"}}[compiled]
    assert {name for name, net in model.nets.items() if is_compiled(net)} == expected
    assert logs[1] == pytest.approx(logs[0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("tf32", [False, True])
def test_factors_are_rounded_to_tf32_only_when_asked(tf32: bool) -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("no TF32 on this GPU")
    choose_algorithms(deterministic=False, tf32=tf32)
    torch.manual_seed(0)
    images, weight = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 64, 32, 32), (64, 64, 3, 3)))
    exact = torch.nn.functional.conv2d(images, weight)
    found = torch.nn.functional.conv2d(images.float().cuda(), weight.float().cuda()).cpu()
    error = float((found - exact).abs().max() / exact.abs().max())
    assert (error > 1e-5) is tf32


def prepare(root: Path) -> None:
    """Writes a small DualFormer run that asks for equal bits."""
    file = write_options(
        root,
        model_type="ESRGANSpecModel",
        num_gpu=1,
        deterministic=True,
        train={"total_iter": 9, "optim_spectral_d": {"type": "Adam", "lr": 1e-3}},
        val={"val_freq": 4, "spectra": True},
    )
    networks = {
        "network_g": {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
        "network_d": SWIN,
        "net_spectral_d": {**SWIN, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True},
    }
    options = {**yaml.safe_load(file.read_text()), **networks}
    options["datasets"]["train"] |= {"num_worker_per_gpu": 2, "prefetch_mode": "cuda", "pin_memory": True}
    file.write_text(yaml.safe_dump(options))


def run(root: Path, *arguments: str, command: tuple[str, ...] = (sys.executable,)) -> dict[str, Any]:
    """Runs to the end; returns the model's part of the last checkpoint."""
    process = start(root, "-opt", str(root / "tiny.yml"), *arguments, command=command)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    return load_checkpoint(root / "experiments/tiny/training_states/9.state").model


def test_a_run_that_goes_on_ends_in_the_same_bits(tmp_path: Path) -> None:
    prepare(tmp_path)
    whole = run(tmp_path)
    states = tmp_path / "experiments/tiny/training_states"
    for later in (6, 9):
        (states / f"{later}.state").unlink()
    again = run(tmp_path, "--auto_resume")
    for part in ("g", "g_ema", "d", "spectral_d"):
        for key, value in whole["networks"][part].items():
            assert torch.equal(value, again["networks"][part][key]), (part, key)


def test_one_process_under_torchrun_trains_by_nccl(tmp_path: Path) -> None:
    prepare(tmp_path)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1")
    state = run(tmp_path, "--launcher", "pytorch", command=(sys.executable, *launcher))
    assert set(state["networks"]) == {"g", "g_ema", "d", "spectral_d"}
