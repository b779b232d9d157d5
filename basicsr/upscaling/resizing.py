"""Resizing pictures on the host, band by band: MATLAB's bicubic, antialiased, into memory that is given."""

from __future__ import annotations

import numpy as np
import torch

from basicsr.processing.resizer import AxisTaps, bicubic_taps, resample_axis
from basicsr.utils.images import FULL_SCALE

BAND = 2**20
"""Values of a band, about."""


def resize_picture(picture: np.ndarray, result: np.ndarray) -> None:
    """Resizes a picture as MATLAB's ``imresize`` does, and rounds it.

    Args:
        picture: (H, W, C), uint8, uint16 or float32 in [0, 1].
        result: (height, width, C) of one of these types, which is filled; white is white.
    """
    height, width, _ = result.shape
    given = FULL_SCALE.get(picture.dtype, 1.0)
    full = FULL_SCALE.get(result.dtype)
    rows, columns = (bicubic_taps(length, new, new / length) for length, new in zip(picture.shape[:2], (height, width)))
    step = max(1, BAND // (max(width, picture.shape[1]) * picture.shape[2]))
    for start in range(0, height, step):
        indices, weights = rows.indices[:, start : start + step], rows.weights[:, start : start + step]
        first = int(indices.min())
        band = torch.from_numpy(picture[first : int(indices.max()) + 1].astype(np.float32))
        band = resample_axis(band, 0, AxisTaps(indices - first, weights))
        values = (resample_axis(band, 1, columns) / given).clamp(0, 1)
        if full is not None:
            values = values.mul_(full).round_()
        result[start : start + step] = values.numpy()
