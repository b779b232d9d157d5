"""What is in a folder of photographs: which can be trained on, which are held out, and why the others are left out."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from basicsr.data.transforms import flip_and_transpose
from basicsr.preparation.running import map_files
from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images, read_image, round_to_8_bits

SHARE, MOST_HELD_OUT = 0.1, 20
"""Of the photographs, one at least, that are held out, and how many at most."""
ALIKE = 4.0
"""Levels of 255, root mean square, up to which thumbnails are of one photograph."""
LEAST = 64
"""Smallest side of a picture that is held out, whatever the patch: so all trainings hold out the same."""
_THUMBNAIL = 16
_MOST_NAMED = 20


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph that can be used.

    Attributes:
        name: Its path, relative to the folder.
        height: In pixels, upright.
        width: In pixels, upright.
        digest: SHA-256 of its pixels at 8 bit: files of one photograph in lossless formats have one digest.
        thumbnail: (16, 16, 3) float32, means of its areas.
        seconds: What reading it took.
    """

    name: str
    height: int
    width: int
    digest: str
    thumbnail: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Survey:
    """The photographs of a folder, by what becomes of them.

    Attributes:
        folder: The folder.
        train: Trained on.
        held_out: Measured on, and never trained on.
        left_out: Names of the others, each with the reason.
        seed: What the choice depends on, beside the pixels.
    """

    folder: Path
    train: list[Photograph]
    held_out: list[Photograph]
    left_out: dict[str, str]
    seed: int


def survey_folder(folder: Path, least_side: int, seed: int = 0) -> Survey:
    """Decodes every picture of a folder and its sub-folders, and chooses those that are held out.

    Photographs are ordered by the SHA-256 of the seed and of their own digest, and the first :data:`SHARE` of them held
    out: the choice depends on pixels, not on names. Others whose thumbnail is that of a held-out one, in whatever turn,
    are neither trained on nor measured on.

    Args:
        folder: The folder.
        least_side: Pictures with a smaller side are not trained on.
        seed: Another one holds out others.

    Raises:
        DataError: If the folder is missing, or fewer than two different photographs can be used.
    """
    names = list_images(folder, recursive=True)
    if not names:
        raise DataError(f"{folder}: no picture in this folder or below it")
    workers = min(4, available_cores())  # each holds a decoded picture
    least = min(LEAST, least_side)
    found = map_files(lambda name: _look_at(folder, name, least), names, workers, "look at pictures")
    left_out = {name: _reason(one, folder, name) for name, one in zip(names, found) if isinstance(one, DataError)}
    usable = [one for one in found if isinstance(one, Photograph)]
    held_out, others = _split(usable, seed, left_out)
    train = [one for one in others if min(one.height, one.width) >= least_side]
    for one in others:
        if min(one.height, one.width) < least_side:
            left_out[one.name] = _too_small(one.height, one.width, least_side)
    if not train or not held_out:
        listed = "".join(f"\n  {line}" for line in name_left_out(left_out))
        what = f"{folder}: {len(names)} pictures, of which {len(usable)} can be used"
        raise DataError(f"{what}; at least two different ones are needed, one of them to measure on{listed}")
    return Survey(folder, train, held_out, dict(sorted(left_out.items())), seed)


def name_left_out(left_out: Mapping[str, str]) -> list[str]:
    """A line for each picture that is left out, and one for the rest of them where they are many."""
    lines = [f"{name}: {reason}" for name, reason in left_out.items()]
    more = len(lines) - _MOST_NAMED
    return lines if more <= 0 else [*lines[:_MOST_NAMED], f"and {more} more"]


def _look_at(folder: Path, name: str, least_side: int) -> Photograph | DataError:
    """A picture, or why it cannot be used."""
    try:
        return _measure(folder, name, least_side)
    except DataError as error:
        return error


def _measure(folder: Path, name: str, least_side: int) -> Photograph:
    begun = time.thread_time()
    image = round_to_8_bits(read_image(folder / name))
    seconds = time.thread_time() - begun
    height, width = image.shape[:2]
    if min(height, width) < least_side:
        raise DataError(f"{folder / name}: {_too_small(height, width, least_side)}")
    digest = hashlib.sha256(f"{width}x{height}".encode() + image.tobytes()).hexdigest()
    thumbnail = cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Photograph(name, height, width, digest, thumbnail, seconds)


def _too_small(height: int, width: int, least_side: int) -> str:
    return f"{width}x{height} pixels, too small (a side below {least_side})"


def _reason(error: DataError, folder: Path, name: str) -> str:
    return str(error).removeprefix(os.path.join(folder, name)).lstrip(": ")


def _split(
    photographs: Sequence[Photograph], seed: int, left_out: dict[str, str]
) -> tuple[list[Photograph], list[Photograph]]:
    """Those that are held out and those that are trained on; adds to ``left_out`` what is like a held-out one."""
    wanted = min(MOST_HELD_OUT, max(1, round(SHARE * len(photographs))))
    order = sorted(photographs, key=lambda one: (hashlib.sha256(f"{seed} {one.digest}".encode()).digest(), one.name))
    held_out: list[Photograph] = []
    rest = order
    while rest and len(held_out) < wanted:
        chosen, *rest = rest
        held_out.append(chosen)
        views = np.stack([view.ravel() for view in _views(chosen.thumbnail)])
        different = []
        for one in rest:
            errors = ((views - one.thumbnail.ravel()) ** 2).mean(1)
            if one.digest == chosen.digest or errors.min() <= ALIKE**2:
                left_out[one.name] = f"the same picture as {chosen.name}, which is held out"
            else:
                different.append(one)
        rest = different
    return sorted(held_out, key=lambda one: one.name), sorted(rest, key=lambda one: one.name)


def _views(thumbnail: np.ndarray) -> Iterator[np.ndarray]:
    """A square image in all eight flips and turns."""
    for index in range(8):
        yield flip_and_transpose(thumbnail, bool(index & 1), bool(index & 2), bool(index & 4))
