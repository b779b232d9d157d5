"""Pairs of low- and high-resolution images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from basicsr.data.data_util import (
    paired_paths_from_folder,
    paired_paths_from_lmdb,
    paired_paths_from_meta_info_file,
)
from basicsr.data.dataset_options import DatasetOptions, PathText, parse_options
from basicsr.data.image_dataset import ImageDataset
from basicsr.data.listings import Entry
from basicsr.data.transforms import draw_corner, mod_crop, paired_random_crop, reduce_bicubic, reduce_window
from basicsr.utils.errors import DataError, Problem
from basicsr.utils.images import ImageError
from basicsr.utils.registry import DATASET_REGISTRY


class PairedImageOptions(DatasetOptions):
    """Block of :class:`PairedImageDataset`."""

    dataroot_gt: PathText
    """Folder of GT images, or a .lmdb database."""
    dataroot_lq: PathText | None = None
    """The same for LQ images. Absent: LQ is made from GT by MATLAB-style bicubic reduction."""
    filename_tmpl: str = "{}"
    """Makes the LQ name from the GT name, both without suffix."""
    color: Literal["rgb", "y"] | None = None
    """`y`: BT.601 luma only."""
    prepare: Literal["photographs"] | None = None
    """Make the folders before a run, from photographs that scikit-image ships."""

    def find_conflicts(self) -> list[Problem]:
        problems = super().find_conflicts()
        if self.is_training and self.gt_size is None:
            problems.append(Problem("gt_size", "gt_size is missing; training needs the side of the GT crop"))
        if self.filename_tmpl.count("{}") != 1:
            problems.append(Problem("filename_tmpl", f"filename_tmpl {self.filename_tmpl!r} must contain {{}} once"))
        if self.color == "y" and max(len(self.mean or ()), len(self.std or ())) > 1:
            problems.append(Problem("color", "color y gives one channel; mean and std are for three"))
        if self.prepare and self.io_backend.type == "lmdb":
            problems.append(Problem("prepare", "prepare makes files; use io_backend disk"))
        if self.prepare:
            try:
                find_photographs_root(self.dataroot_gt, self.dataroot_lq, self.scale)
            except DataError as error:
                problems.append(Problem("prepare", str(error)))
        return problems


def find_photographs_root(dataroot_gt: str, dataroot_lq: str | None, scale: int | None) -> Path:
    """ROOT of the data set of photographs that two folders of an option file belong to; looks at no file.

    Raises:
        DataError: If the folders are not ``ROOT/{train,val}/HR`` and ``ROOT/{train,val}/LR_bicubic/X{scale}``.
    """
    gt, size = Path(dataroot_gt), scale or 4
    fits = gt.name == "HR" and gt.parent.name in ("train", "val")
    if fits and (dataroot_lq is None or Path(dataroot_lq) == gt.parent / "LR_bicubic" / f"X{size}"):
        return gt.parent.parent
    raise DataError(
        f"prepare: photographs makes ROOT/{{train,val}}/HR and ROOT/{{train,val}}/LR_bicubic/X{size}; "
        f"dataroot_gt is {dataroot_gt} and dataroot_lq is {dataroot_lq}"
    )


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
    provides = frozenset({"gt", "lq"})
    options: PairedImageOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        if self.options.scale is None:
            raise DataError(f"data set {self.name}: scale is missing (GT pixels per LQ pixel)")
        self.scale = self.options.scale

    @classmethod
    def check_files(cls, options: Any) -> list[Problem]:
        parsed: Any = parse_options(cls.Options, options)
        # Folders that the run prepares need not be there yet.
        return parsed.find_conflicts() if parsed.prepare else super().check_files(parsed)

    @classmethod
    def list_entries(cls, options: PairedImageOptions) -> list[dict[str, str]]:
        gt, lq = options.dataroot_gt, options.dataroot_lq
        if options.prepare and not all(map(os.path.isdir, options.roots.values())):
            raise DataError(
                f"{gt}: no such folder yet; training and testing prepare it before they start, elsewhere call "
                "basicsr.preparation.photographs.prepare_photographs or basicsr data photographs"
            )
        if lq is None:
            return super().list_entries(options)
        options.refuse_missing()
        if options.io_backend.type == "lmdb":
            return paired_paths_from_lmdb([lq, gt], ["lq", "gt"])
        if list_file := options.meta_info_file or options.meta_info:
            return paired_paths_from_meta_info_file([lq, gt], ["lq", "gt"], list_file, options.filename_tmpl)
        return paired_paths_from_folder([lq, gt], ["lq", "gt"], options.filename_tmpl)

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        gt_path, lq_path = entry["gt_path"], entry.get("lq_path")
        scale, is_training = self.scale, self.options.is_training
        # No training set is without a size of crops: find_conflicts has refused that.
        gt, crop_size = self.read_image(gt_path), self.options.gt_size or 0
        if lq_path is None:
            # LQ is the reduction of the whole image, of which only the kept window is computed.
            height, width = gt.shape[:2]
            gt = mod_crop(gt, scale)
            if is_training and min(height, width) < crop_size:
                raise ImageError(gt_path, f"{height}x{width} pixels, smaller than gt_size {crop_size}")
            if not gt.size:
                raise ImageError(gt_path, f"smaller than {scale} pixels")
            if is_training:
                patch = crop_size // scale
                top, left = draw_corner(rng, height // scale, width // scale, (patch, patch))
                gt, lq = reduce_window(gt, top, left, patch, scale)
            else:
                lq = reduce_bicubic(gt, scale)
        else:
            lq = self.read_image(lq_path, "lq")
            height, width = lq.shape[:2]
            if is_training:
                try:
                    gt, lq = paired_random_crop(gt, lq, crop_size, scale, rng=rng)
                except ValueError as error:
                    raise ImageError(gt_path, str(error)) from error
            elif gt.shape[0] < height * scale or gt.shape[1] < width * scale:
                message = f"smaller than {scale} times its LQ image of {height}x{width}"
                raise ImageError(gt_path, f"{gt.shape[0]}x{gt.shape[1]} pixels, {message}")
            else:
                gt = gt[: height * scale, : width * scale]
        gt_tensor, lq_tensor = self.to_tensors([gt, lq], rng)
        return {"lq": lq_tensor, "gt": gt_tensor, "lq_path": lq_path or gt_path, "gt_path": gt_path}
