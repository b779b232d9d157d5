"""Writes the text files that list the images of a data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from basicsr.data.data_util import paired_paths_from_folder
from basicsr.preparation.parallel import default_workers, map_files
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.images import list_images, read_image, read_image_size


def _relative(path: str | Path, root: str | Path) -> str:
    relative = os.path.relpath(path, root)
    if relative.startswith(".."):
        raise UserError(f"{path} does not lie in the root {root}; the root is what dataroot_gt will be")
    return Path(relative).as_posix()


def generate_meta_info(
    folders: Sequence[str | Path],
    meta_info: str | Path,
    roots: Sequence[str | Path] | None = None,
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
    entries = [
        (str(Path(folder) / name), _relative(Path(folder) / name, base))
        for folder, base in zip(folders, bases)
        for name in list_images(folder, recursive=True)
    ]
    if not entries:
        raise DataError(f"no image in {', '.join(map(str, folders))}")
    failures: set[str] = set()
    report = None
    if check:
        try:
            map_files(
                lambda entry: _note_failure(entry[0], failures), entries, num_workers or default_workers(), "check"
            )
        except DataError as error:
            report = error
    kept = [(path, relative) for path, relative in entries if path not in failures]
    lines = [f"{relative} ({_format_size(path)})" if with_size else relative for path, relative in kept]
    _write(lines, meta_info)
    if report is not None:
        raise DataError(f"{meta_info} was written without the images that cannot be read; {report}")
    return len(lines)


def _note_failure(path: str, failures: set[str]) -> None:
    try:
        read_image(path)
    except DataError:
        failures.add(path)
        raise


def _format_size(path: str) -> str:
    from PIL import Image

    height, width = read_image_size(path)
    with Image.open(path) as image:
        return f"{height},{width},{len(image.getbands())}"


def generate_paired_meta_info(
    gt_folder: str | Path,
    lq_folder: str | Path,
    meta_info: str | Path,
    roots: tuple[str | Path, str | Path] | None = None,
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
    lines = [f"{_relative(pair['gt_path'], gt_root)}, {_relative(pair['lq_path'], lq_root)}" for pair in pairs]
    _write(lines, meta_info)
    return len(lines)


def _write(lines: Sequence[str], meta_info: str | Path) -> None:
    atomic_write_text("".join(f"{line}\n" for line in lines), meta_info)
    logging.getLogger("basicsr").info("%s lists %d images", meta_info, len(lines))
