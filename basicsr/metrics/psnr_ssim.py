"""PSNR and SSIM of batches, in float64, and the published functions on arrays and tensors on top of them.

One behaviour for equal images: every function gives ``inf``, except the published ``calculate_psnr_pt``, which adds
1e-8 to the mean square error and so has a ceiling of 80 dB (old numbers need that).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.metrics.metric import register_metric
from basicsr.metrics.metric_util import check_pair, check_size, describe_protocol, measure_arrays, prepare_batch
from basicsr.utils.fields import Count

PSNR_PT_FLOOR = 1e-8
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def batch_psnr(
    sr: Tensor,
    gt: Tensor,
    crop_border: int = 0,
    test_y_channel: bool = False,
    peak: float = 255.0,
    floor: float = 0.0,
    matlab: bool = False,
) -> Tensor:
    """Peak signal-to-noise ratio ``10·log10(peak² / (mse + floor·peak²))`` of each image.

    Args:
        sr: RGB or gray in [0, peak], ``(B, C, H, W)``.
        gt: The references, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma (not rounded) instead of all channels.
        peak: The value of white.
        floor: Added to the mean square error of the unit range.
        matlab: Measure the luma rounded to 8 bit, as MATLAB's ``rgb2ycbcr`` gives it; gray stays as it is.

    Returns:
        ``(B,)`` float64 in dB on the tensors' device; ``inf`` for equal images when ``floor`` is 0.

    Raises:
        ValueError: If shapes differ or the crop leaves nothing.
    """
    check_pair(sr, gt)
    x, y = (prepare_batch(batch, crop_border, test_y_channel, peak, matlab=matlab) for batch in (sr, gt))
    error = (x - y).square().mean((1, 2, 3))
    return -10 * torch.log10(error + floor)


def batch_ssim(
    sr: Tensor,
    gt: Tensor,
    crop_border: int = 0,
    test_y_channel: bool = False,
    peak: float = 255.0,
    matlab: bool = False,
) -> Tensor:
    """Structural similarity of each image: 11x11 Gaussian window of σ 1.5, valid positions only, mean over channels.

    Source: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 2004, eq. 13, with K1 = 0.01 and K2 = 0.03.

    Arguments and errors are those of :func:`batch_psnr`; after the crop, 11x11 pixels must remain.

    Returns:
        ``(B,)`` float64, at most 1.
    """
    check_pair(sr, gt)
    x, y = (prepare_batch(batch, crop_border, test_y_channel, peak, matlab=matlab) for batch in (sr, gt))
    check_size(x, SSIM_WINDOW, "SSIM")
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _blur(x), _blur(y)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance = _blur(x * y) - product
    variances = _blur(x.square() + y.square()) - squares
    similarity = (2 * product + c1) / (squares + c1) * ((2 * covariance + c2) / (variances + c2))
    return similarity.mean((1, 2, 3))


_describe_psnr = partial(describe_protocol, "PSNR in dB")
_describe_ssim = partial(describe_protocol, "SSIM (11x11 Gaussian window, sigma 1.5, valid area)")


@register_metric("higher", _describe_psnr, batch_psnr)
def calculate_psnr(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: Count,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    matlab: bool = False,
    **kwargs: Any,
) -> float:
    """Peak signal-to-noise ratio of two images in [0, 255].

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R.
        img2: The reference, same shape.
        crop_border: Pixels cut off each side.
        input_order: ``HWC`` or ``CHW``.
        test_y_channel: Measure the BT.601 luma (not rounded) instead of all channels.
        matlab: Measure the luma rounded to 8 bit, and gray files as gray, as MATLAB does.

    Returns:
        dB; ``inf`` for equal images.

    Raises:
        ValueError: If shapes differ, the order is unknown or the crop leaves nothing.
    """
    options = {"crop_border": crop_border, "test_y_channel": test_y_channel, "matlab": matlab}
    return measure_arrays(batch_psnr, img, img2, input_order, **options)


@register_metric("higher", _describe_ssim, batch_ssim)
def calculate_ssim(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: Count,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    matlab: bool = False,
    **kwargs: Any,
) -> float:
    """Structural similarity of two images in [0, 255], the mean over channels.

    Arguments and errors are those of :func:`calculate_psnr`; after the crop, 11x11 pixels must remain.
    """
    options = {"crop_border": crop_border, "test_y_channel": test_y_channel, "matlab": matlab}
    return measure_arrays(batch_ssim, img, img2, input_order, **options)


@register_metric(
    "higher", lambda options: f"{_describe_psnr(options)}, at most 80 dB", partial(batch_psnr, floor=PSNR_PT_FLOOR)
)
def calculate_psnr_pt(img: Tensor, img2: Tensor, crop_border: Count, test_y_channel: bool = False, **_: Any) -> Tensor:
    """Peak signal-to-noise ratio of batches in [0, 1], not rounded, with the published ceiling of 80 dB.

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
    return batch_psnr(img, img2, crop_border, test_y_channel, peak=1.0, floor=PSNR_PT_FLOOR)


@register_metric("higher", _describe_ssim, batch_ssim)
def calculate_ssim_pt(img: Tensor, img2: Tensor, crop_border: Count, test_y_channel: bool = False, **_: Any) -> Tensor:
    """Structural similarity of batches in [0, 1]; arguments and errors are those of :func:`calculate_psnr_pt`."""
    return batch_ssim(img, img2, crop_border, test_y_channel, peak=1.0)


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
