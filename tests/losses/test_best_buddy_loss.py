"""The best-buddy loss against the published numbers and a pair-by-pair implementation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_cases import load_case
from torch import Tensor

from basicsr.losses import BBL, best_buddy_loss, build_loss

CASE = load_case("loss_bbl")


@pytest.mark.parametrize("name", CASE.config["calls"])
def test_golden_best_buddy(name: str) -> None:
    output = CASE.tensor("in.x").requires_grad_()
    value = build_loss(CASE.config["calls"][name])(output, CASE.tensor("in.gt"))
    CASE.check(value, name)
    value.backward()
    CASE.check(output.grad, f"{name}.grad")


def _compare_all_pairs(loss: BBL, x: Tensor, gt: Tensor) -> Tensor:
    """The definition, with every pair in memory."""

    def cut(image: Tensor) -> Tensor:
        return F.unfold(image, loss.ksize, padding=loss.pad, stride=loss.stride).transpose(1, 2)

    reduced = [F.interpolate(gt, scale_factor=s, mode="bicubic", align_corners=False) for s in (0.5, 0.25)]
    own, truth = cut(x), cut(gt)
    candidates = torch.cat([truth, *map(cut, reduced)], dim=1)

    def distance(patches: Tensor) -> Tensor:
        difference = patches[:, :, None] - candidates[:, None]
        return (difference.abs() if loss.dist_norm == "l1" else difference.square()).sum(-1)

    best = (loss.alpha * distance(own) + loss.beta * distance(truth)).argmin(-1)
    buddies = torch.stack([per_image[index] for per_image, index in zip(candidates, best)])
    difference = own - buddies
    return loss.loss_weight * (difference.abs() if loss.criterion == "l1" else difference.square()).mean()


@pytest.mark.parametrize("criterion", ["l1", "l2"])
@pytest.mark.parametrize("dist_norm", ["l1", "l2"])
@pytest.mark.parametrize(
    "geometry", [{}, {"ksize": 4, "stride": 2, "pad": 1}, {"alpha": 0.0}, {"beta": 0.25, "loss_weight": 2.0}]
)
def test_blocks_equal_the_definition(
    criterion: str, dist_norm: str, geometry: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_buddy_loss, "_PAIRS_PER_BLOCK", 700)
    torch.manual_seed(0)
    gt = torch.rand(2, 3, 30, 22)
    output = (gt + 0.2 * torch.randn_like(gt)).requires_grad_()
    loss = BBL(criterion=criterion, dist_norm=dist_norm, **geometry)
    expected = _compare_all_pairs(loss, output, gt)
    expected_gradient = torch.autograd.grad(expected, output)
    value = loss(output, gt)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, output), expected_gradient)


def test_no_tensor_holds_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = BBL._score

    def watched(self: BBL, *patches: Tensor) -> Tensor:
        score = original(self, *patches)
        sizes.append(score.numel())
        return score

    monkeypatch.setattr(BBL, "_score", watched)
    monkeypatch.setattr(best_buddy_loss, "_PAIRS_PER_BLOCK", 1 << 15)
    image = torch.rand(4, 3, 48, 48)
    BBL()(image, image.flip(0))
    pairs = 4 * 256 * (256 + 64 + 16)
    assert max(sizes) <= 1 << 15 and sum(sizes) == pairs


def test_an_image_is_its_own_best_buddy() -> None:
    image = torch.rand(1, 3, 24, 24)
    assert BBL()(image, image).item() < 1e-6


def test_half_precision_output_is_matched_in_full() -> None:
    gt = torch.rand(1, 3, 24, 24)
    output = gt.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = BBL()(output, gt)
    torch.testing.assert_close(value, BBL()(output.float(), gt), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"criterion": "ssim"},
        {"dist_norm": "l3"},
        {"ksize": 0},
        {"stride": 0},
        {"pad": -1},
        {"alpha": -1.0},
        {"alpha": 0.0, "beta": 0.0},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        BBL(**arguments)


def test_unfitting_images_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        BBL()(torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 20))
    with pytest.raises(ValueError, match="quarter"):
        BBL()(torch.rand(1, 3, 8, 24), torch.rand(1, 3, 8, 24))
