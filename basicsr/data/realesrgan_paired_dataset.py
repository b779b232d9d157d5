"""Real-ESRGAN's data set of pairs that were degraded beforehand."""

from __future__ import annotations

from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset, PairedImageOptions
from basicsr.utils.errors import Problem
from basicsr.utils.fields import option
from basicsr.utils.registry import DATASET_REGISTRY


class RealESRGANPairedOptions(PairedImageOptions):
    """Block of :class:`RealESRGANPairedDataset`; ``meta_info`` lists ``gt_path, lq_path``."""

    gt_usm: Any = option(unused="pairs are taken as they are")
    """Carried by published files."""

    def find_conflicts(self) -> list[Problem]:
        missing = Problem("dataroot_lq", "dataroot_lq is missing; these pairs are made beforehand")
        return super().find_conflicts() + [missing] * (self.dataroot_lq is None)


@DATASET_REGISTRY.register()
class RealESRGANPairedDataset(PairedImageDataset):
    """:class:`PairedImageDataset` under the name that Real-ESRGAN's option files use, for pairs made beforehand."""

    Options = RealESRGANPairedOptions
    provides = frozenset({"gt", "lq", "gt_usm"})
