"""Content losses of published keys and of today's blocks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from golden_cases import load_case
from torch import Tensor

from basicsr.losses import BBL, L1Loss, PerceptualLoss
from basicsr.losses.content import ContentLosses, build_content_losses
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.models.options import ModelOptions
from basicsr.processing.filters import gradient_map
from basicsr.processing.resizer import imresize
from basicsr.utils.batch import Batch
from basicsr.utils.errors import UserError

L1 = {"type": "L1Loss", "loss_weight": 0.5}


def build(train: dict[str, Any], prefix: str = "l_g_") -> ContentLosses:
    """The losses of a ``train`` block with published keys."""
    return build_content_losses(ModelOptions.of({"model_type": "SRModel", "train": train}).losses, prefix)


def replace(batch: Batch, **changes: Any) -> Batch:
    changed = copy.copy(batch)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


@pytest.fixture
def inputs() -> Batch:
    generator = torch.Generator().manual_seed(0)

    def image(size: int) -> Tensor:
        return torch.rand(2, 3, size, size, generator=generator)

    return Batch(
        sr=image(32).requires_grad_(),
        gt=image(32),
        lq=image(8),
        ema_sr=image(32),
        gt_pixel=image(32),
        gt_perceptual=image(32),
        gradient_branch=image(32).requires_grad_(),
    )


def test_every_block_becomes_a_term_with_its_published_key(inputs: Batch) -> None:
    blocks = ("pixel_opt", "ldl_opt", "bp_opt", "pix_grad_opt", "pix_branch_opt")
    content = build(dict.fromkeys(blocks, L1) | {"perceptual_opt": None, "ema_decay": 0.9})
    terms = content(inputs)
    assert list(terms) == ["l_g_pix", "l_g_ldl", "l_g_bp", "l_g_pix_grad", "l_g_pix_grad_branch"]
    assert content.needs_ema and len(content.losses) == 5
    weight = get_refined_artifact_map(inputs.gt, inputs.sr, inputs.ema_sr, 7)
    expected = {
        "l_g_pix": (inputs.sr, inputs.gt_pixel),
        "l_g_ldl": (weight * inputs.sr, weight * inputs.gt),
        "l_g_bp": (imresize(inputs.sr, scale=1 / 4), inputs.lq),
        "l_g_pix_grad": (gradient_map(inputs.sr, 2), gradient_map(inputs.gt, 2)),
        "l_g_pix_grad_branch": (inputs.gradient_branch, gradient_map(inputs.gt, 1)),
    }
    for name, (pred, target) in expected.items():
        torch.testing.assert_close(terms[name], 0.5 * (pred - target).abs().mean())
        assert terms[name].requires_grad


def test_prefix_and_absent_blocks(inputs: Batch) -> None:
    content = build({"pixel_opt": L1}, prefix="l_")
    assert list(content(inputs)) == ["l_pix"] and not content.needs_ema
    assert len(build({}).losses) == 0 and build({})(inputs) == {}


def test_ground_truth_overrides_are_optional(inputs: Batch) -> None:
    content = build({"pixel_opt": L1})
    plain = replace(inputs, gt_pixel=None)
    torch.testing.assert_close(content(plain)["l_g_pix"], 0.5 * (inputs.sr - inputs.gt).abs().mean())


def test_best_buddy_is_an_ordinary_pixel_loss(inputs: Batch) -> None:
    content = build({"pixel_opt": {"type": "BBL", "loss_weight": 2.0}})
    torch.testing.assert_close(content(inputs)["l_g_pix"], 2 * BBL()(inputs.sr, inputs.gt_pixel))


class _TwoPartLoss(L1Loss):
    """Stands for the perceptual loss, which needs a network."""

    target = PerceptualLoss.target
    log_names = PerceptualLoss.log_names
    style: float | None = None

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
        perceptual = super().forward(pred, target)
        return perceptual, None if self.style is None else self.style * perceptual


def test_perceptual_term_reports_what_is_switched_on(inputs: Batch) -> None:
    loss = _TwoPartLoss()
    content = ContentLosses({"percep": loss})
    terms = content(inputs)
    assert list(terms) == ["l_g_percep"]
    torch.testing.assert_close(terms["l_g_percep"], (inputs.sr - inputs.gt_perceptual).abs().mean())
    loss.style = 2.0
    terms = content(inputs)
    assert list(terms) == ["l_g_percep", "l_g_style"]
    torch.testing.assert_close(terms["l_g_style"], 2 * terms["l_g_percep"])


@pytest.mark.parametrize(
    ("block", "field", "match"),
    [
        ("ldl_opt", "ema_sr", "ema_decay"),
        ("bp_opt", "lq", "bp_opt"),
        ("pix_branch_opt", "gradient_branch", "pix_branch_opt"),
    ],
)
def test_a_missing_tensor_is_named(inputs: Batch, block: str, field: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build({block: L1})(replace(inputs, **{field: None}))


def test_back_projection_needs_an_integer_scale(inputs: Batch) -> None:
    with pytest.raises(ValueError, match="multiple"):
        build({"bp_opt": L1})(replace(inputs, lq=torch.rand(2, 3, 8, 7)))


@pytest.mark.parametrize("block", [{"type": "L1Los"}, {"type": "L1Loss", "reduction": "x"}, {"type": "L1Loss", "w": 1}])
def test_mistakes_name_their_block(block: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"train\.bp_opt\."):
        build({"bp_opt": block})


@pytest.mark.parametrize("name", ["train_sr_l1", "train_esrgan_ldl", "train_bebygan", "train_spsr"])
def test_published_training_blocks_build(name: str) -> None:
    train = load_case(name).config["opt"]["train"]
    content = build(train)
    assert len(content.losses) == sum(key in train for key in ("pixel_opt", "ldl_opt", "bp_opt", "pix_grad_opt")) + (
        "pix_branch_opt" in train
    )
    assert not any(isinstance(module, PerceptualLoss) for module in content.modules())
