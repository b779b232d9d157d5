"""Images on their way into a metric: layout, luma, border crop and the checks that all metrics share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.processing.color import bgr2ycbcr
from basicsr.spectral.transforms import rgb_to_luma
from basicsr.utils.batch import copy_to_tensor
from basicsr.utils.errors import check_choice

# BT.601 luma of R, G, B in [0, 1], studio swing as in MATLAB's rgb2ycbcr.
_RED, _GREEN, _BLUE, _UNIT = 65481, 128553, 24966, 255_000
_STUDIO_WEIGHTS = (_RED / _UNIT, _GREEN / _UNIT, _BLUE / _UNIT)
_STUDIO_BLACK = 16 / 255


def reorder_image(img: np.ndarray, input_order: str = "HWC") -> np.ndarray:
    """Brings an image to (H, W, C); (H, W) becomes (H, W, 1).

    Args:
        img: (H, W), (H, W, C) or (C, H, W).
        input_order: ``HWC`` or ``CHW``: the layout of an image with three axes.

    Raises:
        ValueError: If the order is unknown or the image has not two or three axes.
    """
    check_choice("input_order", input_order, ("HWC", "CHW"))
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


def check_pair(x: Any, y: Any) -> None:
    """Raises a ``ValueError`` that names both shapes unless two images or batches have the same."""
    if np.shape(x) != np.shape(y):
        raise ValueError(
            f"the images differ in shape: {tuple(np.shape(x))} and {tuple(np.shape(y))}; a result must be as large as "
            "its reference and have as many channels (crop the reference to a multiple of the scale)"
        )


def prepare_batch(
    x: Any,
    crop_border: int,
    test_y_channel: bool = False,
    peak: float = 255.0,
    dtype: torch.dtype = torch.float64,
    matlab: bool = False,
) -> Tensor:
    """A batch, or its BT.601 luma, in [0, 1] and without its borders.

    Args:
        x: RGB or gray in [0, peak], ``(B, C, H, W)``.
        crop_border: Pixels cut off each side.
        test_y_channel: Take the luma.
        peak: The value of white.
        dtype: The result's type; float64 becomes float32 on Apple's devices, which do not have it.
        matlab: Take the luma, rounded to 8 bit as by MATLAB's ``rgb2ycbcr``.

    Raises:
        ValueError: If this is no batch, nothing would remain, or the channels have no luma.
    """
    if not isinstance(x, Tensor) or x.ndim != 4:
        found = tuple(x.shape) if hasattr(x, "shape") else type(x).__name__
        raise ValueError(f"expected tensors of shape (B, C, H, W), got {found}; arrays have their own functions")
    height, width = x.shape[-2:]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(f"cannot cut {crop_border} pixels off each side of an image of {height}x{width}")
    x = x[..., crop_border : height - crop_border, crop_border : width - crop_border]
    dtype = torch.float32 if x.device.type == "mps" else dtype
    if test_y_channel and not matlab and x.shape[1] == 3:
        # As rgb_to_luma, in fewer and smaller steps; what MATLAB rounds stays in its order of operations.
        if x.dtype == torch.uint8:
            red, green, blue = (plane.int() for plane in x.unbind(1))
            total = red.mul_(_RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE)
            return total.to(dtype).div_(peak * _UNIT).add_(_STUDIO_BLACK).unsqueeze(1)
        luma = torch.full_like(x[:, 0], _STUDIO_BLACK, dtype=dtype)
        for plane, weight in zip(x.unbind(1), _STUDIO_WEIGHTS):
            luma.add_(plane, alpha=weight / peak)
        return luma.unsqueeze(1)
    x = x.to(dtype) / peak
    x = rgb_to_luma(x, _STUDIO_WEIGHTS, _STUDIO_BLACK) if test_y_channel or matlab else x
    return (255 * x + 0.5).floor() / 255 if matlab else x


def check_size(x: Tensor, smallest: int, metric: str) -> None:
    """Raises a ``ValueError`` unless both sides of a cropped batch have ``smallest`` pixels or more."""
    height, width = x.shape[-2:]
    if min(height, width) < smallest:
        raise ValueError(
            f"{metric} needs at least {smallest}x{smallest} pixels after the border is cropped, got {height}x{width}"
        )


def measure_arrays(
    measure: Callable[..., Tensor], img: np.ndarray, img2: np.ndarray, input_order: str, **options: Any
) -> float:
    """Measures two arrays by a metric of batches, as which they are RGB, ``(1, C, H, W)``, uint8 or float64.

    Args:
        measure: From two batches of levels in [0, 255] and the options to ``(1,)``.
        img: (H, W), (H, W, C) or (C, H, W) in [0, 255], three channels in OpenCV's order B, G, R.
        img2: The reference, same shape.
        input_order: ``HWC`` or ``CHW``.
        options: The metric's options. ``test_y_channel`` is for BGR images alone: others have no luma, and the
            published functions then measure all channels.

    Raises:
        ValueError: If shapes differ, the layout does not fit or an array holds 16-bit values.
    """
    check_pair(img, img2)
    batches = []
    for image in (img, img2):
        if not isinstance(image, np.ndarray):
            raise ValueError(
                f"expected a NumPy array in [0, 255], got {type(image).__name__}; tensors have their own functions"
            )
        kind, highest = image.dtype.kind, image.max(initial=0)
        if kind not in "uif" or (kind != "f" and image.dtype.itemsize > 1 and highest > 255):
            raise ValueError(f"expected values in [0, 255], got {image.dtype} up to {highest}; convert to 8 bit first")
        planes = reorder_image(image, input_order).transpose(2, 0, 1)
        planes = planes[::-1] if len(planes) == 3 else planes
        dtype = np.uint8 if planes.dtype == np.uint8 else np.float64
        batches.append(copy_to_tensor(planes, dtype)[None])
    if options.get("test_y_channel"):
        options["test_y_channel"] = len(planes) == 3
    return float(measure(*batches, **options))


def describe_protocol(measured: str, options: Mapping[str, Any]) -> str:
    """What is measured, then what is common to metrics: channel, bit depth and crop."""
    channel = "BT.601 Y" if options.get("test_y_channel") else "RGB"
    if options.get("matlab"):
        channel = "BT.601 Y rounded to 8 bit (gray files as gray, as in MATLAB)"
    return f"{measured}, {channel} of 8-bit images, {describe_crop(options)}"


def describe_crop(options: Mapping[str, Any]) -> str:
    """``no border cropped`` or ``4 px cropped off each border``."""
    crop = options.get("crop_border", 0)
    return f"{crop} px cropped off each border" if crop else "no border cropped"
