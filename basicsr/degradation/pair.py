"""What a degradation returns, and the trivial degradation of data that come in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch


class DegradedPair(NamedTuple):
    """A batch to train on.

    Attributes:
        gt: (B, 3, H, W) RGB in [0, 1].
        lq: (B, 3, H / scale, W / scale) RGB in [0, 1].
        gt_usm: ``gt`` after unsharp masking, where the degradation makes it.
        gt_path: The file of each GT image, where the batch says so.
    """

    gt: torch.Tensor
    lq: torch.Tensor
    gt_usm: torch.Tensor | None = None
    gt_path: Sequence[str] | None = None


class PairedDegradation:
    """No degradation: the data set supplies both images.

    Args:
        scale: Ratio of the two sizes, for the check of shapes.
    """

    def __init__(self, *, scale: int = 1) -> None:
        self.scale = scale

    def __call__(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator | None = None) -> DegradedPair:
        """Returns ``batch['gt']`` and ``batch['lq']``; draws nothing.

        Raises:
            ValueError: If the sizes do not have the ratio ``scale``.
        """
        gt, lq = batch["gt"], batch["lq"]
        expected = [size * self.scale for size in lq.shape[-2:]]
        if list(gt.shape[-2:]) != expected:
            raise ValueError(f"GT {tuple(gt.shape)} is not LQ {tuple(lq.shape)} times scale {self.scale}")
        return DegradedPair(gt, lq)
