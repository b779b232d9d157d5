"""Spectral distance of two images: how far their azimuthal log power spectra lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.metrics.metric import register_metric
from basicsr.metrics.metric_util import check_pair, describe_protocol, measure_arrays, prepare_batch
from basicsr.spectral.profiles import BAND_LIMITS, Band, compare_profiles, radial_profile
from basicsr.utils.fields import Count


def measure_spectrum(x: Tensor, crop_border: int = 0, test_y_channel: bool = True) -> tuple[Tensor, tuple[int, int]]:
    """The spectra behind it, of images without their references; arguments as for :func:`batch_spectral_distance`.

    Returns:
        Levels ``(B, R)`` in dB, and height and width of what was measured.
    """
    x = prepare_batch(x, crop_border, test_y_channel, dtype=torch.float32)
    return radial_profile(x, "hann", average_channels=True).level, (x.shape[-2], x.shape[-1])


def batch_spectral_distance(
    sr: Tensor, gt: Tensor, crop_border: int = 0, test_y_channel: bool = True, band: Band = "all"
) -> Tensor:
    """RMS difference in dB between the azimuthal log power spectra of each image and its reference.

    Args:
        sr: RGB or gray levels in [0, 255], ``(B, C, H, W)``.
        gt: The references, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma instead of the mean power of all channels.
        band: ``all``, ``low`` (below 0.3 of the corner frequency), ``middle`` (to 0.8) or ``high``.

    Returns:
        ``(B,)`` float64 in dB, 0 for equal images.

    Raises:
        ValueError: If shapes differ, the crop leaves too little for the band, or an option has an unknown value.
    """
    check_pair(sr, gt)
    x, y = (prepare_batch(batch, crop_border, test_y_channel, dtype=torch.float32) for batch in (sr, gt))
    return compare_profiles(x, y).distance(band)


def _describe(options: Mapping[str, Any]) -> str:
    band = options["band"]
    low, high = BAND_LIMITS.get(band, (0.0, 1.0))
    where = "all frequencies" if band == "all" else f"{band} band, {low:g} to {high:g} of the corner frequency"
    what = "RMS difference of azimuthal log power spectra in dB, Hann window"
    return describe_protocol(f"spectral distance ({what}), {where}", options)


@register_metric("lower", _describe, batch_spectral_distance)
def calculate_spectral_distance(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: Count,
    test_y_channel: bool = True,
    band: Band = "all",
    input_order: str = "HWC",
) -> float:
    """:func:`batch_spectral_distance` of two images in [0, 255].

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R.
        img2: The reference, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma instead of the mean power of all channels.
        band: ``all``, ``low``, ``middle`` or ``high``.
        input_order: ``HWC`` or ``CHW``.

    Returns:
        dB, 0 for equal images.

    Raises:
        ValueError: If shapes differ, the crop leaves too little for the band, or an option has an unknown value.
    """
    options: dict[str, Any] = {"crop_border": crop_border, "test_y_channel": test_y_channel, "band": band}
    return measure_arrays(batch_spectral_distance, img, img2, input_order, **options)
