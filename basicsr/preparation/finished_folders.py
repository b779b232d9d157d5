"""Steps on a finished folder of images: check it, list it in a meta-info file, pack it into an LMDB database."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basicsr.data.data_util import match_folders, paired_paths_from_folder, paths_from_folder
from basicsr.preparation.running import default_workers, map_files, refuse_failures
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.image_headers import read_header_of
from basicsr.utils.images import (
    Folder,
    decode_image,
    list_images,
    read_image,
    read_image_file,
    read_image_shape,
)
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from basicsr.utils.meta_info import format_meta_line


@dataclass
class FolderReport:
    """What was found, in one image or in a whole folder.

    Attributes:
        images: Number of image files.
        gray: How many have one channel.
        alpha: How many have an alpha channel, which training drops.
        deep: How many have 16 bits.
        smallest: Smallest height and width, each over all (GT) images.
        largest: Largest height and width, each over all (GT) images.
        problems: What is wrong, a sentence each.
    """

    images: int = 0
    gray: int = 0
    alpha: int = 0
    deep: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    problems: list[str] = field(default_factory=list)


def _inspect(path: str) -> FolderReport:
    try:
        content = read_image_file(path)
        image = decode_image(content, path, unchanged=True)
    except DataError as error:
        return FolderReport(1, problems=[str(error)])
    size, alpha = (image.shape[0], image.shape[1]), read_header_of(content).alpha
    return FolderReport(1, image.ndim == 2, alpha, image.dtype == np.uint16, size, size)


def check_dataset(
    gt_folder: Folder,
    lq_folder: Folder | None = None,
    scale: int | None = None,
    filename_tmpl: str = "{}",
    min_size: int = 1,
    recursive: bool = False,
    num_workers: int | None = None,
) -> FolderReport:
    """Decodes every image; with ``lq_folder`` also checks that the two folders match.

    Args:
        gt_folder: GT images (or any folder of images).
        lq_folder: LQ images.
        scale: GT pixels per LQ pixel; None: sizes are not compared.
        filename_tmpl: Makes the LQ name from the GT name, both without suffix.
        min_size: Smallest side that GT images may have.
        recursive: Look into sub-folders too (without ``lq_folder``).
        num_workers: Images decoded at the same time; None: one a core.

    Returns:
        Counts, sizes and every problem; ``problems`` is empty if all is well.

    Raises:
        DataError: If a folder is missing.
    """
    # Decode everything.
    gt_paths = paths_from_folder(gt_folder, recursive and lq_folder is None)
    pairs, mismatches = ([], []) if lq_folder is None else match_folders(lq_folder, gt_folder, filename_tmpl)
    paths = [*gt_paths, *(lq for lq, _ in pairs)]
    images = dict(zip(paths, refuse_failures(map_files(_inspect, paths, num_workers, "check"))))
    sizes = {path: image.smallest for path, image in images.items() if image.smallest}
    # List the problems.
    problems = [problem for image in images.values() for problem in image.problems]
    problems += [mismatch.message for mismatch in mismatches]
    if not gt_paths and lq_folder is None:
        problems.append(f"{gt_folder}: no image in this folder")
    gt_sizes = [(path, *sizes[path]) for path in gt_paths if path in sizes]
    for path, height, width in gt_sizes:
        if min(height, width) < min_size:
            problems.append(f"{path}: {height}x{width} pixels, smaller than {min_size}")
    for lq_path, gt_path in pairs:
        gt, lq = sizes.get(gt_path), sizes.get(lq_path)
        if scale and gt and lq and gt != (lq[0] * scale, lq[1] * scale):
            problems.append(f"{gt_path}: {gt[0]}x{gt[1]} pixels are not {scale} times {lq_path} ({lq[0]}x{lq[1]})")
    # Count.
    gray, alpha, deep = (sum(getattr(image, key) for image in images.values()) for key in ("gray", "alpha", "deep"))
    report = FolderReport(len(paths), gray, alpha, deep, problems=problems)
    if gt_sizes:
        _, heights, widths = zip(*gt_sizes)
        report.smallest, report.largest = (min(heights), min(widths)), (max(heights), max(widths))
    return report


def generate_meta_info(
    folders: Sequence[Folder],
    meta_info: Folder,
    roots: Sequence[Folder] | None = None,
    with_size: bool = False,
    check: bool = False,
    num_workers: int | None = None,
) -> int:
    """Lists the images of folders (and of their sub-folders), one relative path a line.

    Args:
        folders: Where images are.
        meta_info: File to write.
        roots: What paths are relative to, one a folder (the ``dataroot_gt`` of the option file); None: the folders'
            parents.
        with_size: Write ``path (h,w,c)``.
        check: Decode every image; those that cannot be read are left out, and named in the error at the end.
        num_workers: Images decoded at the same time; None: one a core.

    Returns:
        Number of lines.

    Raises:
        UserError: If a folder does not lie in its root.
        DataError: If there is no image, or (with ``check``; the file is written first) some cannot be read.
    """
    bases = [Path(folder).parent for folder in folders] if roots is None else list(roots)
    if len(bases) != len(folders):
        raise UserError(f"{len(folders)} folders but {len(bases)} roots; give one root a folder")
    listed = [
        (path, _relative(path, base))
        for folder, base in zip(folders, bases)
        for path in paths_from_folder(folder, recursive=True)
    ]
    if not listed:
        raise DataError(f"no image in {', '.join(map(str, folders))}")

    def decode(path: str) -> None:
        read_image(path)

    results = map_files(decode, [path for path, _ in listed], num_workers, "check") if check else [None] * len(listed)
    kept = [image for image, result in zip(listed, results) if result is None]
    lines = [format_meta_line([line], read_image_shape(path) if with_size else None) for path, line in kept]
    _write_lines(lines, meta_info)
    refuse_failures(results, f"{meta_info} was written without the images that cannot be read; ")
    return len(lines)


def generate_paired_meta_info(
    gt_folder: Folder,
    lq_folder: Folder,
    meta_info: Folder,
    roots: Sequence[Folder] | None = None,
    filename_tmpl: str = "{}",
) -> int:
    """Lists pairs, ``gt_path, lq_path`` a line.

    Args:
        gt_folder: GT images.
        lq_folder: LQ images.
        meta_info: File to write.
        roots: What GT and LQ paths are relative to (``dataroot_gt`` and ``dataroot_lq``); None: the folders' parents.
        filename_tmpl: Makes the LQ name from the GT name, both without suffix.

    Returns:
        Number of lines.

    Raises:
        DataError: If the folders do not match.
        UserError: If a folder does not lie in its root.
    """
    gt_root, lq_root = (Path(gt_folder).parent, Path(lq_folder).parent) if roots is None else roots
    pairs = paired_paths_from_folder([lq_folder, gt_folder], ["lq", "gt"], filename_tmpl)
    lines = [
        format_meta_line([_relative(pair["gt_path"], gt_root), _relative(pair["lq_path"], lq_root)]) for pair in pairs
    ]
    _write_lines(lines, meta_info)
    return len(lines)


def _relative(path: Folder, root: Folder) -> str:
    relative = os.path.relpath(path, root)
    if relative.startswith(".."):
        raise UserError(f"{path} does not lie in the root {root}; the root is what dataroot_gt will be")
    return Path(relative).as_posix()


def _write_lines(lines: Sequence[str], meta_info: Folder) -> None:
    atomic_write_text("".join(f"{line}\n" for line in lines), meta_info)
    logging.getLogger("basicsr").info("%s lists %d images", meta_info, len(lines))


def create_lmdb(folder: Folder, lmdb_path: Folder, num_workers: int | None = None, compress_level: int = 1) -> int:
    """Packs a folder (and its sub-folders) into a database; keys are relative paths without suffix.

    Args:
        folder: Images.
        lmdb_path: Database to make; its name ends in ``.lmdb``.
        num_workers: Threads that read and encode; None: one a core.
        compress_level: PNG compression, 0 to 9.

    Returns:
        Number of images.

    Raises:
        DataError: If there is no image, or one cannot be read.
        UserError: If the database exists, or two images differ in their suffix only.
    """
    names = list_images(folder, recursive=True)
    if not names:
        raise DataError(f"{folder}: no image in this folder or below it")
    keys = [os.path.splitext(name)[0] for name in names]
    options = {"compress_level": compress_level, "n_thread": max(1, num_workers or default_workers())}
    make_lmdb_from_imgs(folder, lmdb_path, names, keys, multiprocessing_read=True, **options)
    return len(names)
