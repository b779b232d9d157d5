"""Cuts large images into overlapping sub-images, so that training decodes little more than it keeps."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from basicsr.preparation.folder_record import FolderRecord
from basicsr.preparation.output_folders import make_folder, refuse_clashes, refuse_mixing
from basicsr.preparation.parallel import default_workers, map_files
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.images import list_images, read_image, read_image_size, write_png

_SCALE_ENDING = re.compile(r"x[2348]$")


@dataclass(frozen=True)
class SubImagePlan:
    """One folder to cut.

    Attributes:
        input_folder: Whole images.
        save_folder: Sub-images.
        crop_size: Side of a sub-image in pixels.
        step: Pixels between neighbours.
    """

    input_folder: Path
    save_folder: Path
    crop_size: int
    step: int


def plan_div2k(root: str | Path, scales: Sequence[int] = (2, 3, 4)) -> list[SubImagePlan]:
    """The published cut of DIV2K's training images: HR 480 pixels every 240, LR the same divided by the scale."""
    folder = Path(root)
    plans = [SubImagePlan(folder / "DIV2K_train_HR", folder / "DIV2K_train_HR_sub", 480, 240)]
    lr = folder / "DIV2K_train_LR_bicubic"
    return plans + [
        SubImagePlan(lr / f"X{scale}", lr / f"X{scale}_sub", 480 // scale, 240 // scale) for scale in scales
    ]


def list_offsets(length: int, crop_size: int, step: int, thresh_size: int = 0) -> list[int]:
    """First pixels of the sub-images along a side; the last ends at the edge if more than ``thresh_size`` remains."""
    offsets = list(range(0, length - crop_size + 1, step))
    if offsets and length - (offsets[-1] + crop_size) > thresh_size:
        offsets.append(length - crop_size)
    return offsets


def extract_subimages(
    input_folder: str | Path,
    save_folder: str | Path,
    crop_size: int = 480,
    step: int = 240,
    thresh_size: int = 0,
    num_workers: int | None = None,
    compression_level: int = 3,
) -> int:
    """Cuts every image of a folder; images whose sub-images are all there are not read again past their header.

    Images smaller than ``crop_size`` are named in the log and skipped. Images that have changed are cut again:
    ``<save_folder>_manifest.jsonl`` says what the folder was made with and from.

    Sub-images are called ``NAME_s001.png``, counted row by row; an ending ``x2``, ``x3``, ``x4`` or ``x8`` of the name
    is dropped, so that HR and LR sub-images have equal names.

    Args:
        input_folder: Whole images.
        save_folder: Where sub-images go.
        crop_size: Side of a sub-image in pixels.
        step: Pixels between neighbours.
        thresh_size: A remainder at the right or bottom gets a sub-image of its own if it has more pixels than this.
        num_workers: Images cut at the same time; None: one a core.
        compression_level: PNG compression, 0 to 9.

    Returns:
        Number of sub-images.

    Raises:
        UserError: If a number is out of range.
        DataError: If the folder has no image, ``save_folder`` lies in it or was cut in another way, or sub-images of
            two images would have equal names; at the end, if images are unreadable.
    """
    if crop_size < 1 or step < 1 or thresh_size < 0:
        raise UserError(f"crop_size and step must be positive, got {crop_size} and {step} (thresh_size {thresh_size})")
    source, target = Path(input_folder), Path(save_folder)
    names = list_images(source)
    if not names:
        raise DataError(f"{source}: no image in this folder")
    refuse_mixing({"input folder": source}, {"output folder": target}, [source / name for name in names])
    refuse_clashes(source, names, lambda name: f"{_name_stem(name)}_s001.png")
    make_folder(target)
    record = FolderRecord(target, {"crop_size": crop_size, "step": step, "thresh_size": thresh_size})

    def cut(name: str) -> int:
        return _cut_image(source / name, record, (crop_size, step, thresh_size), compression_level)

    counts = map_files(cut, names, num_workers or default_workers(), f"cut {source.name}")
    skipped = counts.count(0)
    note = f" ({skipped} smaller than {crop_size} skipped)" if skipped else ""
    logging.getLogger("basicsr").info("%s: %d sub-images of %d images%s", target, sum(counts), len(names), note)
    return sum(counts)


def _name_stem(name: str) -> str:
    return _SCALE_ENDING.sub("", Path(name).stem)


def _cut_image(path: Path, record: FolderRecord, grid: tuple[int, int, int], compression_level: int) -> int:
    crop_size, step, thresh_size = grid
    height, width = read_image_size(str(path))
    corners = [
        (top, left)
        for top in list_offsets(height, crop_size, step, thresh_size)
        for left in list_offsets(width, crop_size, step, thresh_size)
    ]
    if not corners:
        logging.getLogger("basicsr").warning(
            "%s: %dx%d pixels, smaller than %d: skipped", path, height, width, crop_size
        )
    stem = _name_stem(path.name)
    files = [record.folder / f"{stem}_s{number:03d}.png" for number in range(1, len(corners) + 1)]
    if record.holds(stem, path, files):
        return len(files)
    image = read_image(path, unchanged=True)
    for file, (top, left) in zip(files, corners):
        write_png(image[top : top + crop_size, left : left + crop_size], file, compression_level)
    record.add(stem, path, files)
    return len(files)
