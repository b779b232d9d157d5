"""GT crops with one blur kernel each, for the gated degradations (arXiv 2205.04910)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from basicsr.data.dataset_options import Probability
from basicsr.data.gt_crop_dataset import PADDED_KERNEL, GtCropDataset, GtCropOptions
from basicsr.data.image_dataset import Entry
from basicsr.degradation.kernel_options import (
    KernelList,
    KernelMixture,
    KernelProb,
    KernelSize,
    ShapeRange,
    SigmaRange,
    render_kernel,
)
from basicsr.utils.registry import DATASET_REGISTRY


class KernelOptions(GtCropOptions):
    """Keys of data sets that add blur kernels to GT crops."""

    blur_kernel_size: KernelSize = Field(21, description="Largest side of a kernel; sides from 7 on are drawn.")
    kernel_list: KernelList = Field(["iso"], description="Kinds of kernel.")
    kernel_prob: KernelProb = Field([1.0], description="Their probabilities.")
    sinc_prob: Probability = Field(0, description="Probability of a sinc kernel instead.")
    blur_sigma: SigmaRange = Field([0.1, 3.0], description="Standard deviations in pixels, [low, high].")
    betag_range: ShapeRange = Field([0.5, 4.0], description="Shapes of generalised Gaussian kinds, [low, high].")
    betap_range: ShapeRange = Field([1.0, 2.0], description="Shapes of plateau kinds, [low, high].")

    @property
    def mixture(self) -> KernelMixture:
        return KernelMixture(
            self.blur_kernel_size,
            tuple(self.kernel_list),
            tuple(self.kernel_prob),
            self.sinc_prob,
            tuple(self.blur_sigma),
            tuple(self.betag_range),
            tuple(self.betap_range),
        )

    @property
    def padded_kernel(self) -> int:
        """Side that kernels are zero-padded to."""
        return max(PADDED_KERNEL, self.blur_kernel_size)

    def find_conflicts(self) -> list[str]:
        return super().find_conflicts() + self.mixture.find_conflicts()


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

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        self.mixture = self.options.mixture

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        crop = self.read_crop(entry["gt_path"], rng)
        return {
            "gt": self.to_tensors([crop], rng)[0],
            "kernel": render_kernel(self.mixture.draw(rng), self.options.padded_kernel),
            "gt_path": entry["gt_path"],
        }
