"""Spectral distance of two images: how far their azimuthal log power spectra lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.metrics.metric_info import register_metric
from basicsr.metrics.metric_util import array_to_batch, check_pair, crop_batch, describe_input, to_luma
from basicsr.spectral.profiles import BAND_LIMITS, Band, ProfilePair, compare_profiles, mean_profile


def _describe(options: Mapping[str, Any]) -> str:
    band = options["band"]
    low, high = BAND_LIMITS.get(band, (0.0, 1.0))
    where = "all frequencies" if band == "all" else f"{band} band, {low:g} to {high:g} of the corner frequency"
    return (
        f"spectral distance (RMS difference of azimuthal log power spectra in dB, Hann window), {where}, "
        f"{describe_input(options)}"
    )


@register_metric("lower", _describe)
def calculate_spectral_distance(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    test_y_channel: bool = True,
    band: Band = "all",
    input_order: str = "HWC",
) -> float:
    """RMS difference in dB between the azimuthal log power spectra of two images in [0, 255].

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R.
        img2: The reference, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma instead of the mean power of all channels.
        band: ``all``, ``low`` (below 0.3 of the corner frequency), ``middle`` (to 0.8) or ``high``.
        input_order: ``HWC`` or ``CHW``.

    Returns:
        dB, 0 for equal images.

    Raises:
        ValueError: If shapes differ, the crop leaves too little for the band, or an option has an unknown value.
    """
    return float(measure_profiles(img, img2, crop_border, test_y_channel, input_order).distance(band))


def measure_profiles(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    test_y_channel: bool = True,
    input_order: str = "HWC",
    device: torch.device | str = "cpu",
) -> ProfilePair:
    """The spectra that :func:`calculate_spectral_distance` compares, for whoever wants more of them than one distance.

    Args:
        img: As there, like the other arguments.
        img2: The reference.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma.
        input_order: ``HWC`` or ``CHW``.
        device: Where to compute, and where the result lies.
    """
    check_pair(np.shape(img), np.shape(img2))
    sr, gt = (array_to_batch(image, input_order).to(device) for image in (img, img2))
    return _profiles(sr, gt, crop_border, test_y_channel and sr.shape[1] == 3)


def measure_profile(
    img: np.ndarray,
    crop_border: int,
    test_y_channel: bool = True,
    input_order: str = "HWC",
    device: torch.device | str = "cpu",
) -> tuple[Tensor, tuple[int, int]]:
    """The spectrum of an image that has no reference; arguments as for :func:`measure_profiles`.

    Returns:
        Levels ``(1, R)`` in dB, and height and width of what was measured.
    """
    x = array_to_batch(img, input_order).to(device)
    x = _unit_range(x, crop_border, test_y_channel and x.shape[1] == 3)
    return mean_profile(x, "hann").level, (x.shape[-2], x.shape[-1])


def measure_spectral_distance(
    sr: Tensor, gt: Tensor, crop_border: int = 0, test_y_channel: bool = True, band: Band = "all"
) -> Tensor:
    """:func:`calculate_spectral_distance` of whole batches, with the numbers of images saved with 8 bit.

    Args:
        sr: RGB or gray, ``(B, C, H, W)``; floats in [0, 1] are clamped and rounded to 8 bit, uint8 is taken as it is.
        gt: The references, same shape.
        crop_border: Pixels cut off each side.
        test_y_channel: Measure the BT.601 luma.
        band: As for :func:`calculate_spectral_distance`.

    Returns:
        ``(B,)`` float64 in dB.
    """
    check_pair(sr.shape, gt.shape)
    levels = [x if x.dtype == torch.uint8 else x.float().clamp(0, 1).mul(255).round() for x in (sr, gt)]
    return _profiles(levels[0], levels[1], crop_border, test_y_channel).distance(band)


def _profiles(sr: Tensor, gt: Tensor, crop_border: int, luma: bool) -> ProfilePair:
    return compare_profiles(_unit_range(sr, crop_border, luma), _unit_range(gt, crop_border, luma))


def _unit_range(x: Tensor, crop_border: int, luma: bool) -> Tensor:
    x = crop_batch(x, crop_border).float() / 255
    return to_luma(x, 1.0) if luma else x
