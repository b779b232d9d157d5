"""Precision and the order of elements: what they change, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import basicsr.archs  # noqa: F401 - registers the networks
from basicsr.losses.gradient_penalty import wgan_gp_penalty
from basicsr.models import build_model
from basicsr.models.checkpoint import Position, load_checkpoint, save_checkpoint
from basicsr.models.options import TrainOptions
from basicsr.models.sr_model import SRModel
from basicsr.spectral.transforms import reduced_spectrum_transform, spectrum_transform
from basicsr.utils.batch import image_of
from basicsr.utils.placement import order_channels_last
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.seeding import choose_algorithms

ADAM = {"type": "Adam", "lr": 2e-4}
SWIN = {"img_size": 16, "patch_size": 4, "embed_dim": 4, "depths": [2], "num_heads": [1], "window_size": 2}


def build(objective: str = "RelativisticAverage", critics: dict[str, Any] | None = None, **train: Any) -> SRModel:
    gan = {"type": "GANLoss", "gan_type": "wgan" if objective == "Wasserstein" else "vanilla", "loss_weight": 5e-3}
    nets = {
        "d": {**SWIN, "type": "SwinTransformer", "num_classes": 1, "drop_path_rate": 0.0},
        "spectral_d": {**SWIN, "type": "SpectralDiscriminator2D", "drop_path_rate": 0.0},
    }
    critics = critics or {name: {"network": net, "optimizer": ADAM} for name, net in nets.items()}
    opt = {
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "network_g": {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 2, "upscale": 2},
        "critics": critics,
        "objective": {"type": objective, "criterion": gan},
        "train": {
            "ema_decay": 0.9,
            "optim_g": ADAM,
            "scheduler": {"type": "MultiStepLR", "milestones": [1000]},
            "pixel_opt": {"type": "L1Loss"},
            **train,
        },
    }
    torch.manual_seed(0)
    model = build_model(opt)
    assert isinstance(model, SRModel)
    return model


def train(model: SRModel, first: int, last: int) -> list[dict[str, float]]:
    """Takes steps; returns their losses, without logits: rounding moves what all of a critic's have in common."""
    losses = []
    for iteration in range(first, last + 1):
        gt = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(iteration))
        model.begin_iteration(iteration)
        model.feed_data({"lq": nn.functional.avg_pool2d(gt, 2), "gt": gt})
        model.optimize_parameters(iteration)
        losses.append({name: value for name, value in model.get_current_log().items() if name.startswith("l_")})
    return losses


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.fixture
def flags() -> Iterator[None]:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    former = [backend.allow_tf32 for backend in backends]
    others = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    yield
    for backend, value in zip(backends, former, strict=True):
        backend.allow_tf32 = value
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = others


@pytest.mark.parametrize("tf32", [False, True])
def test_factors_are_rounded_to_tf32_only_when_asked(tf32: bool, flags: None) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not tf32
    choose_algorithms(deterministic=False, tf32=tf32)
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is tf32


