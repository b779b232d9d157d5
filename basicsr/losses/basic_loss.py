"""Losses between two images, pixel by pixel, and total variation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.losses.loss_util import Reduction, check_reduction, weighted_loss
from basicsr.losses.perceptual_loss import PerceptualLoss
from basicsr.utils.registry import LOSS_REGISTRY

__all__ = [
    "CharbonnierLoss",
    "L1Loss",
    "MSELoss",
    "PerceptualLoss",
    "WeightedTVLoss",
    "charbonnier_loss",
    "l1_loss",
    "mse_loss",
]


@weighted_loss
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Absolute difference; :func:`~basicsr.losses.loss_util.weighted_loss` adds ``weight`` and ``reduction``."""
    return F.l1_loss(pred, target, reduction="none")


@weighted_loss
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Squared difference; :func:`~basicsr.losses.loss_util.weighted_loss` adds ``weight`` and ``reduction``."""
    return F.mse_loss(pred, target, reduction="none")


@weighted_loss
def charbonnier_loss(pred: Tensor, target: Tensor, eps: float = 1e-12) -> Tensor:
    """``sqrt((pred - target)^2 + eps)``, a smooth absolute difference; takes ``weight`` and ``reduction`` as well."""
    return ((pred - target).square() + eps).sqrt()


class _PixelLoss(nn.Module):
    """A weighted, reduced comparison of two equally shaped tensors; subclasses say how elements compare."""

    def __init__(self, loss_weight: float, reduction: Reduction) -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compares ``pred`` with ``target``.

        Args:
            pred: (B, C, H, W), or any other shape.
            target: The same shape.
            weight: Per element or per pixel (B, 1, H, W); ``mean`` then is the weighted mean.

        Returns:
            A scalar, or the shape of ``pred`` with ``reduction="none"``.

        Raises:
            ValueError: If the shapes differ.
        """
        if pred.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__} compares equal shapes; got {(*pred.shape,)} and {(*target.shape,)}"
            )
        return self.loss_weight * self._compare(pred, target, weight)

    def _compare(self, pred: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"loss_weight={self.loss_weight}, reduction={self.reduction!r}"


@LOSS_REGISTRY.register()
class L1Loss(_PixelLoss):
    """Mean absolute error.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(loss_weight, reduction)

    def _compare(self, pred: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return l1_loss(pred, target, weight, self.reduction)


@LOSS_REGISTRY.register()
class MSELoss(_PixelLoss):
    """Mean squared error.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(loss_weight, reduction)

    def _compare(self, pred: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return mse_loss(pred, target, weight, self.reduction)


@LOSS_REGISTRY.register()
class CharbonnierLoss(_PixelLoss):
    """``sqrt((pred - target)^2 + eps)`` (Lai et al., LapSRN, CVPR 2017): L1 with a smooth minimum.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
        eps: Squared width of the smooth minimum; must be positive, for the slope at zero.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean", eps: float = 1e-12) -> None:
        super().__init__(loss_weight, reduction)
        if eps <= 0:
            raise ValueError(f"eps must be positive; got {eps}")
        self.eps = eps

    def _compare(self, pred: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return charbonnier_loss(pred, target, weight, self.reduction, eps=self.eps)


@LOSS_REGISTRY.register()
class WeightedTVLoss(L1Loss):
    """Total variation: absolute differences between vertical plus those between horizontal neighbours.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean`` (of each direction, then added) or ``sum``.

    Raises:
        ValueError: For ``reduction="none"``: the two directions differ in size.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        check_reduction(reduction, ("mean", "sum"))
        super().__init__(loss_weight, reduction)

    def forward(self, pred: Tensor, weight: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Measures the variation of ``pred`` (B, C, H, W); a ``weight`` is that of a pair's first pixel."""
        total = pred.new_zeros(())
        for dim in (-2, -1):
            length = pred.shape[dim] - 1
            pair_weight = None if weight is None else weight.narrow(dim, 0, length)
            total = total + super().forward(pred.narrow(dim, 0, length), pred.narrow(dim, 1, length), pair_weight)
        return total
