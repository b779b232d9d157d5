"""Radial profiles of the power spectrum, and the spectral distance between two images.

Frequencies are normalised: 0 is the mean of the image, 1 the corner of the spectrum (``sqrt(1/2)`` cycles per pixel),
whatever the size or aspect of the image; a horizontal or vertical pattern that alternates every pixel lies at 0.707.
Levels are power spectral densities in decibels of an image whose white is 1: white noise of standard deviation σ has
the flat profile ``20·log10(σ)`` at every image size, with and without a window.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from basicsr.spectral import BORDERS
from basicsr.spectral.fourier import Window, half_spectrum, power_of, to_decibels
from basicsr.spectral.rings import accumulation_dtype, frequency_rings, mean_over_rings
from basicsr.utils.errors import check_choice

Band = Literal["all", "low", "middle", "high"]

BAND_LIMITS = MappingProxyType(
    {"all": (0.0, 1.0), "low": (0.0, BORDERS[0]), "middle": BORDERS, "high": (BORDERS[1], 1.0)}
)
"""Bands of the paper's Table 1 in normalised frequency: half-open, but the band that ends at 1 includes it."""

LEVEL_FLOOR = 1e-10
"""Added to powers before the logarithm (-100 dB); rounding to 8 bit alone leaves about -59 dB."""


class RadialProfile(NamedTuple):
    """A power spectrum averaged over all orientations.

    Attributes:
        frequency: ``(R,)`` float64, mean normalised frequency of each ring, increasing from 0 to at most 1.
        level: ``(..., R)`` float64, mean power of each ring in dB.
    """

    frequency: Tensor
    level: Tensor


def radial_profile(x: Tensor, window: Window = None, average_channels: bool = False) -> RadialProfile:
    """Azimuthally averaged power spectrum in dB against normalised frequency.

    Rings are as wide as one frequency step of the shorter side. The profile is a power spectral density: power per
    pixel.

    Args:
        x: Images with white = 1, ``(..., H, W)``; each channel has its own profile.
        window: ``hann`` suppresses what the jump between opposite borders adds to every frequency; the window's own
            loss of power is compensated.
        average_channels: Average powers over dimension -3 before the logarithm.

    Returns:
        Frequencies ``(R,)`` and levels ``(..., R)``.

    Raises:
        ValueError: If the input is not a stack of real images, or is too small for a window (sides below 3 pixels).
    """
    half = power_of(half_spectrum(x, window, normalize=True), "linear")
    height, width = x.shape[-2:]
    kept = 1.0
    if window == "hann":
        if min(height, width) < 3:
            raise ValueError(f"a Hann window needs sides of 3 pixels or more, got {height}x{width}")
        # The squares of a symmetric Hann window of n points sum to 3(n - 1)/8.
        kept = math.prod(3 * (side - 1) / (8 * side) for side in (height, width))
    layout = frequency_rings(height, width, x.device)
    power = mean_over_rings(half, layout) / kept
    return RadialProfile(layout.radius, to_decibels(power.mean(-2) if average_channels else power, LEVEL_FLOOR))


class ProfilePair(NamedTuple):
    """The profiles of images and of their references, from which distances in any band follow without another FFT.

    Attributes:
        level: ``(B, R)`` float64, mean power of each ring of the images in dB.
        reference: The same of the references.
        size: Height and width of the images.
    """

    level: Tensor
    reference: Tensor
    size: tuple[int, int]

    def distance(self, band: Band | tuple[float, float] = "all") -> Tensor:
        """RMS difference in dB between the azimuthal log power spectra of images and references, ``(B,)`` float64.

        The mean square runs over the rings of the band, which are evenly spaced in frequency. 0 for equal images,
        ``20·|log10 k|`` for an image ``k`` times as bright.

        Args:
            band: ``all``, ``low``, ``middle``, ``high``, or two normalised frequencies.

        Raises:
            ValueError: If the band is unknown, or an image is too small for it.
        """
        difference = self.level - self.reference
        return difference[..., select_band(*self.size, band)].square().mean(-1).sqrt()


def select_band(height: int, width: int, band: Band | tuple[float, float]) -> slice:
    """Which rings of the profile of an image of this size lie in a band.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        band: ``all``, ``low``, ``middle``, ``high``, or two normalised frequencies; half-open, closed if it ends at 1.

    Raises:
        ValueError: If the band is unknown or empty, or no ring of so small an image lies in it.
    """
    if isinstance(band, str):
        check_choice("band", band, BAND_LIMITS)
        band = BAND_LIMITS[band]
    low, high = map(float, band)
    if not 0 <= low < high <= 1:
        raise ValueError(f"a band needs two increasing frequencies in [0, 1], got {low} and {high}")
    first, last = np.searchsorted(_cpu_frequencies(height, width), (low, high if high < 1 else 2.0)).tolist()
    if first == last:
        raise ValueError(f"an image of {height}x{width} pixels has no frequency in the band [{low}, {high})")
    return slice(first, last)


def compare_profiles(sr: Tensor, gt: Tensor, window: Window = "hann") -> ProfilePair:
    """The profiles behind the spectral distance of two images, :meth:`ProfilePair.distance`.

    Args:
        sr: Images to be judged, white = 1, ``(B, C, H, W)``; powers are averaged over channels.
        gt: Their references, same shape.
        window: Taken before the FFT; without one, the jump at the borders hides what is missing at high frequency.

    Raises:
        ValueError: If shapes differ or an image is too small for the window.
    """
    if sr.ndim != 4 or sr.shape != gt.shape:
        raise ValueError(f"expected two batches (B, C, H, W) of one shape, got {tuple(sr.shape)} and {tuple(gt.shape)}")
    levels = [radial_profile(images, window, average_channels=True).level for images in (sr, gt)]
    return ProfilePair(levels[0], levels[1], (sr.shape[-2], sr.shape[-1]))


def resample_profile(level: Tensor, size: tuple[int, int], num_points: int) -> Tensor:
    """Puts a profile on bins of equal width in normalised frequency, so that images of all sizes can be averaged.

    A bin's level is the mean over the rings that it overlaps, weighted by the overlap. The mean of the image (ring 0)
    is left out.

    Args:
        level: ``(..., R)``, in dB.
        size: Height and width of the images.
        num_points: Number of bins P; bin p reaches from p/P to (p + 1)/P.

    Returns:
        ``(..., P)`` of the same type.
    """
    return level @ _overlaps(level.shape[-1], min(size), num_points, level.device).to(level.dtype)


@lru_cache(maxsize=32)
def _overlaps(num_rings: int, side: int, num_points: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        rings = torch.arange(num_rings + 1, dtype=torch.float64) * (2**0.5 / side)
        rings[-1] = 1.0
        if num_rings > 1:
            rings[1] = 0.0
        bins = torch.arange(num_points + 1, dtype=torch.float64) / num_points
        upper = torch.minimum(rings[1:, None], bins[1:])
        overlap = (upper - torch.maximum(rings[:-1, None], bins[:-1])).clamp(min=0)
        return (overlap / overlap.sum(0)).to(device, accumulation_dtype(device))


@lru_cache(maxsize=64)
def _cpu_frequencies(height: int, width: int) -> np.ndarray:
    return frequency_rings(height, width, torch.device("cpu")).radius.numpy()
