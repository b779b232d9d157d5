"""NIQE: how far an image's statistics lie from those of pristine photographs; needs no reference.

Source: A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal
Processing Letters 2013. Features follow A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment
in the spatial domain" (BRISQUE), IEEE TIP 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from scipy.special import gamma

from basicsr.metrics.metric_info import register_metric
from basicsr.metrics.metric_util import describe_crop, reorder_image, to_y_channel
from basicsr.utils.img_util import crop_border as cut_border
from basicsr.utils.matlab_functions import imresize

BLOCK_SIZE = 96
PRISTINE_FILE = Path(__file__).with_name("niqe_pristine.npz")

_WINDOW_SIZE = 7
_WINDOW_SIGMA = 7 / 6
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_SHAPES = np.arange(200, 10001) / 1000


class PristineModel(NamedTuple):
    """The Gaussian that the features of pristine photographs follow: ``mean`` (36,), ``covariance`` (36, 36)."""

    mean: np.ndarray
    covariance: np.ndarray


class _GeneralizedGaussian(NamedTuple):
    """Asymmetric generalised Gaussians, one per block: shape, and scale left and right of zero, each ``(N,)``."""

    shape: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return (self.right - self.left) * gamma(2 / self.shape) / gamma(1 / self.shape)


def _describe(options: Mapping[str, Any]) -> str:
    channel = "BT.601 Y" if options["convert_to"] == "y" else "gray"
    return (
        f"NIQE (published pristine model, {BLOCK_SIZE}x{BLOCK_SIZE} blocks), {channel} of 8-bit images, "
        f"{describe_crop(options)}"
    )


@register_metric("lower", _describe, needs_reference=False)
def calculate_niqe(
    img: np.ndarray, crop_border: int, input_order: str = "HWC", convert_to: Literal["y", "gray"] = "y"
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
    if convert_to not in ("y", "gray"):
        raise ValueError(f"convert_to must be 'y' or 'gray', got {convert_to!r}")
    plane = _to_plane(reorder_image(img, input_order), convert_to)
    return measure_niqe(cut_border(plane, crop_border).round(), load_pristine_model())


def measure_niqe(plane_HW: np.ndarray, pristine: PristineModel) -> float:
    """NIQE of one channel in [0, 255]; see :func:`calculate_niqe`."""
    rows, cols = (side // BLOCK_SIZE for side in plane_HW.shape)
    if rows * cols < 2:
        raise ValueError(
            f"NIQE needs two blocks of {BLOCK_SIZE}x{BLOCK_SIZE} pixels after the border is cropped, "
            f"got {plane_HW.shape[0]}x{plane_HW.shape[1]} pixels"
        )
    plane = plane_HW[: rows * BLOCK_SIZE, : cols * BLOCK_SIZE].astype(np.float64)
    half = imresize(plane / 255, 0.5, antialiasing=True) * 255
    features = np.concatenate(
        [block_features(_normalize_contrast(x), size) for x, size in ((plane, BLOCK_SIZE), (half, BLOCK_SIZE // 2))], 1
    )
    whole = features[np.isfinite(features).all(1)]
    if len(whole) < 2:
        return float("nan")
    offset = np.nanmean(features, axis=0) - pristine.mean
    pooled = (pristine.covariance + np.cov(whole, rowvar=False)) / 2
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
    fit = _fit_generalized_gaussian(blocks)
    columns = [fit.shape, (fit.left + fit.right) / 2]
    for shift in _NEIGHBOURS:
        fit = _fit_generalized_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        columns += [fit.shape, fit.mean, fit.left, fit.right]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=1)
def load_pristine_model() -> PristineModel:
    """The published pristine model, from the file beside this module."""
    with np.load(PRISTINE_FILE) as stored:
        return PristineModel(stored["mean"], stored["covariance"])


def _to_plane(img_HWC: np.ndarray, convert_to: str) -> np.ndarray:
    if img_HWC.shape[2] == 1:
        return img_HWC[..., 0].astype(np.float64)
    if img_HWC.shape[2] != 3:
        raise ValueError(f"NIQE needs 1 or 3 channels, got an image of shape {img_HWC.shape}")
    if convert_to == "gray":
        return cv2.cvtColor(np.ascontiguousarray(img_HWC, dtype=np.float32), cv2.COLOR_BGR2GRAY).astype(np.float64)
    return to_y_channel(img_HWC)[..., 0].astype(np.float64)


def _normalize_contrast(plane_HW: np.ndarray) -> np.ndarray:
    """Subtracts the local mean and divides by the local deviation plus one (MSCN, eq. 1 of the BRISQUE paper)."""
    taps = cv2.getGaussianKernel(_WINDOW_SIZE, _WINDOW_SIGMA)
    mean, square = (
        cv2.sepFilter2D(x, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REPLICATE) for x in (plane_HW, plane_HW**2)
    )
    return (plane_HW - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)


@lru_cache(maxsize=1)
def _moment_ratios() -> np.ndarray:
    """``Γ(2/a)² / (Γ(1/a)·Γ(3/a))``, increasing with the shape ``a``."""
    return gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def _fit_generalized_gaussian(blocks: np.ndarray) -> _GeneralizedGaussian:
    """Fits by moments (N.-E. Lasmar et al., ICIP 2009); the shape is the nearest of a grid of step 0.001."""
    x = blocks.reshape(len(blocks), -1)
    squares = x**2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt((squares * (x < 0)).sum(1) / (x < 0).sum(1))
        right = np.sqrt((squares * (x > 0)).sum(1) / (x > 0).sum(1))
        balance = left / right
        ratio = np.abs(x).mean(1) ** 2 / squares.mean(1)
        ratio = ratio * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    table = _moment_ratios()
    upper = np.searchsorted(table, ratio).clip(1, len(table) - 1)
    nearest = np.where(ratio - table[upper - 1] <= table[upper] - ratio, upper - 1, upper)
    shape = np.where(np.isfinite(ratio), _SHAPES[nearest], np.nan)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return _GeneralizedGaussian(shape, left * scale, right * scale)
