"""GT crops with one blur kernel each, for the gated degradations that run in the training step (arXiv 2205.04910)."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np

from basicsr.data.dataset_options import DatasetOptions, PathText
from basicsr.data.image_dataset import ImageDataset
from basicsr.data.listings import Entry
from basicsr.data.transforms import draw_corner
from basicsr.degradation.kernel_options import KernelMixture, render_kernel
from basicsr.utils.errors import Problem
from basicsr.utils.fields import PositiveInt
from basicsr.utils.registry import DATASET_REGISTRY

PADDED_KERNEL = 21
"""Side of the kernels in a sample: degradation pipelines stack kernels of one size."""


class KernelOptions(DatasetOptions, KernelMixture):
    """Block of :class:`GatedDegradationDataset`: GT images, and the kernels that are added to their crops."""

    dataroot_gt: PathText
    """Folder of GT images (sub-folders too), or a .lmdb database."""
    crop_pad_size: PositiveInt = 400
    """Side of the GT crop that is degraded; smaller images are padded by reflection."""

    @property
    def padded_kernel(self) -> int:
        """Side that kernels are zero-padded to."""
        return max(PADDED_KERNEL, self.blur_kernel_size)

    def find_conflicts(self) -> list[Problem]:
        problems = DatasetOptions.find_conflicts(self) + KernelMixture.find_conflicts(self)
        if self.gt_size is not None and self.gt_size > self.crop_pad_size:
            crop = f"the crop of {self.crop_pad_size} pixels that it is cut from; raise crop_pad_size"
            problems.append(Problem("gt_size", f"gt_size {self.gt_size} is larger than {crop}"))
        return problems


@DATASET_REGISTRY.register()
class GatedDegradationDataset(ImageDataset):
    """GT crops of 400x400, flipped and turned at random, with one random blur kernel each.

    An image that is smaller on a side is padded there, at the bottom and right, by reflection.

    Args:
        opt: The block; see :class:`KernelOptions`.

    Sample:
        ``gt`` (3, 400, 400): RGB float32 in [0, 1]; ``kernel`` (21, 21) float32, sum 1; ``gt_path``; ``failed``.
    """

    Options: ClassVar[type[DatasetOptions]] = KernelOptions
    provides = frozenset({"gt", "kernel"})
    RECURSIVE = True
    options: KernelOptions

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        image, size = self.read_image(entry["gt_path"]), self.options.crop_pad_size
        top, left = draw_corner(rng, image.shape[0], image.shape[1], (size, size))
        crop = image[top : top + size, left : left + size]
        below, right = size - crop.shape[0], size - crop.shape[1]
        if below or right:
            # Reflection does not repeat the edge.
            crop = cv2.copyMakeBorder(crop, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        return {"gt": self.to_tensors([crop], rng)[0], **self.draw_kernels(rng), "gt_path": entry["gt_path"]}

    def draw_kernels(self, rng: np.random.Generator) -> dict[str, Any]:
        """The sample's kernels, (K, K) float32 each."""
        return {"kernel": render_kernel(self.options.draw_kernel(rng), self.options.padded_kernel)}
