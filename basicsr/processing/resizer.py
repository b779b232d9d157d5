"""MATLAB's bicubic ``imresize`` for tensors: differentiable, on any device, antialiased when shrinking.

Both axes are resampled one after the other. An output sample is a weighted sum of a few input samples ("taps"), so one
axis is ``taps`` gathers and multiply-adds, whatever the size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from basicsr.utils.batch import send_tensor


class AxisTaps(NamedTuple):
    """How one axis is resampled.

    Attributes:
        indices: (taps, out) input positions, mirrored into the axis (the edge sample is repeated).
        weights: (taps, out) float64 weights; each column sums to 1.
    """

    indices: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=256)
def bicubic_taps(length: int, out_length: int, scale: float, antialiasing: bool = True) -> AxisTaps:
    """Taps of MATLAB-like bicubic resampling along one axis.

    The kernel is Keys' cubic convolution with a = -0.5 (R. Keys, IEEE TASSP 29(6), 1981, eq. 15).

    Args:
        length: Input samples.
        out_length: Output samples.
        scale: Output samples per input sample; below 1 with ``antialiasing`` the kernel is widened by ``1 / scale``.
        antialiasing: Widen the kernel when shrinking.

    Returns:
        The taps; columns that are zero for every output sample are left out.
    """
    stretch = scale if antialiasing and scale < 1 else 1.0
    centres = (np.arange(out_length) + 0.5) / scale - 0.5
    first = np.floor(centres - 2 / stretch).astype(np.int64)
    positions = first[None, :] + np.arange(math.ceil(4 / stretch) + 2)[:, None]
    d = np.abs((centres[None, :] - positions) * stretch)
    inner = (1.5 * d - 2.5) * d * d + 1.0
    outer = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    weights = np.where(d <= 1, inner, np.where(d <= 2, outer, 0.0))
    weights /= weights.sum(axis=0, keepdims=True)
    used = np.any(np.abs(weights) > 1e-12, axis=1)
    # Symmetric extension (... b a | a b c ... y z | z y ...) has period 2 * length.
    folded = np.mod(positions[used], 2 * length)
    indices = np.where(folded < length, folded, 2 * length - 1 - folded)
    return AxisTaps(indices, weights[used])


def _place(taps: AxisTaps, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and weights on a device."""
    return send_tensor(torch.tensor(taps.indices), device), send_tensor(torch.tensor(taps.weights), device, dtype)


@lru_cache(maxsize=64)
def _placed_taps(
    length: int, out_length: int, scale: float, antialiasing: bool, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of :func:`bicubic_taps`, which the host sends to a device but once."""
    with torch.inference_mode(False):
        return _place(bicubic_taps(length, out_length, scale, antialiasing), device, dtype)


def resample_axis(x: torch.Tensor, axis: int, taps: AxisTaps) -> torch.Tensor:
    """Resamples one axis of ``x`` (floating point, any shape); differentiable."""
    return _gather(x, axis, *_place(taps, x.device, x.dtype))


def _gather(x: torch.Tensor, axis: int, indices: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    shape = [1] * x.ndim
    shape[axis] = -1
    total = x.index_select(axis, indices[0]) * weights[0].view(shape)
    for index, weight in zip(indices[1:], weights[1:]):
        total = torch.addcmul(total, x.index_select(axis, index), weight.view(shape))
    return total


def resize_axes(x: torch.Tensor, scales: Mapping[int, float], antialiasing: bool) -> torch.Tensor:
    """Resizes axes of a floating point tensor to ``ceil(size * scale)``, each by its own scale, in the order given."""
    for axis, scale in scales.items():
        length = x.shape[axis]
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        if length == 0:
            raise ValueError(f"cannot resize an empty image of shape {tuple(x.shape)}")
        # A product such as 50 * 1.1 that floating point puts a hair above an integer is not rounded up.
        out_length = math.ceil(round(length * scale, 9))
        x = _gather(x, axis, *_placed_taps(length, out_length, float(scale), antialiasing, x.device, x.dtype))
    return x


def imresize(
    x: torch.Tensor, scale: float | None = None, sizes: tuple[int, int] | None = None, antialiasing: bool = True
) -> torch.Tensor:
    """Resizes images as MATLAB's ``imresize(..., 'bicubic')`` does; differentiable.

    Args:
        x: (N, C, H, W), (C, H, W) or (H, W), floating point.
        scale: Output pixels per input pixel; the size becomes ``ceil(size * scale)``.
        sizes: Output (height, width) instead of ``scale``.
        antialiasing: Widen the kernel when shrinking, so that fine detail does not alias.

    Returns:
        The resized images, of the input's type, neither clipped nor rounded.

    Raises:
        ValueError: If not exactly one of ``scale`` and ``sizes`` is given, or one is not positive.
    """
    if (scale is None) == (sizes is None):
        raise ValueError("give either scale or sizes")
    if x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"expected floating-point images (..., H, W), got {x.dtype} of shape {tuple(x.shape)}")
    if sizes is not None and min(sizes) < 1:
        raise ValueError(f"sizes must be positive, got {tuple(sizes)}")
    # One scale for both axes, or that of each; 0, as any scale that is not positive, is refused below.
    scales = [scale or 0] * 2 if sizes is None else [size / length for size, length in zip(sizes, x.shape[-2:])]
    return resize_axes(x, {-2: scales[0], -1: scales[1]}, antialiasing)
