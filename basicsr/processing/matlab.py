"""MATLAB's image functions under the names BasicSR publishes: ``imresize`` and the YCbCr conversions."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from basicsr.processing.color import bgr2ycbcr as bgr2ycbcr
from basicsr.processing.color import rgb2ycbcr as rgb2ycbcr
from basicsr.processing.color import ycbcr2bgr as ycbcr2bgr
from basicsr.processing.color import ycbcr2rgb as ycbcr2rgb
from basicsr.processing.resizer import resize_axes
from basicsr.utils.batch import copy_to_tensor

Image = TypeVar("Image", np.ndarray, torch.Tensor)


def imresize(img: Image, scale: float, antialiasing: bool = True) -> Image:
    """Resizes as MATLAB's ``imresize(img, scale, 'bicubic')`` does, without clipping or rounding.

    Args:
        img: An array (H, W, C) or (H, W), or a tensor (C, H, W) or (H, W), of any range.
        scale: Output pixels per input pixel; the size becomes ``ceil(size * scale)``.
        antialiasing: Widen the kernel when shrinking.

    Returns:
        The same kind and layout; float64 stays float64, everything else becomes float32.

    Raises:
        ValueError: If the number of axes is not 2 or 3, the image is empty or ``scale`` is not positive.
    """
    if img.ndim not in (2, 3):
        raise ValueError(f"expected an image with 2 or 3 axes, got shape {tuple(img.shape)}")
    if isinstance(img, torch.Tensor):
        return resize_axes(img if img.dtype == torch.float64 else img.float(), {-2: scale, -1: scale}, antialiasing)
    dtype = np.float64 if img.dtype == np.float64 else np.float32
    return resize_axes(copy_to_tensor(img, dtype), {0: scale, 1: scale}, antialiasing).numpy()
