"""Pairs of low- and high-resolution images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from basicsr.data.checks import check_sizes, open_size_reader
from basicsr.data.data_util import (
    gt_paths_from_meta,
    paired_paths_from_folder,
    paired_paths_from_lmdb,
    paired_paths_from_meta_info_file,
    paths_from_folder,
    paths_from_lmdb,
)
from basicsr.data.dataset_options import DatasetOptions, PathText
from basicsr.data.decoding import SampleError
from basicsr.data.image_dataset import Entry, ImageDataset
from basicsr.data.listings import read_meta_info, refuse_missing
from basicsr.data.reduction import reduce_bicubic, reduce_window
from basicsr.data.transforms import draw_offset, mod_crop, paired_random_crop
from basicsr.utils.errors import DataError
from basicsr.utils.registry import DATASET_REGISTRY


class PairedImageOptions(DatasetOptions):
    """Block of :class:`PairedImageDataset`."""

    dataroot_gt: PathText = Field(description="Folder of GT images, or a .lmdb database.")
    dataroot_lq: PathText | None = Field(
        None, description="The same for LQ images. Absent: LQ is made from GT by MATLAB-style bicubic reduction."
    )
    meta_info_file: PathText | None = Field(
        None, description="Text file of `gt_path[, lq_path]` or `path (h,w,c)` lines that chooses the images."
    )
    meta_info: PathText | None = Field(None, description="Another name of meta_info_file.")
    filename_tmpl: str = Field("{}", description="Makes the LQ name from the GT name, both without suffix.")
    color: Literal["rgb", "y"] | None = Field(None, description="`y`: BT.601 luma only.")
    prepare: Literal["photographs"] | None = Field(
        None, description="Make the folders on first use, from the photographs that scikit-image ships."
    )

    @property
    def list_file(self) -> str | None:
        return self.meta_info_file or self.meta_info

    def find_conflicts(self) -> list[str]:
        problems = super().find_conflicts()
        if self.phase == "train" and self.gt_size is None:
            problems.append("gt_size is missing; training needs the side of the GT crop")
        if self.filename_tmpl.count("{}") != 1:
            problems.append(f"filename_tmpl {self.filename_tmpl!r} must contain {{}} once")
        if self.color == "y" and (self.mean or self.std):
            problems.append("color y gives one channel; mean and std are for three")
        if self.prepare and self.io_backend.type != "disk":
            problems.append("prepare makes files; use io_backend disk")
        return problems


@DATASET_REGISTRY.register()
class PairedImageDataset(ImageDataset):
    """GT and LQ images, from two folders, a meta-info file, or two databases; or GT images alone.

    Training samples hold a random window of ``gt_size``, flipped and turned at random; other samples hold the whole
    images, GT cut to ``scale`` times LQ.

    Args:
        opt: The block; see :class:`PairedImageOptions`. ``scale`` is needed.

    Sample:
        ``lq`` (3, h, w) and ``gt`` (3, h*scale, w*scale): RGB float32 in [0, 1] (less ``mean``, over ``std``);
        ``lq_path``, ``gt_path``; ``failed``.

    Raises:
        OptionsError: For mistakes in the block.
        DataError: If folders are missing or do not match.
    """

    Options: ClassVar[type[DatasetOptions]] = PairedImageOptions
    options: PairedImageOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        if self.options.scale is None:
            raise DataError(f"data set {self.name}: scale is missing (GT pixels per LQ pixel)")
        self.scale = self.options.scale

    @classmethod
    def prepare_files(cls, options: PairedImageOptions) -> None:
        if options.prepare == "photographs":
            from basicsr.preparation.photographs import prepare_for_folders

            prepare_for_folders(options.dataroot_gt, options.dataroot_lq, options.scale)

    @classmethod
    def list_entries(cls, options: PairedImageOptions) -> list[dict[str, str]]:
        gt, lq, in_database = options.dataroot_gt, options.dataroot_lq, options.io_backend.type == "lmdb"
        if lq is None:
            return [{"gt_path": path} for path in _list_gt(options)]
        if in_database:
            return paired_paths_from_lmdb([lq, gt], ["lq", "gt"])
        refuse_missing(_roots(options), options.list_file)
        if options.list_file is not None:
            return paired_paths_from_meta_info_file([lq, gt], ["lq", "gt"], options.list_file, options.filename_tmpl)
        return paired_paths_from_folder([lq, gt], ["lq", "gt"], options.filename_tmpl)

    @classmethod
    def check_entries(cls, options: PairedImageOptions, entries: list[dict[str, str]]) -> list[str]:
        readers = {"gt": open_size_reader(options.io_backend.type, options.dataroot_gt)}
        if options.dataroot_lq is not None:
            readers["lq"] = open_size_reader(options.io_backend.type, options.dataroot_lq)
        training = options.phase == "train"
        smallest = options.gt_size if training else options.scale
        return check_sizes(entries, readers, options.scale, smallest, exact=training)

    def _database_paths(self) -> dict[str, str]:
        return {key.removeprefix("dataroot_"): root for key, root in _roots(self.options).items()}

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        gt = self.read_image(entry["gt_path"], "gt")
        if "lq_path" not in entry:
            gt, lq = self._reduce_window(gt, entry["gt_path"], rng)
        else:
            lq = self.read_image(entry["lq_path"], "lq")
            gt, lq = self._cut_pair(gt, lq, entry, rng)
        gt_tensor, lq_tensor = self.to_tensors([gt, lq], rng)
        return {
            "lq": lq_tensor,
            "gt": gt_tensor,
            "lq_path": entry.get("lq_path", entry["gt_path"]),
            "gt_path": entry["gt_path"],
        }

    def _cut_pair(
        self, gt: np.ndarray, lq: np.ndarray, entry: Entry, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.is_training:
            try:
                return paired_random_crop(gt, lq, self._crop_size(), self.scale, entry["gt_path"], rng)
            except ValueError as error:
                raise SampleError(str(error)) from error
        height, width = lq.shape[0] * self.scale, lq.shape[1] * self.scale
        if gt.shape[0] < height or gt.shape[1] < width:
            raise SampleError(
                f"{entry['gt_path']}: {gt.shape[0]}x{gt.shape[1]} pixels, smaller than {self.scale} times "
                f"{entry['lq_path']} ({lq.shape[0]}x{lq.shape[1]})"
            )
        return gt[:height, :width], lq

    def _crop_size(self) -> int:
        if self.options.gt_size is None:  # find_conflicts has refused this
            raise DataError(f"data set {self.name}: gt_size is missing")
        return self.options.gt_size

    def _reduce_window(self, gt: np.ndarray, path: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Makes LQ: the reduction of the whole image, of which only the kept window is computed."""
        gt = mod_crop(gt, self.scale)
        height, width = gt.shape[0] // self.scale, gt.shape[1] // self.scale
        if not self.is_training:
            if not gt.size:
                raise SampleError(f"{path}: smaller than {self.scale} pixels")
            return gt, reduce_bicubic(gt, self.scale)
        patch = self._crop_size() // self.scale
        if min(height, width) < patch:
            raise SampleError(f"{path}: {gt.shape[0]}x{gt.shape[1]} pixels, smaller than gt_size {self._crop_size()}")
        top, left = draw_offset(rng, height - patch), draw_offset(rng, width - patch)
        return reduce_window(gt, top, left, patch, self.scale)


def _roots(options: PairedImageOptions) -> dict[str, str]:
    roots = {"dataroot_lq": options.dataroot_lq, "dataroot_gt": options.dataroot_gt}
    return {key: root for key, root in roots.items() if root is not None}


def _list_gt(options: PairedImageOptions) -> list[str]:
    if options.io_backend.type == "lmdb":
        return paths_from_lmdb(options.dataroot_gt)
    refuse_missing(_roots(options), options.list_file)
    if options.list_file is not None:
        return gt_paths_from_meta(options.dataroot_gt, read_meta_info(options.list_file))
    return paths_from_folder(options.dataroot_gt)
