"""Studio-swing YCbCr (ITU-R BT.601, as MATLAB's ``rgb2ycbcr``) for arrays and tensors.

Full-range JFIF YCbCr, which JPEG uses, is another transform: see :mod:`basicsr.processing.diffjpeg`.
"""

from __future__ import annotations

import numpy as np
import torch

# Rows Y, Cb, Cr over columns R, G, B in [0, 1]; results in 8-bit units (BT.601, 219 luma and 224 chroma steps).
_YCBCR_FROM_RGB = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_OFFSET = np.array([16.0, 128.0, 128.0])
_RGB_FROM_YCBCR = np.linalg.inv(_YCBCR_FROM_RGB)


def _convert(img: np.ndarray, matrix: np.ndarray, inverse: bool = False, y_only: bool = False) -> np.ndarray:
    """Applies a matrix of BT.601 to the last axis; the result is on the scale of the input, as :func:`rgb2ycbcr`'s."""
    if img.ndim < 1 or img.shape[-1] != 3:
        raise ValueError(f"expected an image with 3 channels last, got shape {img.shape}")
    if img.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(f"expected uint8 in [0, 255] or float32/float64 in [0, 1], got {img.dtype}")
    is_8bit = img.dtype == np.uint8
    if inverse:
        values_8bit = (img.astype(np.float64) * (1 if is_8bit else 255) - _OFFSET) @ (255 * matrix.T)
    else:
        unit = img.astype(np.float32) / np.float32(255 if is_8bit else 1)
        weights, offset = (matrix[0], _OFFSET[0]) if y_only else (matrix.T, _OFFSET)
        values_8bit = unit @ weights + offset
    if is_8bit:
        return np.clip(np.round(values_8bit), 0, 255).astype(np.uint8)
    return (values_8bit / 255.0).astype(np.float32)


def rgb2ycbcr(img: np.ndarray, y_only: bool = False) -> np.ndarray:
    """Converts RGB to studio-swing YCbCr.

    Args:
        img: (..., 3), uint8 in [0, 255] or float in [0, 1].
        y_only: Return the luma alone, without the channel axis.

    Returns:
        (..., 3) or (...); uint8 (rounded) for uint8, float32 otherwise, on the scale of the input.

    Raises:
        ValueError: For another type or number of channels.
    """
    return _convert(img, _YCBCR_FROM_RGB, y_only=y_only)


def bgr2ycbcr(img: np.ndarray, y_only: bool = False) -> np.ndarray:
    """Like :func:`rgb2ycbcr`, for channels in OpenCV's order."""
    return _convert(img, _YCBCR_FROM_RGB[:, ::-1], y_only=y_only)


def ycbcr2rgb(img: np.ndarray) -> np.ndarray:
    """Inverts :func:`rgb2ycbcr`.

    Args:
        img: (..., 3), uint8 in [0, 255] or float in [0, 1].

    Returns:
        (..., 3); uint8 (rounded and clipped) for uint8, float32 (not clipped) otherwise.
    """
    return _convert(img, _RGB_FROM_YCBCR, inverse=True)


def ycbcr2bgr(img: np.ndarray) -> np.ndarray:
    """Like :func:`ycbcr2rgb`, with channels in OpenCV's order."""
    return _convert(img, _RGB_FROM_YCBCR[::-1], inverse=True)


def rgb2ycbcr_pt(img: torch.Tensor, y_only: bool = False) -> torch.Tensor:
    """Converts RGB tensors to studio-swing YCbCr, differentiably, on any device.

    Args:
        img: (..., 3, H, W), floating point in [0, 1].
        y_only: Return the luma alone, with its channel axis.

    Returns:
        (..., 3, H, W) or (..., 1, H, W) in [0, 1], of the input's type.

    Raises:
        ValueError: If the channel axis does not hold 3 channels.
    """
    if img.ndim < 3 or img.shape[-3] != 3:
        raise ValueError(f"expected (..., 3, H, W), got shape {tuple(img.shape)}")
    red, green, blue = img.unbind(-3)
    rows = zip(_YCBCR_FROM_RGB.tolist()[: 1 if y_only else 3], _OFFSET.tolist())
    planes = [(row[0] * red + row[1] * green + row[2] * blue + offset) / 255.0 for row, offset in rows]
    return torch.stack(planes, dim=-3)
