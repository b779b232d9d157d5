"""Bicubic and Lanczos enlargement by an integer factor: the baselines of every comparison."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from torch import Tensor

from basicsr.utils.errors import UserError
from basicsr.utils.resizer import AxisTaps, imresize, resample_axis

KERNELS = ("bicubic", "lanczos")
_LOBES = 3


@lru_cache(maxsize=16)
def _lanczos_taps(length: int, scale: int) -> AxisTaps:
    """Taps of Lanczos resampling with 3 lobes; beyond its ends the axis is mirrored, as for the bicubic one."""
    centres = (np.arange(length * scale) + 0.5) / scale - 0.5
    positions = np.floor(centres).astype(np.int64) + np.arange(1 - _LOBES, _LOBES + 1)[:, None]
    distance = centres - positions
    weights = np.sinc(distance) * np.sinc(distance / _LOBES) * (np.abs(distance) < _LOBES)
    folded = np.mod(positions, 2 * length)
    return AxisTaps(np.minimum(folded, 2 * length - 1 - folded), weights / weights.sum(axis=0))


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
        x = resample_axis(x, axis, _lanczos_taps(x.shape[axis], scale))
    return x.clamp(0, 1)
