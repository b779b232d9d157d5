"""Blur and bicubic reduction in one step.

Reduction by an integer keeps one pixel in ``scale * scale``, so blurring first at full resolution is mostly wasted.
Both are linear: a blur kernel composed with the bicubic taps is a slightly larger kernel that is evaluated only at the
kept positions. This is ``filter2D`` followed by ``interpolate(scale_factor=1/scale, mode='bicubic')`` (not antialiased)
to rounding error, at about a twelfth of the arithmetic for scale 4 and kernels of 21.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from basicsr.degradation.windows import Windows, cut_windows
from basicsr.utils.img_process_util import correlate_each

# Cubic convolution (a = -0.75, as torch and OpenCV have it) halfway between two samples.
_HALFWAY = (-0.09375, 0.59375, 0.59375, -0.09375)


def bicubic_taps(scale: int) -> tuple[int, tuple[float, ...]]:
    """Taps of bicubic reduction by an integer: output ``i`` is a weighted sum of inputs from ``scale * i + first``.

    An output pixel's centre falls on an input sample for odd scales, halfway between two for even ones.

    Returns:
        ``first`` and the weights.
    """
    if scale % 2:
        return (scale - 1) // 2, (1.0,)
    return scale // 2 - 2, _HALFWAY


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
