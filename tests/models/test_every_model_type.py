"""Every row of the table of model types trains: with its own degradation, objective and critics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import case_names, load_case
from torch import Tensor

from basicsr.models import build_model
from basicsr.models.presets import CRITIC_NETWORKS, PRESETS, Preset
from basicsr.models.sr_model import SRModel
from basicsr.processing.filters import USMSharp

RECIPES_PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
SIDE, SCALE, BATCH = 16, 4, 2
SWIN = {
    "type": "SwinTransformer",
    "img_size": SIDE,
    "patch_size": 4,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [1],
    "num_heads": [2],
    "window_size": 2,
    "mlp_ratio": 2,
}
CRITICS = {
    "d": SWIN,
    "spectral_d": {**SWIN, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True},
    "grad_d": {**SWIN, "img_size": SIDE + 2, "patch_size": 9},
}
ADAM = {"type": "Adam", "lr": 1e-3}


def make_options(model_type: str, preset: Preset) -> dict[str, Any]:
    loss = {"type": "L1Loss"}
    objective = preset.get("objective", {}).get("type")
    critics = preset.get("critics", {})
    generator = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": SCALE}
    train: dict[str, Any] = {
        "ema_decay": 0.9,
        "optim_g": ADAM,
        "scheduler": {"type": "MultiStepLR", "milestones": [100]},
        "pixel_opt": loss,
        "gan_opt": {"type": "GANLoss", "gan_type": "wgan" if objective == "Wasserstein" else "vanilla"},
    }
    if "train" in preset:
        train |= {"pixel_opt": {"type": "BBL"}, "bp_opt": loss}
    if objective == "HalfRelativistic":
        generator = {"type": "SPSRNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 4, "upscale": SCALE}
        train |= {"pix_grad_opt": loss, "pix_branch_opt": loss, "branch_pretrain": True, "branch_init_iters": 2}
    return {
        "model_type": model_type,
        "scale": SCALE,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "gt_size": SIDE,
        "queue_size": BATCH,
        "network_g": generator,
        **{CRITIC_NETWORKS[name]: CRITICS[name] for name in critics},
        "train": train | {f"optim_{name}": ADAM for name in critics},
    }


def make_batch(preset: Preset, seed: int) -> dict[str, Tensor]:
    """What the data set that goes with the degradation gives."""
    generator = torch.Generator().manual_seed(seed)
    degradation = preset.get("degradation", {}).get("type")
    if degradation is None:
        gt = torch.rand(BATCH, 3, SIDE, SIDE, generator=generator)
        return {"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, SCALE)}
    names = ("kernel1", "kernel2", "sinc_kernel") if degradation == "SecondOrder" else ("kernel",)
    kernels = {name: torch.rand(BATCH, 7, 7, generator=generator) / 25 for name in names}
    return {"gt": torch.rand(BATCH, 3, 32, 32, generator=generator), **kernels}


@pytest.mark.parametrize("model_type", PRESETS)
def test_two_iterations(model_type: str) -> None:
    preset = PRESETS[model_type]
    torch.manual_seed(0)
    model = build_model(make_options(model_type, preset))
    assert isinstance(model, SRModel)
    critics = preset.get("critics", {})
    assert list(model.nets) == ["g", *critics]
    before = {name: {k: v.clone() for k, v in net.named_parameters()} for name, net in model.networks().items()}
    for iteration in (1, 2):
        model.begin_iteration(iteration)
        model.feed_data(make_batch(preset, iteration))
        assert (model.gt_usm is not None) == (preset.get("degradation") == {"type": "SecondOrder"})
        model.optimize_parameters(iteration)
        logs = model.get_current_log()
        assert {f"l_{name}_real" for name in critics} <= set(logs)
        assert all(torch.tensor(list(logs.values())).isfinite()), logs
    assert model.output.shape == (BATCH, 3, SIDE, SIDE)
    for name, net in model.networks().items():
        trained = {key: value for key, value in net.named_parameters() if value.requires_grad}
        moved = {key for key, value in trained.items() if not torch.equal(value, before[name][key])}
        assert len(moved) > 0.9 * len(trained), f"{name}: {set(trained) - moved}"


def test_the_page_says_which_types_are_compared_with_the_original() -> None:
    compared = {load_case(name).config["opt"]["model_type"] for name in case_names("train_")}
    page = RECIPES_PAGE.read_text(encoding="utf-8")
    rows = {
        start: set(re.findall(r"`(\w+Model)`", next(line for line in page.splitlines() if line.startswith(start))))
        for start in ("| losses and weights after", "| the other 10 model types")
    }
    assert rows == {"| losses and weights after": compared, "| the other 10 model types": set(PRESETS) - compared}


@pytest.mark.parametrize(("model_type", "sharpens"), [("RealESRGANModel", True), ("RealESRNetModel", False)])
def test_real_esrgan_sharpens_the_ground_truth_of_pairs_that_come_ready_made(model_type: str, sharpens: bool) -> None:
    model = build_model(make_options(model_type, PRESETS[model_type]))
    pair = make_batch(PRESETS["SRModel"], 1)
    model.feed_data(pair)
    if sharpens:
        torch.testing.assert_close(model.gt_usm, USMSharp()(pair["gt"]))
    else:
        assert model.gt_usm is None
    given = torch.zeros_like(pair["gt"])
    model.feed_data({**pair, "gt_usm": given})
    assert torch.equal(model.gt_usm, given)
