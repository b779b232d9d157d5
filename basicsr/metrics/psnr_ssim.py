"""PSNR and SSIM: batched functions in float64, and the published functions on arrays and tensors on top of them.

One behaviour for equal images: every function gives ``inf``, except the published ``calculate_psnr_pt``, which adds
1e-8 to the mean square error and so has a ceiling of 80 dB (old numbers need that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.metrics.metric_info import register_metric
from basicsr.metrics.metric_util import array_to_batch, check_pair, crop_batch, describe_input, to_luma

PSNR_PT_FLOOR = 1e-8
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def batch_psnr(x_BCHW: Tensor, y_BCHW: Tensor, peak: float = 1.0, floor: float = 0.0) -> Tensor:
    """Peak signal-to-noise ratio ``10·log10(peak² / (mse + floor·peak²))`` per image.

    Args:
        x_BCHW: Images in [0, peak].
        y_BCHW: Their references, same shape.
        peak: The value of white.
        floor: Added to the mean square error of the unit range.

    Returns:
        ``(B,)`` float64 in dB, ``inf`` for equal images when ``floor`` is 0.
    """
    x, y = _double(x_BCHW), _double(y_BCHW)
    error = (x - y).square().mean((1, 2, 3)) / peak**2
    return -10 * torch.log10(error + floor)


def batch_ssim(x_BCHW: Tensor, y_BCHW: Tensor, peak: float = 1.0) -> Tensor:
    """Structural similarity per image: 11x11 Gaussian window of σ 1.5, valid positions only, mean over channels.

    Source: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 2004, eq. 13, with K1 = 0.01 and K2 = 0.03.

    Args:
        x_BCHW: Images in [0, peak].
        y_BCHW: Their references, same shape.
        peak: The value of white.

    Returns:
        ``(B,)`` float64, at most 1.

    Raises:
        ValueError: If an image is smaller than the window.
    """
    height, width = x_BCHW.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels after the border is cropped, got {height}x{width}"
        )
    x, y = _double(x_BCHW) / peak, _double(y_BCHW) / peak
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _blur(x), _blur(y)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance = _blur(x * y) - product
    variances = _blur(x.square() + y.square()) - squares
    similarity = (2 * product + c1) / (squares + c1) * ((2 * covariance + c2) / (variances + c2))
    return similarity.mean((1, 2, 3))


def measure_psnr(sr: Tensor, gt: Tensor, crop_border: int = 0, test_y_channel: bool = False) -> Tensor:
    """:func:`calculate_psnr` of whole batches: the numbers that the images would give once saved with 8 bit.

    Args:
        sr: RGB or gray, ``(B, C, H, W)``; floats in [0, 1] are clamped and rounded to 8 bit, uint8 is taken as it is.
        gt: The references, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma.

    Returns:
        ``(B,)`` float64 in dB on the tensors' device; ``inf`` for equal images.

    Raises:
        ValueError: If shapes differ or the crop leaves nothing.
    """
    return batch_psnr(*_as_8_bit(sr, gt, crop_border, test_y_channel), peak=255.0)


def measure_ssim(sr: Tensor, gt: Tensor, crop_border: int = 0, test_y_channel: bool = False) -> Tensor:
    """:func:`calculate_ssim` of whole batches; arguments and errors are those of :func:`measure_psnr`."""
    return batch_ssim(*_as_8_bit(sr, gt, crop_border, test_y_channel), peak=255.0)


def _describe_psnr(options: Mapping[str, Any]) -> str:
    return f"PSNR in dB, {describe_input(options)}"


def _describe_ssim(options: Mapping[str, Any]) -> str:
    return f"SSIM (11x11 Gaussian window, sigma 1.5, valid area), {describe_input(options)}"


@register_metric("higher", _describe_psnr)
def calculate_psnr(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = "HWC", test_y_channel: bool = False
) -> float:
    """Peak signal-to-noise ratio of two images in [0, 255].

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R.
        img2: The reference, same shape.
        crop_border: Pixels cut off each side.
        input_order: ``HWC`` or ``CHW``.
        test_y_channel: Measure the BT.601 luma (not rounded) instead of all channels.

    Returns:
        dB; ``inf`` for equal images.

    Raises:
        ValueError: If shapes differ, the order is unknown or the crop leaves nothing.
    """
    return float(batch_psnr(*_array_pair(img, img2, crop_border, input_order, test_y_channel), peak=255.0))


@register_metric("higher", _describe_ssim)
def calculate_ssim(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = "HWC", test_y_channel: bool = False
) -> float:
    """Structural similarity of two images in [0, 255], the mean over channels.

    Arguments and errors are those of :func:`calculate_psnr`; after the crop, 11x11 pixels must remain.
    """
    return float(batch_ssim(*_array_pair(img, img2, crop_border, input_order, test_y_channel), peak=255.0))


@register_metric("higher", lambda options: f"{_describe_psnr(options)}, not rounded, at most 80 dB")
def calculate_psnr_pt(img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False) -> Tensor:
    """Peak signal-to-noise ratio of batches in [0, 1], with the published ceiling of 80 dB.

    :func:`measure_psnr` gives the numbers of :func:`calculate_psnr`, without a ceiling.

    Args:
        img: RGB or gray, ``(B, C, H, W)``.
        img2: The references, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma.

    Returns:
        ``(B,)`` float64 in dB.

    Raises:
        ValueError: If shapes differ or the crop leaves nothing.
    """
    return batch_psnr(*_tensor_pair(img, img2, crop_border, test_y_channel, 1.0), floor=PSNR_PT_FLOOR)


@register_metric("higher", lambda options: f"{_describe_ssim(options)}, not rounded")
def calculate_ssim_pt(img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False) -> Tensor:
    """Structural similarity of batches in [0, 1]; arguments and errors are those of :func:`calculate_psnr_pt`."""
    return batch_ssim(*_tensor_pair(img, img2, crop_border, test_y_channel, 1.0))


def _double(x: Tensor) -> Tensor:
    # Apple's devices have no float64.
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def _blur(x_BCHW: Tensor) -> Tensor:
    """The Gaussian window at its valid positions, one axis after the other, as sums of shifted slices."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    weights = (taps / taps.sum()).tolist()
    for axis in (-1, -2):
        length = x_BCHW.shape[axis] - SSIM_WINDOW + 1
        total = x_BCHW.narrow(axis, 0, length) * weights[0]
        for start, weight in enumerate(weights[1:], 1):
            total.add_(x_BCHW.narrow(axis, start, length), alpha=weight)
        x_BCHW = total
    return x_BCHW


