"""Image databases in LMDB, in BasicSR's format.

``name.lmdb/`` holds ``data.mdb`` and ``meta_info.txt`` with one line ``file.png (h,w,c) compress_level`` an image; the
key of an image is its name without suffix, its value a PNG file.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from basicsr.utils.atomic import StrPath, atomic_write_text
from basicsr.utils.errors import UserError
from basicsr.utils.images import encode_image, read_image
from basicsr.utils.meta_info import format_meta_line

Shape = tuple[int, int, int]


def read_img_worker(path: StrPath, key: str, compress_level: int) -> tuple[str, bytes, Shape]:
    """Reads one image file and encodes it as PNG.

    Args:
        path: Image file; its depth and channels are kept.
        key: Passed through.
        compress_level: PNG compression, 0 to 9.

    Returns:
        Key, PNG bytes and (height, width, channels).

    Raises:
        DataError: If the file is not a whole, readable image.
    """
    image = read_image(path, unchanged=True)
    height, width, channels = image.reshape(*image.shape[:2], -1).shape
    content = encode_image(image, ".png", [cv2.IMWRITE_PNG_COMPRESSION, compress_level])
    return key, content, (height, width, channels)


def make_lmdb_from_imgs(
    data_path: StrPath,
    lmdb_path: StrPath,
    img_path_list: Sequence[str],
    keys: Sequence[str],
    batch: int = 5000,
    compress_level: int = 1,
    multiprocessing_read: bool = False,
    n_thread: int = 40,
    map_size: int | None = None,
) -> None:
    """Packs image files into a database; the folder appears under its name only when it is complete.

    Args:
        data_path: Folder that ``img_path_list`` is relative to.
        lmdb_path: Folder to make; its name ends in ``.lmdb``.
        img_path_list: Image files.
        keys: A unique key for each of them.
        batch: Images a transaction.
        compress_level: PNG compression, 0 (fast, large) to 9.
        multiprocessing_read: Read and encode on ``n_thread`` threads; codecs do not hold the interpreter.
        n_thread: How many.
        map_size: Largest size in bytes the database may have; None: estimated from the files.

    Raises:
        UserError: If the name does not end in ``.lmdb``, the folder exists, or lists do not fit.
        DataError: If a file is not a readable image.
    """
    if len(img_path_list) != len(keys):
        raise UserError(f"{len(img_path_list)} images but {len(keys)} keys")
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise UserError(f"keys must be unique; these are not: {', '.join(twice[:5])}")
    sources = [Path(data_path) / path for path in img_path_list]
    if map_size is None:
        # A decoded 16-bit RGBA image bounds its PNG from above; the map is address space, not disk.
        map_size = max(2**30, 64 * sum(source.stat().st_size for source in sources))
    maker = LmdbMaker(lmdb_path, map_size=map_size, batch=batch, compress_level=compress_level)
    logger = logging.getLogger("basicsr")
    logger.info("packing %d images of %s into %s", len(sources), Path(data_path), maker.path)
    with ThreadPoolExecutor(n_thread) as pool:
        apply = pool.map if multiprocessing_read else map
        images = apply(read_img_worker, sources, keys, repeat(compress_level))
        for key, content, shape in tqdm(images, total=len(sources), unit="image", desc="lmdb"):
            maker.put(content, key, shape)
    maker.close()
    logger.info("wrote %s", maker.path)


@contextmanager
def _naming_the_system(path: Path) -> Iterator[None]:
    """Has LMDB's errors be those of the system that they tell of, such as a full disk, with the file's name."""
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        reason = str(error).rpartition(": ")[2]
        number = next((number for number in errno.errorcode if os.strerror(number) == reason), None)
        if number is None:
            raise
        if number == errno.EIO:
            # So LMDB calls a write of which a part was done.
            number, reason = errno.ENOSPC, "a write came short, as on a full disk"
        raise OSError(number, reason, str(path)) from error


class LmdbMaker:
    """Writes an image database one image at a time; the folder appears under its name only when it is complete.

    Args:
        lmdb_path: Folder to make; its name ends in ``.lmdb``.
        map_size: Largest size in bytes (address space, not disk).
        batch: Images a transaction.
        compress_level: Noted in ``meta_info.txt``.

    Raises:
        UserError: If the suffix is another or the folder exists.
        OSError: If the disk is full or a limit is reached; methods raise it too.
    """

    def __init__(self, lmdb_path: StrPath, map_size: int = 1024**4, batch: int = 5000, compress_level: int = 1) -> None:
        import lmdb

        self.path = Path(lmdb_path)
        if self.path.suffix != ".lmdb":
            raise UserError(f"lmdb_path {self.path} must end in .lmdb")
        if self.path.exists():
            raise UserError(f"{self.path} exists already; remove it first to make it again")
        # Start afresh where an earlier maker was interrupted.
        self._unfinished = self.path.with_name(self.path.name + ".unfinished")
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.parent.mkdir(parents=True, exist_ok=True)
        self.batch = max(1, batch)
        self.compress_level = compress_level
        with _naming_the_system(self._unfinished):
            self._environment: Any = lmdb.open(str(self._unfinished), map_size=map_size)
            self._transaction: Any = self._environment.begin(write=True)
        self._lines: list[str] = []

    def put(self, img_byte: bytes, key: str, img_shape: Shape) -> None:
        """Adds one PNG under ``key``; ``img_shape`` is (height, width, channels)."""
        self._lines.append(format_meta_line([f"{key}.png"], img_shape, self.compress_level))
        with _naming_the_system(self._unfinished):
            self._transaction.put(os.fsencode(key), img_byte)
            if len(self._lines) % self.batch == 0:
                self._transaction.commit()
                self._transaction = self._environment.begin(write=True)

    def close(self) -> None:
        """Commits and writes ``meta_info.txt``; the database can be read from then on."""
        with _naming_the_system(self._unfinished):
            self._transaction.commit()
            self._environment.sync()
            self._environment.close()
        atomic_write_text("".join(f"{line}\n" for line in self._lines), self._unfinished / "meta_info.txt")
        os.replace(self._unfinished, self.path)
