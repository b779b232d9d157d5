"""Weighting and reduction of losses, and the weight maps of LDL."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.utils.errors import ArgumentError, check_choice

Reduction = Literal["none", "mean", "sum"]


def reduce_loss(loss: Tensor, reduction: Reduction) -> Tensor:
    """Reduces an element-wise loss of any shape to itself, its mean or its sum.

    Raises:
        ArgumentError: If ``reduction`` is none of ``none``, ``mean`` and ``sum``.
    """
    check_choice("reduction", reduction, get_args(Reduction))
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def weight_reduce_loss(loss: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """Weighs an element-wise loss and reduces it.

    The mean is a weighted mean: the sum is divided by the weights of all elements, so a one-channel weight on a
    three-channel loss counts three times.

    Args:
        loss: (B, C, H, W), or any other shape.
        weight: Non-negative, of as many dimensions as ``loss`` and broadcastable to it; None weighs all elements alike.
        reduction: ``none``, ``mean`` or ``sum``.

    Raises:
        ValueError: If the shapes do not fit or the reduction is unknown.
    """
    if weight is None:
        return reduce_loss(loss, reduction)
    if weight.dim() != loss.dim() or any(w not in (1, n) for w, n in zip(weight.shape, loss.shape)):
        raise ValueError(f"a weight of shape {tuple(weight.shape)} does not broadcast to a loss of {tuple(loss.shape)}")
    weighted = loss * weight
    if reduction != "mean":
        return reduce_loss(weighted, reduction)
    total = weight.expand_as(loss).sum()
    return weighted.sum() / total.clamp_min(torch.finfo(total.dtype).tiny)


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Turns an element-wise ``loss(pred, target, **kwargs)`` into ``loss(pred, target, weight, reduction, **kwargs)``.

    Example:
        >>> @weighted_loss
        ... def squared(pred, target):
        ...     return (pred - target) ** 2
        >>> squared(torch.zeros(2), torch.ones(2), reduction="sum")
        tensor(2.)
    """

    @functools.wraps(loss_func)
    def reduced(
        pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean", **kwargs: Any
    ) -> Tensor:
        return weight_reduce_loss(loss_func(pred, target, **kwargs), weight, reduction)

    return reduced


def get_local_weights(residual: Tensor, ksize: int) -> Tensor:
    """Unbiased variance in the ``ksize`` x ``ksize`` window around every pixel, with reflected borders.

    Args:
        residual: (B, C, H, W).
        ksize: Odd side of the window, at least 3; H and W must exceed ``ksize // 2``.

    Returns:
        (B, C, H, W), float32 or wider, not negative; differentiable.

    Raises:
        ArgumentError: If ``ksize`` is even or below 3.
        ValueError: If the window is too large for the image.
    """
    if ksize < 3 or ksize % 2 == 0:
        raise ArgumentError("ksize", f"ksize must be odd and at least 3; got {ksize}")
    radius = ksize // 2
    if min(residual.shape[-2:]) <= radius:
        raise ValueError(f"an image of {tuple(residual.shape[-2:])} is too small for windows of {ksize}x{ksize}")
    values = residual if residual.dtype == torch.float64 else residual.float()
    # Variance does not depend on the origin; near zero the two moments below cancel least.
    values = values - values.detach().mean(dim=(-2, -1), keepdim=True)
    padded = F.pad(values, (radius,) * 4, mode="reflect")
    mean = F.avg_pool2d(padded, ksize, stride=1)
    mean_square = F.avg_pool2d(padded.square(), ksize, stride=1)
    area = ksize * ksize
    return (mean_square - mean.square()).clamp_min(0) * (area / (area - 1))


def get_refined_artifact_map(img_gt: Tensor, img_output: Tensor, img_ema: Tensor, ksize: int) -> Tensor:
    """Where the output is likely to hold artifacts rather than texture.

    Liang et al., "Details or Artifacts: A Locally Discriminative Learning Approach to Realistic Image
    Super-Resolution", CVPR 2022 (arXiv 2203.09195). With the residual r = sum over channels of |gt - output|, the map
    is Var(r)^(1/5), over the whole image, times the local variance of r; zero where the residual is below that of the
    averaged (EMA) generator.

    Args:
        img_gt: (B, C, H, W).
        img_output: (B, C, H, W), of the current generator; the map carries a gradient with respect to it.
        img_ema: (B, C, H, W), of the averaged generator; only compared, so it gets no gradient.
        ksize: Side of the local window, odd (published: 7).

    Returns:
        (B, 1, H, W), not negative.
    """
    residual = (img_gt - img_output).abs().sum(dim=1, keepdim=True)
    with torch.no_grad():
        improved = residual < (img_gt - img_ema).abs().sum(dim=1, keepdim=True)
    # The root's slope is infinite at zero; below this variance the map is zero whatever the root says.
    whole = residual.var(dim=(1, 2, 3), unbiased=True, keepdim=True).clamp_min(1e-30)
    return (whole.pow(1 / 5) * get_local_weights(residual, ksize)).masked_fill(improved, 0.0)
