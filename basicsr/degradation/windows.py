"""Windows of images: which part of an image they depend on, cutting them out, and blurring and reducing only them.

Coordinates are of whole images and may leave them: there, images go on by reflection (edge not repeated).

Reduction by an integer keeps one pixel in ``scale * scale``, so blurring first at full resolution is mostly wasted.
Both are linear: a blur kernel composed with the bicubic taps is a slightly larger kernel that is evaluated only at the
kept positions. This is ``filter2D`` followed by ``interpolate(scale_factor=1/scale, mode='bicubic')`` (not antialiased)
to rounding error, at about a twelfth of the arithmetic for scale 4 and kernels of 21.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from basicsr.utils.batch import send_tensor
from basicsr.utils.diffjpeg import GRID
from basicsr.utils.img_process_util import correlate_each, reflect_indices


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

    def leaves(self, height: int, width: int) -> bool:
        """Whether a window leaves an image of the given size."""
        rows_leave = min(self.tops) < 0 or max(self.tops) + self.height > height
        return rows_leave or min(self.lefts) < 0 or max(self.lefts) + self.width > width

    def scaled(self, scale: int) -> Windows:
        """The same windows in an image that is ``scale`` times as large."""
        return self.covering(scale, 0, scale)

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
    # One cut serves for all images: it copies nothing.
    if len(set(zip(windows.tops, windows.lefts))) == 1 and list(images) == list(range(x.shape[0])):
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


def bicubic_taps(scale: int) -> tuple[int, tuple[float, ...]]:
    """Taps of bicubic reduction by an integer: output ``i`` is a weighted sum of inputs from ``scale * i + first``.

    An output pixel's centre falls on an input sample for odd scales, halfway between two for even ones.

    Returns:
        ``first`` and the weights.
    """
    if scale % 2:
        return (scale - 1) // 2, (1.0,)
    # Cubic convolution (a = -0.75, as torch and OpenCV have it) halfway between two samples.
    return scale // 2 - 2, (-0.09375, 0.59375, 0.59375, -0.09375)


def _compose(kernels_BKK: torch.Tensor | None, weights: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    """Kernels (B, k + taps - 1, k + taps - 1) that blur and interpolate."""
    composed = like.new_ones(1, 1, 1) if kernels_BKK is None else kernels_BKK.to(like)
    # Shifted sums, not a convolution: a GPU would round that to TensorFloat-32, once for all pixels alike.
    for axis in (1, 2):
        shifted = []
        for offset, weight in enumerate(weights):
            before, after = offset, len(weights) - 1 - offset
            shifted.append(F.pad(composed * weight, (0, 0, before, after) if axis == 1 else (before, after)))
        composed = torch.stack(shifted).sum(0)
    return composed.expand(like.shape[0], -1, -1)


def downscale_windows(
    x: torch.Tensor, images: Sequence[int], kernels_BKK: torch.Tensor | None, scale: int, windows: Windows
) -> torch.Tensor:
    """Windows of the blurred and reduced images, computed from what they depend on alone.

    Args:
        x: (B, C, H, W).
        images: Which images, as many as there are windows.
        kernels_BKK: One odd kernel for each of these images, or None for no blur. Borders are reflected.
        scale: Positive integer.
        windows: In the reduced images; what lies outside those is not defined.

    Returns:
        (len(images), C, height, width).
    """
    first, weights = bicubic_taps(scale)
    margin = 0 if kernels_BKK is None else kernels_BKK.shape[-1] // 2
    if first >= 0:
        source = cut_windows(x, images, windows.covering(scale, first - margin, len(weights) + 2 * margin))
        return correlate_each(source, _compose(kernels_BKK, weights, source), stride=scale)
    # At scale 2 the bicubic taps leave the image, where interpolation repeats the edge but blur reflects.
    fine = windows.covering(scale, first, len(weights))
    source = cut_windows(x, images, fine.covering(1, -margin, 1 + 2 * margin))
    blurred = source if kernels_BKK is None else correlate_each(source, kernels_BKK.to(source))
    return correlate_each(_repeat_edges(blurred, fine, x.shape), _compose(None, weights, blurred), stride=scale)


def _repeat_edges(x: torch.Tensor, windows: Windows, image_shape: Sequence[int]) -> torch.Tensor:
    """Replaces what lies outside the images by the nearest pixel inside."""
    height, width = image_shape[-2:]
    if not windows.leaves(height, width):
        return x
    rows, cols = windows.positions(x.device)
    rows = rows.clamp(0, height - 1) - rows[:, :1]
    cols = cols.clamp(0, width - 1) - cols[:, :1]
    # A window that lies wholly outside repeats whatever it has: it is not defined there.
    rows, cols = rows.clamp(0, x.shape[2] - 1), cols.clamp(0, x.shape[3] - 1)
    x = x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))
    return x.gather(3, cols[:, None, None, :].expand(-1, x.shape[1], x.shape[2], -1))
