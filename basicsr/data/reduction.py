"""Low-resolution images by MATLAB-style bicubic reduction, as they would be saved."""

from __future__ import annotations

import numpy as np

from basicsr.utils.matlab_functions import imresize

REACH = 4
"""LQ pixels around a window that its reduction depends on: the kernel reaches 2, and some to spare."""


def reduce_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """Reduces by MATLAB-style bicubic with antialiasing, rounded to the image's own depth.

    Args:
        image: (H, W, C) or (H, W), uint8 or uint16; sides are multiples of ``scale``.
        scale: Factor.

    Returns:
        (H / scale, W / scale[, C]) of the same type.
    """
    full = np.iinfo(image.dtype).max
    # In double precision, so that a window and the whole image round to the same levels.
    reduced = imresize(image.astype(np.float64) / full, 1 / scale)
    levels = np.round(np.clip(reduced, 0, 1) * full).astype(image.dtype)
    return levels.reshape(image.shape[0] // scale, image.shape[1] // scale, *image.shape[2:])


def cut_scaled(image: np.ndarray, top: int, bottom: int, left: int, right: int, scale: int) -> np.ndarray:
    """The window of an HR image that belongs to LQ rows ``top:bottom`` and columns ``left:right`` (a view)."""
    return image[top * scale : bottom * scale, left * scale : right * scale]


def reduce_window(image: np.ndarray, top: int, left: int, size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of an image and the same window of its reduction, without reducing the rest.

    Args:
        image: (H, W, C) uint8 or uint16; sides are multiples of ``scale``.
        top: First LQ row of the window.
        left: First LQ column.
        size: Side of the LQ window.
        scale: Factor.

    Returns:
        The HR window (size * scale, size * scale, C), a view, and the LQ window (size, size, C).
    """
    first_row, first_column = max(0, top - REACH), max(0, left - REACH)
    around = cut_scaled(image, first_row, top + size + REACH, first_column, left + size + REACH, scale)
    row, column = top - first_row, left - first_column
    lq = reduce_bicubic(around, scale)[row : row + size, column : column + size]
    return cut_scaled(image, top, top + size, left, left + size, scale), lq
