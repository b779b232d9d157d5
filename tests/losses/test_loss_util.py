"""Weighting, reduction and the maps of LDL."""

from __future__ import annotations

import pytest
import torch
from golden_cases import load_case

from basicsr.losses.loss_util import (
    get_local_weights,
    get_refined_artifact_map,
    reduce_loss,
    weight_reduce_loss,
    weighted_loss,
)


def test_weighted_mean_counts_a_one_channel_weight_for_every_channel() -> None:
    loss = torch.rand(2, 3, 4, 5)
    weight = torch.rand(2, 1, 4, 5)
    expected = (loss * weight).sum() / (3 * weight.sum())
    torch.testing.assert_close(weight_reduce_loss(loss, weight), expected)


def test_weighted_mean_accepts_any_broadcastable_weight() -> None:
    loss = torch.rand(2, 3, 4, 5)
    weight = torch.rand(2, 1, 1, 1)
    torch.testing.assert_close(
        weight_reduce_loss(loss, weight), weight_reduce_loss(loss, weight.expand_as(loss).contiguous())
    )


def test_all_zero_weights_give_zero() -> None:
    assert weight_reduce_loss(torch.rand(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 0


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_unfitting_weight_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        weight_reduce_loss(torch.rand(2, 3, 4, 5), torch.ones(shape))


def test_unknown_reduction_is_named() -> None:
    with pytest.raises(ValueError, match="average"):
        reduce_loss(torch.rand(3), "average")  # type: ignore[arg-type]


def test_weighted_loss_decorates_an_elementwise_function() -> None:
    @weighted_loss
    def scaled(pred: torch.Tensor, target: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        """Docs stay."""
        return factor * (pred - target)

    pred, target = torch.rand(2, 3), torch.rand(2, 3)
    torch.testing.assert_close(scaled(pred, target, None, "sum", factor=2.0), 2 * (pred - target).sum())
    assert scaled.__doc__ == "Docs stay."


def test_golden_local_weights_and_artifact_map() -> None:
    case = load_case("loss_ldl")
    ksize = case.config["ksize"]
    gt, out, ema = case.tensor("in.gt"), case.tensor("in.out"), case.tensor("in.ema")
    case.check(get_local_weights((gt - out).abs().sum(1, keepdim=True), ksize), "out.local_weights")
    case.check(get_refined_artifact_map(gt, out, ema, ksize), "out.map")


def test_local_weights_are_window_variances_to_float32_precision() -> None:
    torch.manual_seed(0)
    image = 100 + torch.rand(2, 1, 12, 9)
    padded = torch.nn.functional.pad(image.double(), (2, 2, 2, 2), mode="reflect")
    expected = padded.unfold(2, 5, 1).unfold(3, 5, 1).flatten(-2).var(-1)
    torch.testing.assert_close(get_local_weights(image, 5).double(), expected, rtol=1e-5, atol=1e-7)


def test_local_weights_gradient_is_right() -> None:
    image = torch.rand(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: get_local_weights(x, 3), (image,))


def test_local_weights_widen_half_precision() -> None:
    assert get_local_weights(torch.rand(1, 1, 8, 8, dtype=torch.bfloat16), 3).dtype == torch.float32


@pytest.mark.parametrize(("ksize", "size"), [(4, 16), (1, 16), (7, 3)])
def test_impossible_windows_are_refused(ksize: int, size: int) -> None:
    with pytest.raises(ValueError):
        get_local_weights(torch.rand(1, 1, size, size), ksize)


def test_artifact_map_of_equal_images_is_zero_with_finite_gradient() -> None:
    gt = torch.rand(1, 3, 9, 9)
    output = gt.clone().requires_grad_()
    artifact_map = get_refined_artifact_map(gt, output, gt, 7)
    artifact_map.sum().backward()
    assert artifact_map.eq(0).all()
    assert output.grad is not None and output.grad.isfinite().all()


def test_artifact_map_ignores_pixels_that_the_average_gets_worse() -> None:
    gt = torch.rand(1, 3, 9, 9)
    output, worse = gt + 0.1 * torch.rand_like(gt), gt + 1
    assert get_refined_artifact_map(gt, output, worse, 7).eq(0).all()
    assert get_refined_artifact_map(gt, output, gt, 7).gt(0).any()
