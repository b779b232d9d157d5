"""LDL: a content loss that acts where the generator makes artifacts."""

from __future__ import annotations

from torch import Tensor, nn

from basicsr.losses.loss_util import get_refined_artifact_map


class LDLLoss(nn.Module):
    """Compares output and ground truth under the artifact map of the two.

    Liang et al., "Details or Artifacts: A Locally Discriminative Learning Approach to Realistic Image
    Super-Resolution", CVPR 2022 (arXiv 2203.09195). The map is part of the graph, as in the authors' code: the output
    is also pushed to make the map smaller.

    Args:
        criterion: ``criterion(map * output, map * gt)`` (published: L1).
        ksize: Side of the local window of the map, odd.
    """

    def __init__(self, criterion: nn.Module, ksize: int = 7) -> None:
        super().__init__()
        if ksize < 3 or ksize % 2 == 0:
            raise ValueError(f"ksize must be odd and at least 3; got {ksize}")
        self.criterion = criterion
        self.ksize = ksize

    def forward(self, sr: Tensor, gt: Tensor, ema_sr: Tensor) -> Tensor:
        """Returns the criterion's value for (B, C, H, W) images; ``ema_sr`` is the averaged generator's output."""
        weight = get_refined_artifact_map(gt, sr, ema_sr, self.ksize)
        return self.criterion(weight * sr, weight * gt)
