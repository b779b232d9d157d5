"""Packs folders of images into LMDB databases."""

from __future__ import annotations

import os
from pathlib import Path

from basicsr.preparation.parallel import default_workers
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images
from basicsr.utils.lmdb_util import make_lmdb_from_imgs


def create_lmdb(
    folder: str | Path,
    lmdb_path: str | Path,
    num_workers: int | None = None,
    compress_level: int = 1,
) -> int:
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
    workers = num_workers or default_workers()
    make_lmdb_from_imgs(
        folder,
        lmdb_path,
        names,
        keys,
        compress_level=compress_level,
        multiprocessing_read=workers > 1,
        n_thread=workers,
    )
    return len(names)
