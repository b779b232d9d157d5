"""GT crops with one blur kernel each, for the gated degradations (arXiv 2205.04910)."""

from __future__ import annotations

from typing import Any

import numpy as np

from basicsr.data.gt_crop_dataset import PADDED_KERNEL, GtCropDataset, GtCropOptions
from basicsr.data.image_dataset import Entry
from basicsr.degradation.kernel_options import KernelMixture, render_kernel
from basicsr.utils.registry import DATASET_REGISTRY


class KernelOptions(KernelMixture, GtCropOptions):
    """Keys of data sets that add blur kernels to GT crops."""

    @property
    def padded_kernel(self) -> int:
        """Side that kernels are zero-padded to."""
        return max(PADDED_KERNEL, self.blur_kernel_size)

    def find_conflicts(self) -> list[str]:  # type: ignore[override]
        problems = KernelMixture.find_conflicts(self)
        return GtCropOptions.find_conflicts(self) + [f"{problem.path}: {problem.message}" for problem in problems]


@DATASET_REGISTRY.register()
class GatedDegradationDataset(GtCropDataset):
    """GT crops of 400x400, flipped and turned at random, with one random blur kernel each.

    Args:
        opt: The block; see :class:`KernelOptions`.

    Sample:
        ``gt`` (3, 400, 400): RGB float32 in [0, 1]; ``kernel`` (21, 21) float32, sum 1; ``gt_path``; ``failed``.
    """

    Options = KernelOptions
    options: KernelOptions

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        crop = self.read_crop(entry["gt_path"], rng)
        return {
            "gt": self.to_tensors([crop], rng)[0],
            "kernel": render_kernel(self.options.draw_kernel(rng), self.options.padded_kernel),
            "gt_path": entry["gt_path"],
        }
