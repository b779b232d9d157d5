"""NIQE: how far an image's statistics lie from those of pristine photographs; needs no reference.

Source: A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal
Processing Letters 2013. Features follow A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment
in the spatial domain" (BRISQUE), IEEE TIP 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from scipy.special import gamma

from basicsr.metrics.metric import register_metric
from basicsr.metrics.metric_util import describe_crop, reorder_image, to_y_channel
from basicsr.processing.matlab import imresize
from basicsr.utils.errors import check_choice
from basicsr.utils.fields import Count
from basicsr.utils.img_util import crop_border as cut_border

BLOCK_SIZE = 96
PRISTINE_FILE = Path(__file__).with_name("niqe_pristine.npz")

_SHAPES = np.arange(200, 10001) / 1000
# ``Γ(2/a)² / (Γ(1/a)·Γ(3/a))`` of each shape ``a``: increasing.
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def _describe(options: Mapping[str, Any]) -> str:
    channel = "BT.601 Y" if options["convert_to"] == "y" else "gray"
    size = f"{BLOCK_SIZE}x{BLOCK_SIZE}"
    return f"NIQE (published pristine model, {size} blocks), {channel} of 8-bit images, {describe_crop(options)}"


# Without a function on batches: OpenCV's filters and SciPy's special functions run on the CPU.
@register_metric("lower", _describe)
def calculate_niqe(
    img: np.ndarray, crop_border: Count, input_order: str = "HWC", convert_to: Literal["y", "gray"] = "y", **kwargs: Any
) -> float:
    """Natural image quality evaluator of an image in [0, 255]; lower is better.

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R.
        crop_border: Pixels cut off each side.
        input_order: ``HWC`` or ``CHW``.
        convert_to: ``y`` measures the BT.601 luma, ``gray`` OpenCV's full-range gray.

    Returns:
        The distance from the pristine model. ``nan`` if no two blocks have any texture.

    Raises:
        ValueError: If an option has an unknown value or fewer than two 96x96 blocks remain after the crop.
    """
    check_choice("convert_to", convert_to, ("y", "gray"))
    img = reorder_image(img, input_order)
    if img.shape[2] not in (1, 3):
        raise ValueError(f"NIQE needs 1 or 3 channels, got an image of shape {img.shape}")
    if convert_to == "gray" and img.shape[2] == 3:
        plane = cv2.cvtColor(np.ascontiguousarray(img, dtype=np.float32), cv2.COLOR_BGR2GRAY)
    else:
        plane = to_y_channel(img)[..., 0]
    plane = cut_border(plane, crop_border).round()
    rows, cols = (side // BLOCK_SIZE for side in plane.shape)
    if rows * cols < 2:
        raise ValueError(
            f"NIQE needs two blocks of {BLOCK_SIZE}x{BLOCK_SIZE} pixels after the border is cropped, "
            f"got {plane.shape[0]}x{plane.shape[1]} pixels"
        )
    # Take the features of every block at full and at half resolution.
    plane = plane[: rows * BLOCK_SIZE, : cols * BLOCK_SIZE].astype(np.float64)
    half = imresize(plane / 255, 0.5, antialiasing=True) * 255
    taps = cv2.getGaussianKernel(7, 7 / 6)
    scales = []
    for level, size in ((plane, BLOCK_SIZE), (half, BLOCK_SIZE // 2)):
        mean, square = (
            cv2.sepFilter2D(x, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REPLICATE) for x in (level, level**2)
        )
        # Subtract the local mean and divide by the local deviation plus one (MSCN, eq. 1 of the BRISQUE paper).
        scales.append(block_features((level - mean) / (np.sqrt(np.abs(square - mean**2)) + 1), size))
    features = np.concatenate(scales, axis=1)
    # Compare the Gaussian that they follow with that of pristine photographs.
    whole = features[np.isfinite(features).all(1)]
    if len(whole) < 2:
        return float("nan")
    pristine_mean, pristine_covariance = load_pristine_model()
    offset = np.nanmean(features, axis=0) - pristine_mean
    pooled = (pristine_covariance + np.cov(whole, rowvar=False)) / 2
    return float(np.sqrt(offset @ np.linalg.pinv(pooled) @ offset))


def block_features(mscn_HW: np.ndarray, size: int) -> np.ndarray:
    """The 18 features of every block: fits to the normalised luminance and to its products with four neighbours.

    Args:
        mscn_HW: Contrast-normalised luminance; sides are multiples of ``size``.
        size: Side of a block in pixels.

    Returns:
        ``(blocks, 18)``; ``nan`` for blocks without texture.
    """
    height, width = mscn_HW.shape
    blocks = mscn_HW.reshape(height // size, size, width // size, size).swapaxes(1, 2).reshape(-1, size, size)
    shape, left, right = _fit_generalized_gaussian(blocks)
    columns = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fit_generalized_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        columns += [shape, mean, left, right]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=1)
def load_pristine_model() -> tuple[np.ndarray, np.ndarray]:
    """Mean (36,) and covariance (36, 36) of pristine photographs' features, as published; from the file beside this."""
    with np.load(PRISTINE_FILE) as stored:
        return stored["mean"], stored["covariance"]


def _fit_generalized_gaussian(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits asymmetric generalised Gaussians, one per block, by moments (N.-E. Lasmar et al., ICIP 2009).

    Returns:
        Shape, the nearest of a grid of step 0.001, and scale left and right of zero, each ``(N,)``.
    """
    x = blocks.reshape(len(blocks), -1)
    squares = x**2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt((squares * (x < 0)).sum(1) / (x < 0).sum(1))
        right = np.sqrt((squares * (x > 0)).sum(1) / (x > 0).sum(1))
        balance = left / right
        ratio = np.abs(x).mean(1) ** 2 / squares.mean(1)
        ratio = ratio * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    upper = np.searchsorted(_RATIOS, ratio).clip(1, len(_RATIOS) - 1)
    nearest = np.where(ratio - _RATIOS[upper - 1] <= _RATIOS[upper] - ratio, upper - 1, upper)
    shape = np.where(np.isfinite(ratio), _SHAPES[nearest], np.nan)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale
