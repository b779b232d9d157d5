"""Images of a folder: listing, decoding in worker processes, and crops that depend on (seed, image name) alone."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from basicsr.data.decoding import IMAGE_SUFFIXES, decode_image
from basicsr.utils.atomic import hash_file
from basicsr.utils.errors import DataError
from basicsr.utils.seeding import numpy_rng

Prepare = Callable[[str, Tensor], Tensor]
"""Called in the worker with a file name and its image (3, H, W) uint8 RGB; what it returns is sent instead."""


@dataclass(frozen=True)
class BadFile:
    """A file that could not be used.

    Attributes:
        name: File name as the user knows it (a path, or a name from a guide file).
        reason: What is wrong with it, and what to do where that is known.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def describe_bad_files(bad_files: Sequence[BadFile], limit: int = 20) -> str:
    """One indented line per file, at most ``limit`` of them."""
    lines = [f"  {file}" for file in bad_files[:limit]]
    if len(bad_files) > limit:
        lines.append(f"  … and {len(bad_files) - limit} more")
    return "\n".join(lines)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the images of a folder (or the one image that ``folder`` names), sorted by name.

    What is not a folder and has an image suffix is listed, readable or not: a link to nothing is named like any other
    damaged file when it is decoded. Files without an image suffix are skipped and named in the log; folders inside are
    not entered.

    Raises:
        DataError: If the folder is missing or holds no image.
    """
    root = Path(folder)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"no such folder: {root}")
    files = sorted(entry for entry in root.iterdir() if not entry.is_dir() and not entry.name.startswith("."))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    others = [file.name for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
    if others:
        shown = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        logging.getLogger("basicsr").info("%s: skipped %d files without an image suffix: %s", root, len(others), shown)
    if not images:
        raise DataError(f"{root} holds no image; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Decodes one file to (3, H, W) uint8 RGB; 16 bits are rounded to 8, grey is repeated, alpha dropped.

    Raises:
        DataError: If the file cannot be read or is no image.
    """
    if not os.path.isfile(path):
        # Reading a pipe would wait for ever.
        what = "is a link to nothing" if os.path.islink(path) else "is missing or not a file"
        raise DataError(f"{path}: {what}")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    image = decode_image(content, str(path))
    if image.dtype == np.uint16:
        image = np.rint(image / 257).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1)


class _Decoder(Dataset[object]):
    def __init__(self, paths: Sequence[Path], prepare: Prepare | None) -> None:
        self._paths = paths
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor | BadFile:
        path = self._paths[index]
        try:
            image = read_image(path)
            return image if self._prepare is None else self._prepare(path.name, image)
        except DataError as error:
            return BadFile(path.name, str(error).removeprefix(f"{path}: "))


def load_images(
    paths: Sequence[Path], num_workers: int = 0, prepare: Prepare | None = None
) -> Iterator[tuple[Path, Tensor | BadFile]]:
    """Decodes files in order, in ``num_workers`` processes (0: in this one); at most a few images are in memory.

    Args:
        paths: The files.
        num_workers: Worker processes; results do not depend on it.
        prepare: Picklable function run by the worker on every image; a ``DataError`` that it raises marks the file bad.

    Yields:
        Each path with its image (3, H, W) uint8 RGB (or what ``prepare`` returned), or with why there is none.
    """
    workers = min(num_workers, len(paths))
    loader: DataLoader[object] = DataLoader(_Decoder(paths, prepare), batch_size=None, num_workers=workers)
    for path, item in zip(paths, loader):
        assert isinstance(item, (Tensor, BadFile))
        yield path, item


def draw_offset(seed: int, name: str, draw: int, height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Draws the top-left corner of a ``size`` = (height, width) crop, uniform over every position that fits.

    The corner depends on (seed, name, draw) and the image size only: not on order, batches or workers.

    Raises:
        DataError: If the crop is larger than the image.
    """
    if height < size[0] or width < size[1]:
        raise DataError(f"image is {width}x{height} pixels, smaller than the {size[1]}x{size[0]} crop")
    rng = numpy_rng("crop", seed, name, draw)
    return int(rng.integers(0, height - size[0] + 1)), int(rng.integers(0, width - size[1] + 1))


def to_float(image: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [0, 1]."""
    return image.to(torch.float32).div_(255.0)


def digest_file(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content (32 hex digits)."""
    return hash_file(path, hashlib.blake2b(digest_size=16))
