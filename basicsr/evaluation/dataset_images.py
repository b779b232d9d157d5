"""The images of a data set: each rank's share of them, their names, and what was made of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from basicsr.metrics import Levels
from basicsr.processing.resizer import AxisTaps, imresize, resample_axis
from basicsr.utils.errors import UserError

GENERATOR = "net_g"
KERNELS = ("bicubic", "lanczos")
_LOBES = 3
BASELINE = "bicubic"

Scores = dict[str, float]
"""An image's metrics by name."""

Reasons = dict[str, str]
"""By metric, why an image is left out of its mean."""

_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|bmp|tiff?|webp|ppm|pgm|gif)$", re.IGNORECASE)


def name_of(dataloader: object) -> str:
    """What results call the data set of a loader: ``name`` in its block."""
    return str(getattr(getattr(dataloader, "dataset", None), "opt", {}).get("name") or "images")


class ShardSampler(Sampler[int]):
    """Every ``num_shards``-th index from ``shard`` on, so that each rank loads its own images and none is repeated.

    Args:
        dataset: What is sampled; only its length is used.
        shard: Which part.
        num_shards: Into how many parts.
    """

    def __init__(self, dataset: Sized, shard: int, num_shards: int) -> None:
        self.indices = range(shard, len(dataset), num_shards)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class ImageNamer:
    """Names images by their file: ``baby`` for ``<dataroot>/baby.png``, ``cats/01`` for ``<dataroot>/cats/01.png``.

    Where two files of a data set differ in their suffix alone, the suffix stays in their names.

    Args:
        dataset: A data set; its ``opt`` tells the roots and its ``paths`` the files, if it has them.
    """

    def __init__(self, dataset: Any) -> None:
        options = getattr(dataset, "opt", None) or {}
        roots = [options.get(key) for key in ("dataroot_lq", "dataroot_gt", "dataroot")]
        self._roots = [os.path.abspath(root) for root in roots if isinstance(root, str)]
        entries = getattr(dataset, "paths", None) or ()
        files = [e.get("lq_path") or e.get("gt_path") if isinstance(e, Mapping) else e for e in entries]
        paths = dict.fromkeys(os.fspath(file) for file in files if isinstance(file, (str, os.PathLike)))
        self._counts = Counter(self._without_suffix(path) for path in paths)
        self._order = {self.name_path(path): index for index, path in enumerate(paths)}

    def name_batch(self, batch: Mapping[str, Any], number: int) -> tuple[int, str]:
        """Place in the data set's list of files, and name, of a batch of one image; its number where it has no path."""
        for key in ("lq_path", "gt_path"):
            path = batch.get(key)
            path = path[0] if isinstance(path, (list, tuple)) and path else path
            if isinstance(path, str) and path:
                name = self.name_path(path)
                return self._order.get(name, number), name
        return number, f"{number:05d}"

    def name_path(self, path: str) -> str:
        """The name of one file."""
        name = self._without_suffix(path)
        return name + PurePosixPath(path).suffix.replace(".", "_") if self._counts[name] > 1 else name

    def _without_suffix(self, path: str) -> str:
        absolute = os.path.abspath(path)
        inside = [root for root in self._roots if absolute.startswith(root + os.sep)]
        if inside:
            path = os.path.relpath(absolute, max(inside, key=len))
        elif os.path.isabs(path):
            path = os.path.basename(path)
        # Else it is a key of a database, or a file of a data set that does not tell its root.
        parts = [part for part in path.replace(os.sep, "/").split("/") if part not in ("", ".", "..")]
        return _IMAGE_SUFFIX.sub("", "/".join(parts))


def name_images(files: Iterable[str]) -> list[str]:
    """Names of image files as :class:`ImageNamer` gives them, so that tables of different commands can be joined."""
    listed = list(files)
    namer = ImageNamer(SimpleNamespace(paths=listed))
    return [namer.name_path(file) for file in listed]


@dataclass
class MeasuredImage:
    """One image of a data set.

    Attributes:
        index: Its place in the data set.
        name: Its name in the data set.
        lq: (1, C, h, w) in [0, 1], or of uint8 or uint16.
        sr: What the generator made of it, (1, C, H, W); ``None`` if it came with 8 bit.
        gt: The ground truth in the same way, or ``None``.
        levels: What each method made of it with 8 bit, as it is measured and saved.
        gt_levels: The same of the ground truth.
        scores: Each method's metrics, once they are read.
    """

    index: int
    name: str
    lq: Tensor
    sr: Tensor | None
    gt: Tensor | None
    levels: dict[str, Levels]
    gt_levels: Levels | None
    scores: dict[str, Scores] = field(default_factory=dict)


def enlarge(x: Tensor, scale: int, kernel: str = "bicubic") -> Tensor:
    """Enlarges images with pixel centres aligned as in MATLAB's ``imresize``.

    Args:
        x: (B, C, H, W) in [0, 1].
        scale: Integer factor.
        kernel: ``bicubic`` (a = -1/2) or ``lanczos`` (3 lobes).

    Returns:
        (B, C, H·scale, W·scale), clamped to [0, 1].

    Raises:
        UserError: If the kernel is unknown or ``scale`` is below 1.
    """
    if kernel not in KERNELS or scale < 1:
        raise UserError(f"cannot enlarge by {scale} with {kernel!r}; kernels: {', '.join(KERNELS)}, scale 1 or more")
    if kernel == "bicubic":
        return imresize(x, scale=scale).clamp(0, 1)
    for axis in (-2, -1):
        length = x.shape[axis]
        centres = (np.arange(length * scale) + 0.5) / scale - 0.5
        positions = np.floor(centres).astype(np.int64) + np.arange(1 - _LOBES, _LOBES + 1)[:, None]
        distance = centres - positions
        weights = np.sinc(distance) * np.sinc(distance / _LOBES) * (np.abs(distance) < _LOBES)
        # Beyond its ends the axis is mirrored, as for the bicubic kernel.
        folded = np.mod(positions, 2 * length)
        taps = AxisTaps(np.minimum(folded, 2 * length - 1 - folded), weights / weights.sum(axis=0))
        x = resample_axis(x, axis, taps)
    return x.clamp(0, 1)