def test_tf32_is_no_autocast() -> None:
    assert TrainOptions(precision="tf32").autocast_dtype is None
    assert train(build(precision="tf32"), 1, 1) == train(build(), 1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_spectra_and_gradient_penalties_are_float32_in_mixed_precision(dtype: torch.dtype) -> None:
    images = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", dtype):
        for found, expected in (
            (spectrum_transform(images.to(dtype), 8), spectrum_transform(images.to(dtype).float(), 8)),
            (reduced_spectrum_transform(images.to(dtype)), reduced_spectrum_transform(images.to(dtype).float())),
        ):
            assert found.dtype in (torch.float32, torch.float64)
            assert torch.equal(found, expected)
        seen: list[torch.dtype] = []
        conv = nn.Conv2d(3, 1, 3)

        def critic(x: Tensor) -> Tensor:
            seen.append(x.dtype)
            return conv(x)

        assert wgan_gp_penalty(critic, images, images.flip(0)).dtype == torch.float32
    assert seen == [torch.float32]


def test_the_step_s_penalty_and_losses_are_float32_in_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("Wasserstein", precision="bf16")
    seen = []
    critic = next(critic for critic in model.critics if critic.name == "d")
    judge = critic.judge_unwrapped

    def look(images: Tensor) -> Tensor:
        seen.append((images.dtype, torch.is_autocast_enabled("cpu")))
        return judge(images)

    monkeypatch.setattr(critic, "judge_unwrapped", look)
    train(model, 1, 1)
    assert seen == [(torch.float32, False)]
    assert {value.dtype for value in model.log_dict.values()} == {torch.float32}
    assert {p.grad.dtype for net in model.nets.values() for p in net.parameters() if p.grad is not None} == {
        torch.float32
    }


BAND = 0.01
"""What each loss of 200 iterations in bfloat16 may be off by; losses are between 0.001 and 0.4."""


@pytest.mark.parametrize("iterations", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_bf16_follows_fp32(iterations: int) -> None:
    exact, rounded = (train(build(precision=precision), 1, iterations) for precision in ("fp32", "bf16"))
    for one, other in zip(rounded, exact, strict=True):
        assert one == pytest.approx(other, rel=0, abs=BAND)
    assert rounded[0] != exact[0], "it is rounded"


@pytest.mark.parametrize("objective", ["RelativisticAverage", "Standard"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_layer_of_a_critic_with_spectral_norm_trains(objective: str, precision: str) -> None:
    """Its passes with a graph come after one without, whose rounded weights autocast keeps."""
    critic = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2}
    model = build(objective, critics={"d": {"network": critic, "optimizer": ADAM}}, precision=precision)
    train(model, 1, 1)
    assert not [name for name, value in model.networks()["d"].named_parameters() if value.grad is None]


# --- the order of elements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "side"),
    [
        ("RRDBNet", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}, 6),
        ("MSRResNet", {"num_feat": 4, "num_block": 1}, 6),
        ("SRVGGNetCompact", {"num_feat": 4, "num_conv": 1}, 6),
        ("SPSRNet", {"in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 2}, 6),
        ("SwinIR", {**SWIN, "img_size": 8, "patch_size": 1, "upscale": 4, "upsampler": "pixelshuffle"}, 8),
        ("SwinTransformer", {**SWIN, "num_classes": 1}, 16),
        ("SpectralDiscriminator2D", SWIN, 16),
        ("UNetDiscriminatorSN", {"num_in_ch": 3, "num_feat": 2}, 16),
        ("VGGStyleDiscriminator", {"num_in_ch": 3, "num_feat": 2, "input_size": 128}, 128),
        ("EDSR", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "upscale": 2}, 6),
        ("RCAN", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 1, "num_block": 1, "upscale": 2}, 6),
    ],
)
def test_networks_are_the_same_with_channels_last(name: str, given: dict[str, Any], side: int) -> None:
    torch.manual_seed(0)
    net, results = ARCH_REGISTRY.get(name)(**given), []
    images = torch.rand(2, 3, side, side)
    net.eval()  # two passes, and norms that would move between them
    for ordered in (False, True):
        if ordered:
            order_channels_last(net)
        net.zero_grad()
        image_of(net(images)).square().mean().backward()
        results.append([p.grad.contiguous() for p in net.parameters() if p.grad is not None])
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-6


def test_channels_last_trains_alike_and_resumes_with_and_without(tmp_path: Path) -> None:
    plain, ordered = build(), build(channels_last=True)
    weight = ordered.net_g.body[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    for one, other in zip(train(ordered, 1, 3), train(plain, 1, 3), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    file = save_checkpoint(tmp_path, ordered, Position(3))
    state = load_checkpoint(file).model
    assert all(value.is_contiguous() for net in state["networks"].values() for value in net.values())
    expected = train(ordered, 4, 5)
    for given in (True, False):
        resumed = build(channels_last=given)
        resumed.load_training_state(load_checkpoint(file).model)
        found = train(resumed, 4, 5)
        for one, other in zip(found, expected, strict=True):
            assert one == (other if given else pytest.approx(other, rel=1e-4, abs=1e-5))
