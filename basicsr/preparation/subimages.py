"""Training images made from larger ones: overlapping sub-images, and smaller copies.

Sub-images let training decode little more than it keeps; smaller copies add scales (Real-ESRGAN, arXiv 2107.10833).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from basicsr.preparation.folders import FolderRecord, list_sources
from basicsr.preparation.running import map_files, refuse_failures
from basicsr.utils.errors import UserError
from basicsr.utils.images import Folder, read_image, read_image_size, write_png

logger = logging.getLogger("basicsr")


def plan_div2k(root: Folder, scales: Sequence[int] = (2, 3, 4)) -> list[tuple[Path, Path, int, int]]:
    """The published cut of DIV2K's training images: HR 480 pixels every 240, LR the same divided by the scale.

    Returns:
        ``input_folder``, ``save_folder``, ``crop_size`` and ``step`` for :func:`extract_subimages`, each; HR is first.
    """
    folders = {"DIV2K_train_HR": 1, **{f"DIV2K_train_LR_bicubic/X{scale}": scale for scale in scales}}
    return [
        (Path(root, name), Path(root, f"{name}_sub"), 480 // scale, 240 // scale) for name, scale in folders.items()
    ]


def list_offsets(length: int, crop_size: int, step: int, thresh_size: int = 0) -> list[int]:
    """First pixels of the sub-images along a side; the last ends at the edge if more than ``thresh_size`` remains."""
    offsets = list(range(0, length - crop_size + 1, step))
    if offsets and length - (offsets[-1] + crop_size) > thresh_size:
        offsets.append(length - crop_size)
    return offsets


def extract_subimages(
    input_folder: Folder,
    save_folder: Folder,
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
    names = list_sources(source, {"output folder": target}, lambda name: f"{_name_stem(name)}_s001.png")
    record = FolderRecord(target, {"crop_size": crop_size, "step": step, "thresh_size": thresh_size})

    def cut(path: Path) -> int:
        height, width = read_image_size(str(path))
        corners = list(product(*(list_offsets(side, crop_size, step, thresh_size) for side in (height, width))))
        if not corners:
            logger.warning("%s: %dx%d pixels, smaller than %d: skipped", path, height, width, crop_size)
        stem = _name_stem(path.name)
        files = [target / f"{stem}_s{number:03d}.png" for number in range(1, len(corners) + 1)]
        if not record.holds(stem, path, files):
            image = read_image(path, unchanged=True)
            for file, (top, left) in zip(files, corners):
                write_png(image[top : top + crop_size, left : left + crop_size], file, compression_level)
            record.add(stem, path, files)
        return len(files)

    counts = refuse_failures(map_files(cut, [source / name for name in names], num_workers, f"cut {source.name}"))
    skipped = counts.count(0)
    note = f" ({skipped} smaller than {crop_size} skipped)" if skipped else ""
    logger.info("%s: %d sub-images of %d images%s", target, sum(counts), len(names), note)
    return sum(counts)


def _name_stem(name: str) -> str:
    return re.sub(r"x[2348]$", "", Path(name).stem)


def generate_multiscale(
    input_folder: Folder,
    output_folder: Folder,
    scales: Sequence[float] = (0.75, 0.5, 1 / 3),
    shortest_edge: int = 400,
    num_workers: int | None = None,
) -> int:
    """Writes ``NAMET0.png``, ``NAMET1.png`` … for every image: one copy a scale, and one of ``shortest_edge`` pixels.

    Copies are made with Lanczos; those that are there already are left alone, unless their image has changed:
    ``<output_folder>_manifest.jsonl`` says what the folder was made with and from.

    Args:
        input_folder: Images.
        output_folder: Where copies go.
        scales: Factors below 1.
        shortest_edge: Shorter side of the last copy in pixels.
        num_workers: Images at the same time; None: one a core.

    Returns:
        Number of copies.

    Raises:
        UserError: If a scale is not between 0 and 1.
        DataError: If the folder has no image, ``output_folder`` lies in it or was made with other numbers, or copies of
            two images would have equal names; at the end, if images could not be read.
    """
    if not scales or not all(0 < scale < 1 for scale in scales) or shortest_edge < 1:
        raise UserError(f"scales must lie between 0 and 1 and shortest_edge be positive, got {scales}, {shortest_edge}")
    source, target = Path(input_folder), Path(output_folder)
    names = list_sources(source, {"output folder": target}, lambda name: f"{Path(name).stem}T0.png")
    record = FolderRecord(target, {"scales": list(scales), "shortest_edge": shortest_edge})

    def copy(path: Path) -> int:
        height, width = read_image_size(str(path))
        factors = [*scales, shortest_edge / min(height, width)]
        files = [target / f"{path.stem}T{number}.png" for number in range(len(factors))]
        if not record.holds(path.stem, path, files):
            image = read_image(path, unchanged=True)
            for file, factor in zip(files, factors):
                write_png(_resize_lanczos(image, max(1, round(height * factor)), max(1, round(width * factor))), file)
            record.add(path.stem, path, files)
        return len(files)

    paths = [source / name for name in names]
    return sum(refuse_failures(map_files(copy, paths, num_workers, f"multi-scale {source.name}")))


def _resize_lanczos(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image (H, W[, C]) by Pillow's Lanczos filter; channels of 16 bits keep their depth."""
    size = width, height
    if image.dtype == np.uint8:
        # Pillow takes a fourth channel for alpha, by which it weights the colours.
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    planes = np.atleast_3d(image).astype(np.float32).transpose(2, 0, 1)
    resized = [np.array(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    return np.stack(resized, axis=2).round().clip(0, 65535).astype(np.uint16).reshape(height, width, *image.shape[2:])
