"""GT crops for degradations that run in the training step; base of the data sets that add kernels to them."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from basicsr.data.checks import check_sizes, open_size_reader
from basicsr.data.data_util import gt_paths_from_meta, paths_from_lmdb
from basicsr.data.dataset_options import DatasetOptions, PathText
from basicsr.data.image_dataset import ImageDataset
from basicsr.data.listings import list_images, read_meta_info, refuse_missing
from basicsr.data.transforms import draw_offset
from basicsr.utils.errors import DataError

PADDED_KERNEL = 21
"""Side of the kernels in a sample: degradation pipelines stack kernels of one size."""


class GtCropOptions(DatasetOptions):
    """Keys of data sets that give crops of GT images."""

    dataroot_gt: PathText = Field(description="Folder of GT images (sub-folders too), or a .lmdb database.")
    meta_info: PathText | None = Field(None, description="Text file of `path` or `path (h,w,c)` lines.")
    meta_info_file: PathText | None = Field(None, description="Another name of meta_info.")
    crop_pad_size: int = Field(
        400, ge=1, description="Side of the GT crop that is degraded; smaller images are padded by reflection."
    )

    @property
    def list_file(self) -> str | None:
        return self.meta_info or self.meta_info_file

    def find_conflicts(self) -> list[str]:
        problems = super().find_conflicts()
        if self.gt_size is not None and self.gt_size > self.crop_pad_size:
            problems.append(
                f"gt_size {self.gt_size} is larger than the crop of {self.crop_pad_size} pixels that it is cut from; "
                "raise crop_pad_size"
            )
        return problems


class GtCropDataset(ImageDataset):
    """Lists GT images, and cuts and pads them to ``crop_pad_size``."""

    Options: ClassVar[type[DatasetOptions]] = GtCropOptions
    options: GtCropOptions

    @classmethod
    def list_entries(cls, options: GtCropOptions) -> list[dict[str, str]]:
        root = options.dataroot_gt
        refuse_missing({"dataroot_gt": root}, options.list_file)
        if options.io_backend.type == "lmdb":
            paths = paths_from_lmdb(root)
        elif options.list_file is not None:
            paths = gt_paths_from_meta(root, read_meta_info(options.list_file))
        else:
            paths = [f"{root.rstrip('/')}/{name}" for name in list_images(root, recursive=True)]
        if not paths:
            raise DataError(f"{root}: no image in this folder or below it")
        return [{"gt_path": path} for path in paths]

    @classmethod
    def check_entries(cls, options: GtCropOptions, entries: list[dict[str, str]]) -> list[str]:
        reader = open_size_reader(options.io_backend.type, options.dataroot_gt)
        return check_sizes(entries, {"gt": reader}, None, options.gt_size, exact=False)

    def read_crop(self, path: str, rng: np.random.Generator) -> np.ndarray:
        """Reads a GT image and cuts a random square of ``crop_pad_size`` out of it.

        An image that is smaller on a side is padded there, at the bottom and right, by reflection (without repeating
        the edge).

        Returns:
            (S, S, 3) BGR, uint8 or uint16.

        Raises:
            SampleError: If it cannot be read.
        """
        image = self.read_image(path)
        size = self.options.crop_pad_size
        height, width = image.shape[:2]
        top, left = draw_offset(rng, max(0, height - size)), draw_offset(rng, max(0, width - size))
        crop = image[top : top + size, left : left + size]
        below, right = size - crop.shape[0], size - crop.shape[1]
        if below or right:
            crop = cv2.copyMakeBorder(crop, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        return crop
