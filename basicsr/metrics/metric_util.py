"""Images on their way into a metric: layout, luma, border crop and the checks that all metrics share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.utils.color_util import bgr2ycbcr

INPUT_ORDERS = ("HWC", "CHW")

# BT.601 luma of R, G, B in [0, 1], in 8-bit studio-swing units (as MATLAB's rgb2ycbcr): 16 is black, 235 white.
_LUMA_STEPS = (65.481, 128.553, 24.966)
_LUMA_BLACK = 16.0


def reorder_image(img: np.ndarray, input_order: str = "HWC") -> np.ndarray:
    """Brings an image to (H, W, C); (H, W) becomes (H, W, 1).

    Args:
        img: (H, W), (H, W, C) or (C, H, W).
        input_order: ``HWC`` or ``CHW``: the layout of an image with three axes.

    Raises:
        ValueError: If the order is unknown or the image has not two or three axes.
    """
    if input_order not in INPUT_ORDERS:
        raise ValueError(f"input_order must be one of {', '.join(INPUT_ORDERS)}; got {input_order!r}")
    if img.ndim == 2:
        return img[..., None]
    if img.ndim != 3:
        raise ValueError(f"expected an image with 2 or 3 axes, got shape {img.shape}")
    return img.transpose(1, 2, 0) if input_order == "CHW" else img


def to_y_channel(img: np.ndarray) -> np.ndarray:
    """BT.601 luma of an image, not rounded.

    Args:
        img: (H, W, C) in [0, 255]; three channels are B, G, R; other numbers of channels pass through.

    Returns:
        (H, W, 1), or the image itself, float32 in [0, 255].
    """
    unit = img.astype(np.float32) / np.float32(255)
    if unit.ndim == 3 and unit.shape[2] == 3:
        unit = bgr2ycbcr(unit, y_only=True)[..., None]
    return unit * np.float32(255)


def check_pair(shape: tuple[int, ...], shape2: tuple[int, ...]) -> None:
    """Raises a ``ValueError`` that names both shapes unless they are equal."""
    if tuple(shape) != tuple(shape2):
        raise ValueError(
            f"the images differ in shape: {tuple(shape)} and {tuple(shape2)}; a result must be as large as its "
            "reference and have as many channels (crop the reference to a multiple of the scale)"
        )


def crop_batch(x_BCHW: Tensor, crop_border: int) -> Tensor:
    """Cuts ``crop_border`` pixels off each side.

    Raises:
        ValueError: If the number is negative or nothing would remain.
    """
    height, width = x_BCHW.shape[-2:]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(f"cannot cut {crop_border} pixels off each side of an image of {height}x{width}")
    return x_BCHW[..., crop_border : height - crop_border, crop_border : width - crop_border]


def array_to_batch(img: np.ndarray, input_order: str = "HWC") -> Tensor:
    """An 8-bit-range array as a batch of one: RGB, ``(1, C, H, W)``, in its own type.

    Args:
        img: (H, W), (H, W, C) or (C, H, W) in [0, 255], three channels in OpenCV's order B, G, R.
        input_order: ``HWC`` or ``CHW``.

    Raises:
        ValueError: If the layout does not fit or the array holds 16-bit values.
    """
    if not isinstance(img, np.ndarray):
        raise ValueError(
            f"expected a NumPy array in [0, 255], got {type(img).__name__}; tensors have their own functions"
        )
    if img.dtype.kind not in "uif" or (img.dtype.kind != "f" and img.dtype.itemsize > 1 and img.max(initial=0) > 255):
        raise ValueError(
            f"expected values in [0, 255], got {img.dtype} up to {img.max(initial=0)}; convert to 8 bit first"
        )
    planes = reorder_image(img, input_order).transpose(2, 0, 1)
    if planes.shape[0] == 3:
        planes = planes[::-1]
    if planes.dtype != np.uint8:
        planes = planes.astype(np.float64)
    return torch.from_numpy(np.ascontiguousarray(planes))[None]


def to_luma(x_BCHW: Tensor, peak: float) -> Tensor:
    """BT.601 luma of RGB in [0, peak] on the same scale; one channel passes through.

    Raises:
        ValueError: If there are neither 1 nor 3 channels.
    """
    if x_BCHW.shape[1] == 1:
        return x_BCHW
    if x_BCHW.shape[1] != 3:
        raise ValueError(f"the Y channel needs 1 or 3 channels, got shape {tuple(x_BCHW.shape)}")
    steps = [step / 255 for step in _LUMA_STEPS]
    red, green, blue = x_BCHW.unbind(1)
    return (steps[0] * red + steps[1] * green + steps[2] * blue + _LUMA_BLACK / 255 * peak).unsqueeze(1)


def describe_input(options: Mapping[str, Any]) -> str:
    """The part of a protocol line that is common to metrics: channel, bit depth and crop."""
    channel = "BT.601 Y" if options.get("test_y_channel") else "RGB"
    return f"{channel} of 8-bit images, {describe_crop(options)}"


def describe_crop(options: Mapping[str, Any]) -> str:
    """``no border cropped`` or ``4 px cropped off each border``."""
    crop = options.get("crop_border", 0)
    return f"{crop} px cropped off each border" if crop else "no border cropped"
