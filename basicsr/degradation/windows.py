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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.processing.diffjpeg import GRID
from basicsr.processing.filters import correlate_each, reflect_indices
from basicsr.utils.batch import send_tensor


@dataclass(frozen=True, eq=False)
class Windows:
    """Equally large windows, one in each of some images.

    Attributes:
        corners: (B, 2) integers, the first row and column in each image.
        size: (2,) integers, rows and columns.
    """

    corners: np.ndarray
    size: np.ndarray

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Windows:
        """Windows that are ``count`` whole images."""
        return cls(np.zeros((count, 2), dtype=int), np.array([height, width]))

    def leaves(self, height: int, width: int) -> bool:
        """Whether a window leaves an image of the given size."""
        return bool((self.corners < 0).any() or (self.corners + self.size > (height, width)).any())

    def scaled(self, scale: int) -> Windows:
        """The same windows in an image that is ``scale`` times as large."""
        return self.covering(scale, 0, scale)

    def covering(self, stride: int, first: int, taps: int) -> Windows:
        """What a filter reads to fill these: output ``i`` reads ``taps`` inputs from ``stride * i + first`` on."""
        return Windows(stride * self.corners + first, stride * (self.size - 1) + taps)

    def on_jpeg_grid(self) -> Windows:
        """The smallest windows around these that consist of whole coding units."""
        overhangs = self.corners % GRID
        reach = overhangs.max(0) + self.size
        return Windows(self.corners - overhangs, reach + -reach % GRID)

    def relative_to(self, outer: Windows) -> Windows:
        """These windows in the coordinates of ``outer``."""
        return Windows(self.corners - outer.corners, self.size)

    def positions(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row numbers (B, height) and column numbers (B, width)."""
        starts_BA = send(self.corners, torch.int64, device)
        rows, cols = (starts_BA[:, axis, None] + torch.arange(self.size[axis], device=device) for axis in (0, 1))
        return rows, cols


def send(values: Sequence[object] | np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of host numbers on ``device``; the host does not wait for the device."""
    return send_tensor(torch.tensor(values, dtype=dtype), device)


def _cut_one(x: Tensor, corner: Sequence[int], size: Sequence[int]) -> Tensor:
    """Cuts a window out of (C, H, W), or the same window out of every image of (B, C, H, W)."""
    overhangs = []
    for axis, start, length in zip((-2, -1), corner, size):
        available = x.shape[axis]
        low, high = max(start, 0), min(start + length, available)
        before, after = low - start, start + length - high
        if max(before, after) >= high - low:
            positions = torch.arange(start, start + length, device=x.device)
            x, before, after = x.index_select(axis, reflect_indices(positions, available)), 0, 0
        else:
            x = x.narrow(axis, low, high - low)
        overhangs.append((before, after))
    (above, below), (before, after) = overhangs
    if above or below or before or after:
        # Reflection about the cut's own edge is right: it overhangs only where that edge is the image's.
        x = F.pad(x, (before, after, above, below), mode="reflect")
    return x


def cut_windows(x: Tensor, windows: Windows) -> Tensor:
    """Cuts a window out of each image of (B, C, H, W); the result may share memory with ``x``."""
    corners, size = windows.corners.tolist(), windows.size.tolist()
    # One cut serves for all images: it copies nothing.
    if corners.count(corners[0]) == len(corners):
        return _cut_one(x, corners[0], size)
    return torch.stack([_cut_one(image, corner, size) for image, corner in zip(x, corners, strict=True)])


def _compose(kernels_BKK: Tensor | None, weights: Sequence[float], like: Tensor) -> Tensor:
    """Kernels (B, k + taps - 1, k + taps - 1) that blur and interpolate."""
    composed = like.new_ones(1, 1, 1) if kernels_BKK is None else kernels_BKK.to(like)
    # Shifted sums, not a convolution: a GPU would round that to TensorFloat-32, once for all pixels alike.
    for _ in range(2):
        # Rows become the last axis, and columns again in the second turn.
        taps = [F.pad(composed.mT * weight, (i, len(weights) - 1 - i)) for i, weight in enumerate(weights)]
        composed = torch.stack(taps).sum(0)
    return composed.expand(like.shape[0], -1, -1)


def downscale_windows(x: Tensor, kernels_BKK: Tensor | None, scale: int, windows: Windows) -> Tensor:
    """Windows of the blurred and reduced images, computed from what they depend on alone.

    Args:
        x: (B, C, H, W).
        kernels_BKK: One odd kernel for each image, or None for no blur. Borders are reflected.
        scale: Positive integer.
        windows: In the reduced images; what lies outside those is not defined.

    Returns:
        (B, C, height, width).
    """
    # Taps of the reduction: an output is a weighted sum of inputs from `scale * i + first` on. Its centre falls on an
    # input sample for odd scales, halfway between two for even ones.
    first, weights = (scale - 1) // 2, [1.0]
    if scale % 2 == 0:
        # Cubic convolution (a = -0.75, as torch and OpenCV have it) halfway between two samples.
        first, weights = scale // 2 - 2, [-0.09375, 0.59375, 0.59375, -0.09375]
    margin = 0 if kernels_BKK is None else kernels_BKK.shape[-1] // 2
    if first >= 0:
        source = cut_windows(x, windows.covering(scale, first - margin, len(weights) + 2 * margin))
        return correlate_each(source, _compose(kernels_BKK, weights, source), stride=scale)

    # At scale 2 the bicubic taps leave the image, where interpolation repeats the edge but blur reflects.
    fine = windows.covering(scale, first, len(weights))
    source = cut_windows(x, fine.covering(1, -margin, 1 + 2 * margin))
    blurred = source if kernels_BKK is None else correlate_each(source, kernels_BKK.to(source))
    if fine.leaves(*x.shape[-2:]):
        rows, cols = fine.positions(x.device)
        # A window that lies wholly outside repeats whatever it has: it is not defined there.
        rows = (rows.clamp(0, x.shape[2] - 1) - rows[:, :1]).clamp(0, blurred.shape[2] - 1)
        cols = (cols.clamp(0, x.shape[3] - 1) - cols[:, :1]).clamp(0, blurred.shape[3] - 1)
        blurred = blurred.gather(2, rows[:, None, :, None].expand_as(blurred))
        blurred = blurred.gather(3, cols[:, None, None, :].expand_as(blurred))
    return correlate_each(blurred, _compose(None, weights, blurred), stride=scale)
