"""The best-buddy loss: every patch may choose which patch of the ground truth it is to become."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import LOSS_REGISTRY

_SCALES = (0.5, 0.25)

# Scores are computed for so many (patch, candidate) pairs at a time: 128 MiB of float32.
_PAIRS_PER_BLOCK = 1 << 25


@LOSS_REGISTRY.register()
class BBL(nn.Module):
    """Distance of every patch of the output to its best buddy among the patches of the ground truth.

    Li et al., "Best-Buddy GANs for Highly Detailed Image Super-Resolution", AAAI 2022 (arXiv 2103.15295). The
    buddy q of a patch p with ground truth g minimises ``alpha * d(p, q) + beta * d(g, q)`` over the patches of the
    ground truth and of its bicubic reductions to 1/2 and 1/4.

    Args:
        alpha: Weight of the distance to the output's patch.
        beta: Weight of the distance to the patch's own ground truth.
        ksize: Side of a patch.
        pad: Zero padding of every image before it is cut into patches.
        stride: Step between patches.
        dist_norm: d for the choice: ``l2`` (squared Euclidean) or ``l1``.
        criterion: Distance that is minimised, averaged over elements: ``l1`` or ``l2`` (squared).
        loss_weight: Factor of the result.

    Raises:
        ArgumentError: If an argument is out of range or unknown.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        ksize: int = 3,
        pad: int = 0,
        stride: int = 3,
        dist_norm: Literal["l1", "l2"] = "l2",
        criterion: Literal["l1", "l2"] = "l1",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("dist_norm", dist_norm, ("l1", "l2"))
        check_choice("criterion", criterion, ("l1", "l2"))
        check_positive(ksize=ksize, stride=stride)
        if pad < 0:
            raise ArgumentError("pad", f"pad must not be negative; got {pad}")
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            culprit = "beta" if beta < 0 else "alpha"
            raise ArgumentError(culprit, f"alpha and beta must not be negative, nor both zero; got {alpha}, {beta}")
        self.alpha = alpha
        self.beta = beta
        self.ksize = ksize
        self.pad = pad
        self.stride = stride
        self.dist_norm = dist_norm
        self.criterion = criterion
        self.loss_weight = loss_weight

    def forward(self, x: Tensor, gt: Tensor) -> Tensor:
        """Compares the output ``x`` with ``gt``, both (B, C, H, W).

        Memory beside the patches themselves does not grow with the number of pairs.

        Returns:
            A scalar.

        Raises:
            ValueError: If the shapes differ or a quarter of the image is smaller than a patch.
        """
        if x.shape != gt.shape:
            raise ValueError(f"BBL compares equal shapes; got {tuple(x.shape)} and {tuple(gt.shape)}")
        if int(min(gt.shape[-2:]) * _SCALES[-1]) + 2 * self.pad < self.ksize:
            raise ValueError(f"a quarter of {(*gt.shape[-2:],)} is smaller than a patch of {self.ksize}x{self.ksize}")
        own_BDN, truth_BDN = self._cut(x), self._cut(gt)
        # Without antialiasing, as published: the loss is defined on these candidates.
        reduced = [F.interpolate(gt, scale_factor=scale, mode="bicubic", align_corners=False) for scale in _SCALES]
        candidates_BDM = torch.cat([truth_BDN, *map(self._cut, reduced)], dim=2)
        # Half precision would tie many candidates.
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            # Distances do not depend on the origin; around the mean, squares and products cancel least.
            origin_BD1 = candidates_BDM.float().mean(dim=2, keepdim=True)
            own_BND = (own_BDN.float() - origin_BD1).transpose(1, 2)
            truth_BND = (truth_BDN.float() - origin_BD1).transpose(1, 2)
            candidates_BMD = (candidates_BDM.float() - origin_BD1).transpose(1, 2).contiguous()
            block = max(1, _PAIRS_PER_BLOCK // (len(gt) * candidates_BMD.shape[1]))
            chosen = [
                self._score(own, truth, candidates_BMD).argmin(dim=2)
                for own, truth in zip(own_BND.split(block, dim=1), truth_BND.split(block, dim=1))
            ]
            buddy_BN = torch.cat(chosen, dim=1)
        buddies_BDN = candidates_BDM.gather(2, buddy_BN[:, None].expand_as(own_BDN))
        compare = F.l1_loss if self.criterion == "l1" else F.mse_loss
        return self.loss_weight * compare(own_BDN, buddies_BDN)

    def _cut(self, image_BCHW: Tensor) -> Tensor:
        """Patches as columns: (B, C * ksize^2, patches)."""
        return F.unfold(image_BCHW, self.ksize, padding=self.pad, stride=self.stride)

    def _score(self, own_BND: Tensor, truth_BND: Tensor, candidates_BMD: Tensor) -> Tensor:
        """Scores (B, N, M) of all candidates for each patch, up to what does not depend on them; the best is least."""
        if self.dist_norm == "l1":
            score_BNM = torch.cdist(truth_BND, candidates_BMD, p=1.0).mul_(self.beta)
            return score_BNM.add_(torch.cdist(own_BND, candidates_BMD, p=1.0), alpha=self.alpha)
        # alpha |p - q|^2 + beta |g - q|^2 = (alpha + beta) |q|^2 - 2 <alpha p + beta g, q> + what does not depend on q.
        target_BND = self.alpha * own_BND + self.beta * truth_BND
        norm_B1M = (self.alpha + self.beta) * candidates_BMD.square().sum(dim=2)[:, None]
        return torch.baddbmm(norm_B1M, target_BND, candidates_BMD.transpose(1, 2), alpha=-2.0)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, ksize={self.ksize}, stride={self.stride}, {self.criterion!r}"
