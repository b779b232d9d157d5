"""Losses between two images, by their pixels (L1, L2, Charbonnier) or their VGG features, and total variation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.vgg_arch import VGGFeatureExtractor
from basicsr.losses.loss_util import Reduction, weighted_loss
from basicsr.utils.errors import ArgumentError, check_choice
from basicsr.utils.registry import LOSS_REGISTRY


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
    """A weighted, reduced comparison of two equally shaped tensors; ``compare`` is a :func:`weighted_loss`."""

    compare: Callable[..., Tensor]

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_choice("reduction", reduction, get_args(Reduction))
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, **_: Any) -> Tensor:
        """Compares ``pred`` with ``target``; passes over other keywords, as published.

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
        return self.loss_weight * self.compare(pred, target, weight, self.reduction)

    def extra_repr(self) -> str:
        return f"loss_weight={self.loss_weight}, reduction={self.reduction!r}"


@LOSS_REGISTRY.register()
class L1Loss(_PixelLoss):
    """Mean absolute error.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    compare = staticmethod(l1_loss)


@LOSS_REGISTRY.register()
class MSELoss(_PixelLoss):
    """Mean squared error.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    compare = staticmethod(mse_loss)


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
            raise ArgumentError("eps", f"eps must be positive; got {eps}")
        self.eps = eps
        self.compare = partial(charbonnier_loss, eps=eps)


@LOSS_REGISTRY.register()
class WeightedTVLoss(L1Loss):
    """Total variation: absolute differences between vertical plus those between horizontal neighbours.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean`` (of each direction, then added) or ``sum``.

    Raises:
        ArgumentError: For ``reduction="none"``: the two directions differ in size.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        check_choice("reduction", reduction, ("mean", "sum"))
        super().__init__(loss_weight, reduction)

    def forward(self, pred: Tensor, weight: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Measures the variation of ``pred`` (B, C, H, W); a ``weight`` is that of a pair's first pixel."""
        total = pred.new_zeros(())
        for dim in (-2, -1):
            length = pred.shape[dim] - 1
            pair_weight = None if weight is None else weight.narrow(dim, 0, length)
            total = total + super().forward(pred.narrow(dim, 0, length), pred.narrow(dim, 1, length), pair_weight)
        return total


def _frobenius(feature: Tensor, target: Tensor) -> Tensor:
    return torch.linalg.vector_norm(feature - target)


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss, "fro": _frobenius}


@LOSS_REGISTRY.register()
class PerceptualLoss(nn.Module):
    """Distance between VGG features of two images, and between the features' Gram matrices.

    Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016; features before
    the activation as in ESRGAN (arXiv 1809.00219).

    Args:
        layer_weights: Weight of every layer by name, e.g. ``{conv5_4: 1}``; ``convX_Y`` is taken before its ReLU,
            ``reluX_Y`` after it.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, or one of these with ``_bn``.
        use_input_norm: Normalise the images, which are then in [0, 1], by the mean and deviation of ImageNet.
        range_norm: The images are in [-1, 1]; bring them to [0, 1] first.
        perceptual_weight: Factor of the perceptual loss; 0 switches it off.
        style_weight: Factor of the style loss; 0 switches it off.
        criterion: ``l1``, ``l2`` (mean squared) or ``fro`` (Frobenius norm of the difference).
        pretrained_path: File with VGG's weights; absent: torchvision's, fetched once and cached.

    Raises:
        ArgumentError: If there is no layer or the criterion is unknown.
    """

    check_weights = staticmethod(VGGFeatureExtractor.check_weights)
    target = "gt_perceptual"
    log_names = ("style",)

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: Literal["l1", "l2", "fro"] = "l1",
        pretrained_path: str | None = None,
    ) -> None:
        super().__init__()
        if not layer_weights:
            raise ArgumentError("layer_weights", "layer_weights must name at least one VGG layer, e.g. {conv5_4: 1}")
        check_choice("criterion", criterion, _DISTANCES)
        self.layer_weights = dict(layer_weights)
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.criterion_type = criterion
        try:
            self.vgg = VGGFeatureExtractor(
                list(self.layer_weights), vgg_type, use_input_norm, range_norm, pretrained_path=pretrained_path
            )
        except ArgumentError as error:
            argument = error.argument.replace("layer_name_list", "layer_weights")
            raise ArgumentError(argument, str(error)) from error

    def forward(self, x: Tensor, gt: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Compares images (B, 3, H, W); ``gt`` gets no gradient.

        Returns:
            The weighted perceptual and style losses, scalars; None for one that is switched off.
        """
        if not (self.perceptual_weight > 0 or self.style_weight > 0):
            return None, None
        with torch.no_grad():
            gt_features = self.vgg(gt)
        features = self.vgg(x)
        layers = [(weight, features[name], gt_features[name]) for name, weight in self.layer_weights.items()]
        compare = _DISTANCES[self.criterion_type]
        perceptual = style = None
        if self.perceptual_weight > 0:
            distances = [weight * compare(own, wanted) for weight, own, wanted in layers]
            perceptual = self.perceptual_weight * torch.stack(distances).sum()
        if self.style_weight > 0:
            distances = [weight * compare(_gram_matrix(own), _gram_matrix(wanted)) for weight, own, wanted in layers]
            style = self.style_weight * torch.stack(distances).sum()
        return perceptual, style


def _gram_matrix(feature_BCHW: Tensor) -> Tensor:
    """Correlations of the channels over all positions, divided by the number of elements: (B, C, C)."""
    flat_BCN = feature_BCHW.flatten(2)
    return flat_BCN @ flat_BCN.transpose(1, 2) / feature_BCHW[0].numel()
