"""Which part of an image a kept window depends on, and how to cut it out.

Coordinates are of whole images and may leave them: there, images go on by reflection (edge not repeated).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from basicsr.utils.diffjpeg import GRID
from basicsr.utils.img_process_util import reflect_indices
from basicsr.utils.transfer import send_tensor


@dataclass(frozen=True)
class Windows:
    """Equally large windows, one in each of some images.

    Attributes:
        tops: First row in each image.
        lefts: First column in each image.
        height: Rows.
        width: Columns.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height: int
    width: int

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Windows:
        """Windows that are ``count`` whole images."""
        return cls((0,) * count, (0,) * count, height, width)

    @property
    def aligned(self) -> bool:
        """Whether all windows lie at the same place."""
        return len(set(self.tops)) <= 1 and len(set(self.lefts)) <= 1

    def leaves(self, height: int, width: int) -> bool:
        """Whether a window leaves an image of the given size."""
        rows_leave = min(self.tops) < 0 or max(self.tops) + self.height > height
        return rows_leave or min(self.lefts) < 0 or max(self.lefts) + self.width > width

    def scaled(self, scale: int) -> Windows:
        """The same windows in an image that is ``scale`` times as large."""
        tops, lefts = (tuple(scale * start for start in starts) for starts in (self.tops, self.lefts))
        return Windows(tops, lefts, self.height * scale, self.width * scale)

    def covering(self, stride: int, first: int, taps: int) -> Windows:
        """What a filter reads to fill these: output ``i`` reads ``taps`` inputs from ``stride * i + first`` on."""
        tops, lefts = (tuple(stride * start + first for start in starts) for starts in (self.tops, self.lefts))
        return Windows(tops, lefts, stride * (self.height - 1) + taps, stride * (self.width - 1) + taps)

    def on_jpeg_grid(self) -> Windows:
        """The smallest windows around these that consist of whole coding units."""
        tops, height = _snap(self.tops, self.height)
        lefts, width = _snap(self.lefts, self.width)
        return Windows(tops, lefts, height, width)

    def relative_to(self, outer: Windows) -> Windows:
        """These windows in the coordinates of ``outer``."""
        tops = tuple(inner - start for inner, start in zip(self.tops, outer.tops))
        lefts = tuple(inner - start for inner, start in zip(self.lefts, outer.lefts))
        return Windows(tops, lefts, self.height, self.width)

    def positions(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Row numbers (B, height) and column numbers (B, width)."""
        starts = send((self.tops, self.lefts), torch.int64, device)
        rows = starts[0].unsqueeze(1) + torch.arange(self.height, device=device)
        cols = starts[1].unsqueeze(1) + torch.arange(self.width, device=device)
        return rows, cols


def _snap(starts: Sequence[int], length: int) -> tuple[tuple[int, ...], int]:
    snapped = tuple(start - start % GRID for start in starts)
    reach = max(start % GRID for start in starts) + length
    return snapped, reach + -reach % GRID


def send(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of host numbers on ``device``; the host does not wait for the device."""
    return send_tensor(torch.tensor(values, dtype=dtype), device)


def _cut_one(x: torch.Tensor, top: int, left: int, height: int, width: int) -> torch.Tensor:
    """Cuts (C, height, width) out of (C, H, W), or the same window out of every image of (B, C, H, W)."""
    overhangs = []
    for axis, start, length in ((-2, top, height), (-1, left, width)):
        size = x.shape[axis]
        low, high = max(start, 0), min(start + length, size)
        before, after = low - start, start + length - high
        if max(before, after) >= high - low:
            positions = torch.arange(start, start + length, device=x.device)
            x, before, after = x.index_select(axis, reflect_indices(positions, size)), 0, 0
        else:
            x = x.narrow(axis, low, high - low)
        overhangs.append((before, after))
    (above, below), (before, after) = overhangs
    if above or below or before or after:
        # Reflection about the cut's own edge is right: it overhangs only where that edge is the image's.
        x = F.pad(x, (before, after, above, below), mode="reflect")
    return x


def cut_windows(x: torch.Tensor, images: Sequence[int], windows: Windows) -> torch.Tensor:
    """Cuts a window out of each of some images.

    Args:
        x: (B, C, H, W).
        images: Which images, as many as there are windows.
        windows: Where.

    Returns:
        (len(images), C, height, width); may share memory with ``x``.
    """
    height, width = windows.height, windows.width
    if windows.aligned and list(images) == list(range(x.shape[0])):
        return _cut_one(x, windows.tops[0], windows.lefts[0], height, width)
    cut = x.new_empty(len(images), x.shape[1], height, width)
    for target, image, top, left in zip(cut, images, windows.tops, windows.lefts):
        target.copy_(_cut_one(x[image], top, left, height, width))
    return cut


def mask_outside(x: torch.Tensor, windows: Windows, height: int, width: int) -> torch.Tensor:
    """Zeroes what lies outside images of the given size."""
    if not windows.leaves(height, width):
        return x
    rows, cols = windows.positions(x.device)
    inside_rows = ((rows >= 0) & (rows < height))[:, None, :, None]
    inside_cols = ((cols >= 0) & (cols < width))[:, None, None, :]
    return torch.where(inside_rows & inside_cols, x, 0)
