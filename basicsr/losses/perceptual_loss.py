"""Losses between VGG features: perceptual (content) and style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.vgg_arch import VGGFeatureExtractor
from basicsr.utils.registry import LOSS_REGISTRY


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
        ValueError: If there is no layer or the criterion is unknown.
    """

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
            raise ValueError("layer_weights must name at least one VGG layer, e.g. {conv5_4: 1}")
        if criterion not in ("l1", "l2", "fro"):
            raise ValueError(f"criterion must be l1, l2 or fro; got {criterion!r}")
        self.layer_weights = dict(layer_weights)
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.criterion_type = criterion
        self.vgg = VGGFeatureExtractor(
            layer_name_list=list(self.layer_weights),
            vgg_type=vgg_type,
            use_input_norm=use_input_norm,
            range_norm=range_norm,
            pretrained_path=pretrained_path,
        )

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
        perceptual = style = None
        if self.perceptual_weight > 0:
            perceptual = self.perceptual_weight * self._distance(features, gt_features)
        if self.style_weight > 0:
            grams = {name: _gram_matrix(value) for name, value in features.items()}
            gt_grams = {name: _gram_matrix(value) for name, value in gt_features.items()}
            style = self.style_weight * self._distance(grams, gt_grams)
        return perceptual, style

    def _distance(self, features: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        terms = [weight * self._compare(features[name], targets[name]) for name, weight in self.layer_weights.items()]
        return torch.stack(terms).sum()

    def _compare(self, feature: Tensor, target: Tensor) -> Tensor:
        if self.criterion_type == "l1":
            return F.l1_loss(feature, target)
        if self.criterion_type == "l2":
            return F.mse_loss(feature, target)
        return torch.linalg.vector_norm(feature - target)


def _gram_matrix(feature_BCHW: Tensor) -> Tensor:
    """Correlations of the channels over all positions, divided by the number of elements: (B, C, C)."""
    flat_BCN = feature_BCHW.flatten(2)
    return flat_BCN @ flat_BCN.transpose(1, 2) / feature_BCHW[0].numel()
