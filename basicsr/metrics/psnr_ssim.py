"""PSNR and SSIM of batches, in float64, and the published functions on arrays and tensors on top of them.

One behaviour for equal images: every function gives ``inf``, except the published ``calculate_psnr_pt``, which adds
1e-8 to the mean square error and so has a ceiling of 80 dB (old numbers need that).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from basicsr.metrics.metric import register_metric
from basicsr.metrics.metric_util import check_pair, check_size, describe_protocol, measure_arrays, prepare_batch
from basicsr.utils.fields import Count

PSNR_PT_FLOOR = 1e-8
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_STRIP = 128


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
    return _compare_psnr(x, y, floor)


def _compare_psnr(x: Tensor, y: Tensor, floor: float = 0.0) -> Tensor:
    """:func:`batch_psnr` of batches that are prepared."""
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
    return _compare_ssim(
        *(prepare_batch(batch, crop_border, test_y_channel, peak, matlab=matlab) for batch in (sr, gt))
    )


def _compare_ssim(x: Tensor, y: Tensor) -> Tensor:
    """:func:`batch_ssim` of batches that are prepared."""
    check_size(x, SSIM_WINDOW, "SSIM")
    # On the CPU, where large images are measured, strip by strip: each needs ten times its memory.
    height = x.shape[-2] - SSIM_WINDOW + 1
    rows = SSIM_STRIP if x.device.type == "cpu" else height
    starts = range(0, height, rows)
    sums = [_sum_similarity(*(z[..., top : top + rows + SSIM_WINDOW - 1, :] for z in (x, y))) for top in starts]
    return torch.stack(sums).sum(0) / (x.shape[1] * height * (x.shape[3] - SSIM_WINDOW + 1))


def _sum_similarity(x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
    """The sum over an image's channels and valid positions, (B,)."""
    x, y, c1, c2 = x_BCHW, y_BCHW, 0.01**2, 0.03**2
    mean_x, mean_y, mean_product, mean_squares = _blur(x, y, x * y, x.square().addcmul(y, y))
    product, squares = mean_x * mean_y, mean_x.square().addcmul(mean_y, mean_y)
    covariance, variances = mean_product - product, mean_squares - squares
    similarity = (2 * product + c1) / (squares + c1) * ((2 * covariance + c2) / (variances + c2))
    return similarity.sum((1, 2, 3))


_describe_psnr = partial(describe_protocol, "PSNR in dB")
_describe_ssim = partial(describe_protocol, "SSIM (11x11 Gaussian window, sigma 1.5, valid area)")


@register_metric("higher", _describe_psnr, batch_psnr, compare=_compare_psnr)
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


@register_metric("higher", _describe_ssim, batch_ssim, compare=_compare_ssim)
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
    "higher",
    lambda options: f"{_describe_psnr(options)}, at most 80 dB",
    partial(batch_psnr, floor=PSNR_PT_FLOOR),
    compare=partial(_compare_psnr, floor=PSNR_PT_FLOOR),
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


@register_metric("higher", _describe_ssim, batch_ssim, compare=_compare_ssim)
def calculate_ssim_pt(img: Tensor, img2: Tensor, crop_border: Count, test_y_channel: bool = False, **_: Any) -> Tensor:
    """Structural similarity of batches in [0, 1]; arguments and errors are those of :func:`calculate_psnr_pt`."""
    return batch_ssim(img, img2, crop_border, test_y_channel, peak=1.0)


@cache
def _window() -> np.ndarray:
    """The Gaussian window along one axis, (11,) float64, sum 1."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    return taps / taps.sum()


@cache
def _window_on(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(_window()).to(device, dtype)


def _blur(*maps: Tensor) -> list[Tensor]:
    """The Gaussian window at the valid positions of batches of one size, one axis after the other."""
    if maps[0].device.type == "cpu" and not any(x.requires_grad for x in maps):
        return [_blur_on_cpu(x) for x in maps]
    taps = _window_on(maps[0].device, maps[0].dtype)
    rows = nn.functional.conv2d(torch.cat(maps).flatten(0, 1).unsqueeze(1), taps.view(1, 1, 1, -1))
    blurred = nn.functional.conv2d(rows, taps.view(1, 1, -1, 1)).squeeze(1).unflatten(0, (-1, maps[0].shape[1]))
    return list(blurred.chunk(len(maps)))


def _blur_on_cpu(x_BCHW: Tensor) -> Tensor:
    """By OpenCV, which takes an eighth of the time of a convolution in float64."""
    planes = x_BCHW.flatten(0, 1).numpy()
    blurred = np.empty(planes.shape, planes.dtype)
    for plane, result in zip(planes, blurred):
        cv2.sepFilter2D(plane, -1, _window(), _window(), dst=result)
    margin = SSIM_WINDOW // 2
    inside = blurred[:, margin : planes.shape[1] - margin, margin : planes.shape[2] - margin]
    return torch.from_numpy(inside).unflatten(0, x_BCHW.shape[:2])