def _tensor_pair(x: Tensor, y: Tensor, crop_border: int, test_y_channel: bool, peak: float) -> tuple[Tensor, Tensor]:
    for tensor in (x, y):
        if not isinstance(tensor, Tensor) or tensor.ndim != 4:
            found = tuple(tensor.shape) if hasattr(tensor, "shape") else type(tensor).__name__
            raise ValueError(f"expected tensors of shape (B, C, H, W), got {found}; arrays have their own functions")
    check_pair(x.shape, y.shape)
    x, y = (_double(crop_batch(tensor, crop_border)) for tensor in (x, y))
    return (to_luma(x, peak), to_luma(y, peak)) if test_y_channel else (x, y)


def _array_pair(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str, test_y_channel: bool
) -> tuple[Tensor, Tensor]:
    check_pair(np.shape(img), np.shape(img2))
    x, y = (array_to_batch(image, input_order) for image in (img, img2))
    # Images that are neither gray nor BGR have no luma; the published functions then measure all channels.
    luma = test_y_channel and x.shape[1] == 3
    return _tensor_pair(x, y, crop_border, luma, 255.0)


def _as_8_bit(sr: Tensor, gt: Tensor, crop_border: int, test_y_channel: bool) -> tuple[Tensor, Tensor]:
    levels = [x if x.dtype == torch.uint8 else x.float().clamp(0, 1).mul(255).round() for x in (sr, gt)]
    return _tensor_pair(levels[0], levels[1], crop_border, test_y_channel, 255.0)
