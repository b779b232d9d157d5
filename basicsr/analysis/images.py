"""Images of a folder: listing, decoding in worker processes, and crops that depend on (seed, image name) alone."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr.data.transforms import draw_corner
from basicsr.utils import images as image_files
from basicsr.utils.atomic import hash_file
from basicsr.utils.dist_util import gather_objects, get_dist_info
from basicsr.utils.errors import DataError, name_some
from basicsr.utils.folders import walk_files
from basicsr.utils.images import IMAGE_SUFFIXES
from basicsr.utils.seeding import numpy_rng

logger = logging.getLogger("basicsr")

Prepare = Callable[[str, Tensor], Any]
"""Called in the worker with a file name and its image (3, H, W) uint8 RGB; what it returns is sent instead."""


class Runtime(NamedTuple):
    """How a measurement runs; beyond rounding, its results do not depend on it.

    Attributes:
        batch_size: Images per forward pass, or whatever is measured at once: windows, crops, perturbed images.
        num_workers: Processes that decode images; 0: this one.
        device: Where networks are and images are measured.
    """

    batch_size: int = 16
    num_workers: int = 0
    device: torch.device | str = "cpu"


SERIAL = Runtime()
"""In this process, on the CPU."""


class BadFile(NamedTuple):
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
    return "  " + name_some(bad_files, limit, "\n  ")


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
    names = image_files.list_images(root)
    if others := sorted(set(walk_files(root)).difference(names)):
        shown = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        logger.info("%s: skipped %d files without an image suffix: %s", root, len(others), shown)
    if not names:
        raise DataError(f"{root} holds no image; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return [root / name for name in names]


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """Decodes one file to (3, H, W) uint8 RGB; 16 bits are rounded to 8, grey is repeated, alpha dropped.

    Raises:
        DataError: If the file cannot be read or is no image.
    """
    image = image_files.round_to_8_bits(image_files.read_image(path))
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1)


Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")
Group = Iterator[tuple[int, Read]]
"""Neighbouring items: the place of each among all items, and what is known of it."""


def measure_items(
    items: Sequence[Item],
    read: Callable[[Item], Read | BadFile],
    measure: Callable[[Group[Read]], Mapping[int, Result | BadFile]],
    bad_files: list[BadFile],
    num_workers: int,
    group_size: int = 1,
) -> Group[Result]:
    """Reads items and measures them in groups, which the ranks share, under a progress bar.

    A group is the same whatever the number of ranks, and so are its results, to the bit.

    Args:
        items: What is read.
        read: Picklable function run by a worker on every item.
        measure: Gives each item of a group its result, by its place; it must not look beyond the group.
        bad_files: Files that cannot be used are added, in the order of the items.
        num_workers: Worker processes of each rank (0: this one); results do not depend on it.
        group_size: Items in a group, of which a few are in memory at once.

    Yields:
        The place and the result of every good item, in order, on every rank; alone, each group's as soon as it is
        there.

    Raises:
        DataError: At the end, if no item could be used.
    """
    num_bad = 0
    for place, result in _gather(_measure_share(items, read, measure, num_workers, group_size)):
        if isinstance(result, BadFile):
            bad_files.append(result)
            num_bad += 1
        else:
            yield place, result
    if num_bad >= len(items):
        raise DataError("no image could be used:\n" + describe_bad_files(bad_files))


def _measure_share(
    items: Sequence[Item],
    read: Callable[[Item], Read | BadFile],
    measure: Callable[[Group[Read]], Mapping[int, Result | BadFile]],
    num_workers: int,
    group_size: int,
) -> Iterator[tuple[int, Result | BadFile]]:
    """This rank's part of :func:`measure_items`: every result with the place of its item."""
    rank, world_size = get_dist_info()
    places = [place for place in range(len(items)) if place // group_size % world_size == rank]
    own, workers = [items[place] for place in places], min(num_workers, len(places))
    # Without batches, a loader applies its collate function to each item alone, in the worker.
    loader = DataLoader(cast(Any, own), batch_size=None, collate_fn=cast(Any, read), num_workers=workers)
    loaded = tqdm(loader, total=len(own), unit="image", disable=None if rank == 0 else True)
    entries = ((place, result) for result, place in zip(loaded, places))
    for _, group in groupby(entries, key=lambda entry: entry[0] // group_size):
        bad: dict[int, BadFile] = {}
        # Not named: nothing of a group shall be in memory when the next one is measured.
        yield from sorted({**measure(_pick_good(group, bad)), **bad}.items())


def _pick_good(group: Iterable[tuple[int, Read | BadFile]], bad: dict[int, BadFile]) -> Group[Read]:
    """What could be read of a group; the rest is added to ``bad``."""
    for place, result in group:
        if isinstance(result, BadFile):
            bad[place] = result
        else:
            yield place, result


def _gather(own: Iterable[tuple[int, Result]]) -> Iterator[tuple[int, Result]]:
    """Every rank's results by place, on every rank; alone, one after the other."""
    if get_dist_info()[1] == 1:
        yield from own
        return
    merged = {place: result for part in gather_objects(dict(own)) for place, result in part.items()}
    yield from sorted(merged.items())


def measure_images(
    paths: Sequence[Path],
    prepare: Prepare,
    measure: Callable[[Group[Any]], Mapping[int, Result | BadFile]],
    bad_files: list[BadFile],
    runtime: Runtime,
    names: Sequence[str] = (),
) -> Group[Result]:
    """Decodes, prepares and measures image files, as many in a group as in a batch; see :func:`measure_items`.

    Args:
        paths: The files.
        prepare: Picklable function run by the worker on every image; a ``DataError`` that it raises marks the file bad.
        measure: Is given what ``prepare`` returned.
        bad_files: Files that cannot be used are added.
        runtime: Size of a batch and worker processes.
        names: What to call the images; by default their file names.
    """
    named = list(zip(paths, names or [path.name for path in paths]))
    read = partial(_read_image_of, prepare)
    return measure_items(named, read, measure, bad_files, runtime.num_workers, runtime.batch_size)


def _read_image_of(prepare: Prepare, named: tuple[Path, str]) -> Any:
    """Reads and prepares the image of one file in a worker; what is wrong with it, if that is not possible."""
    path, name = named
    try:
        return prepare(path.name, read_image(path))
    except DataError as error:
        return BadFile(name, str(error).removeprefix(f"{path}: "))


def draw_offset(seed: int, name: str, draw: int, height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Draws the top-left corner of a ``size`` = (height, width) crop, uniform over every position that fits.

    The corner depends on (seed, name, draw) and the image size only: not on order, batches or workers.

    Raises:
        DataError: If the crop is larger than the image.
    """
    if height < size[0] or width < size[1]:
        raise DataError(f"image is {width}x{height} pixels, smaller than the {size[1]}x{size[0]} crop")
    return draw_corner(numpy_rng("crop", seed, name, draw), height, width, size)


def to_float(image: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [0, 1]."""
    return image.to(torch.float32).div_(255.0)


def digest_file(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content (32 hex digits)."""
    return hash_file(path, hashlib.blake2b(digest_size=16))
