"""Power, magnitude, phase and ring-averaged spectra, and the views of an image that spectral discriminators see.

Every function is differentiable twice, takes tensors on any device and works in float32 or better (bfloat16 and half
callers get float32 spectra). What is linear is done on the half spectrum of a real FFT, before the map is completed.

Source: Luo, Zhu, Xu, Liu, "On the Effectiveness of Spectral Discriminators for Perceptual Quality Improvement",
ICCV 2023, section 3.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from basicsr.spectral.fourier import (
    Scale,
    Window,
    complete_spectrum,
    extremes_of,
    half_spectrum,
    magnitude_of,
    phase_of,
    power_of,
    real_images,
)
from basicsr.spectral.rings import NyquistRule, integer_rings, mean_over_rings
from basicsr.utils.errors import check_choice

Reduction = Literal["none", "gray", "mean"]
SpectrumType = Literal["power", "magnitude", "full"]

# PyTorch 2.4 does not trace what makes these.
_NYQUIST_RULES, _REDUCTIONS, _SPECTRUM_TYPES = get_args(NyquistRule), get_args(Reduction), get_args(SpectrumType)

RANGE_EPS = 1e-5
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def get_power_spectrum(x: Tensor, window: Window = None, scale: Scale = "linear", normalize: bool = False) -> Tensor:
    """Power ``|F|²`` with the zero frequency centred.

    Args:
        x: Images, ``(..., H, W)``.
        window: ``hann`` multiplies by a symmetric Hann window first.
        scale: ``log`` gives ``10·log10(|F|² + 1e-7)`` decibels.
        normalize: Use the orthonormal transform, i.e. divide the power by ``H·W``.

    Returns:
        ``(..., H, W)``, float32 or the float64 of the input.

    Raises:
        ValueError: If the input is not a stack of real images or an option has an unknown value.
    """
    return complete_spectrum(power_of(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_magnitude_spectrum(
    x: Tensor, window: Window = None, scale: Scale = "linear", normalize: bool = False
) -> Tensor:
    """Magnitude ``sqrt(|F|² + 1e-7)`` with the zero frequency centred (``log``: ``20·log10`` of it).

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(magnitude_of(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_phase_spectrum(x: Tensor, window: Window = None) -> Tensor:
    """Phase ``arctan(Im F / (Re F + 1e-7))``, folded to ±π/2, with the zero frequency centred.

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(phase_of(half_spectrum(x, window)), x.shape[-1], sign=-1)


def get_reduced_spectrum(
    x: Tensor,
    window: Window = None,
    scale: Scale = "linear",
    normalize: bool = False,
    nyquist: NyquistRule = "published",
) -> Tensor:
    """Power averaged over rings of integer radius (floor) around the zero frequency.

    Even sides first get their Nyquist row or column on both ends, so that the map is odd-sized and centred.

    Args:
        x: Images, ``(..., H, W)``.
        window: ``hann`` multiplies by a symmetric Hann window first.
        scale: ``log`` averages decibels instead of power.
        normalize: Use the orthonormal transform, i.e. divide the power by ``H·W``.
        nyquist: ``symmetric`` treats every size alike. ``published`` differs from it only where both sides are even and
            unequal: there the published code duplicates the wrong column, and old numbers need that. Everything in this
            package that builds on rings uses ``symmetric``.

    Returns:
        ``(..., floor(hypot(H // 2, W // 2)) + 1)``, float64.

    Raises:
        ValueError: If the input is not a stack of real images or an option has an unknown value.
    """
    check_choice("nyquist", nyquist, _NYQUIST_RULES)
    power = power_of(half_spectrum(x, window, normalize), scale)
    return mean_over_rings(power, integer_rings(x.shape[-2], x.shape[-1], nyquist, x.device))


def rgb_to_luma(x: Tensor, weights: tuple[float, float, float] = LUMA_WEIGHTS, black: float = 0.0) -> Tensor:
    """BT.601 luma ``0.299 R + 0.587 G + 0.114 B`` of ``(B, 3, H, W)`` as ``(B, 1, H, W)``; one channel passes through.

    Args:
        x: RGB or gray, ``(B, C, H, W)``.
        weights: Those of R, G and B; by default of the full range.
        black: The luma of black.

    Raises:
        ValueError: If the number of channels is neither 1 nor 3.
    """
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise ValueError(f"luma needs 1 or 3 channels, got shape {tuple(x.shape)}")
    red, green, blue = x.unbind(1)
    return (weights[0] * red + weights[1] * green + weights[2] * blue + black).unsqueeze(1)


def _prepare_images(x: Tensor, reduction: Reduction) -> Tensor:
    """Checks a batch (B, C, H, W), of which ``gray`` leaves the luma; float32 or wider."""
    check_choice("reduction", reduction, _REDUCTIONS)
    if x.ndim != 4:
        raise ValueError(f"expected images of shape (B, C, H, W), got {tuple(x.shape)}")
    x = real_images(x)
    return rgb_to_luma(x) if reduction == "gray" else x


def _to_unit_range(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return _rescale(x, x.amin(dims, keepdim=True), x.amax(dims, keepdim=True))


def _rescale(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (x - low) * (1 / (high - low + RANGE_EPS))


def spectrum_transform(
    x: Tensor,
    patch_size: int,
    reduction: Reduction = "none",
    window: Window = None,
    fix_normalize: bool = False,
    spec_type: SpectrumType = "power",
    scale: Scale = "linear",
    average_last: bool = False,
) -> Tensor:
    """Replaces every patch of an image by its centred spectrum, scaled to [0, 1].

    Args:
        x: Images, ``(B, C, H, W)``; ``H`` and ``W`` divisible by ``patch_size``.
        patch_size: Side of a patch in pixels.
        reduction: ``gray`` takes the luma before the FFT, ``mean`` the channel mean after it (not for ``full``).
        window: ``hann`` multiplies each patch by a symmetric Hann window first.
        fix_normalize: Scale by the minimum and maximum of each patch (over its channels). ``False`` takes them over the
            whole batch, as the published recipes do: an image's result then depends on its batch.
        spec_type: ``power``, ``magnitude``, or ``full`` (magnitude, then phase, on channels; each scaled alone).
        scale: ``log`` takes decibels of power or magnitude.
        average_last: Average channels (``mean``) after scaling to [0, 1] instead of before.

    Returns:
        ``(B, C', H, W)``; ``C'`` is ``C`` for ``none``, else 1. For ``full`` it is ``2·C``, or 2 for ``gray``.

    Raises:
        ValueError: If the shape does not fit or an option has an unknown value.
    """
    x = _prepare_images(x, reduction)
    check_choice("spec_type", spec_type, _SPECTRUM_TYPES)
    if patch_size < 1 or x.shape[-2] % patch_size or x.shape[-1] % patch_size:
        raise ValueError(
            f"image of {x.shape[-2]}x{x.shape[-1]} pixels is not divisible into patches of {patch_size}; "
            "crop the image or choose another patch_size"
        )
    # Patches stay where they are in memory, (B, C, rows, p, cols, p): the FFT runs over dimensions -3 and -1.
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // patch_size, patch_size, width // patch_size, patch_size)
    spectrum = half_spectrum(patches, window, rows=-3)
    # What is seen of the half spectrum, with its sign under reflection.
    views = [(power_of(spectrum, scale) if spec_type == "power" else magnitude_of(spectrum, scale), 1)]
    if spec_type == "full":
        views.append((phase_of(spectrum), -1))
    averages = reduction == "mean" and spec_type != "full"
    maps = []
    for half, sign in views:
        if averages and not average_last:
            half = half.mean(1, keepdim=True)
        dims = (1, 3, 5) if fix_normalize else (0, 1, 2, 3, 4, 5)
        if sign > 0:
            low, high = extremes_of(half, patch_size, dims)
            full = complete_spectrum(_rescale(half, low, high), patch_size, -3)
        else:
            full = _to_unit_range(complete_spectrum(half, patch_size, -3, sign), dims)
        if averages and average_last:
            full = full.mean(1, keepdim=True)
        maps.append(full.reshape(batch, -1, height, width))
    return maps[0] if len(maps) == 1 else torch.cat(maps, 1)


spectrum_transform_after_mean = partial(spectrum_transform, average_last=True)
"""As :func:`spectrum_transform`, but channels are averaged after scaling to [0, 1] instead of before."""


def reduced_spectrum_transform(
    x: Tensor,
    reduction: Reduction = "none",
    window: Window = None,
    fix_normalize: bool = False,
    scale: Scale = "linear",
) -> Tensor:
    """Ring-averaged power spectra of whole images, scaled to [0, 1] and flattened.

    Args:
        x: Images, ``(B, C, H, W)``.
        reduction: ``gray`` takes the luma before the FFT, ``mean`` the mean over channels after ring averaging.
        window: ``hann`` multiplies by a symmetric Hann window first.
        fix_normalize: Scale by the minimum and maximum of each image instead of the whole batch.
        scale: ``log`` averages decibels instead of power.

    Returns:
        ``(B, C'·rings)``; float64, for ``mean`` the floating type of the spectra (float32 unless ``x`` is float64).

    Raises:
        ValueError: If the shape does not fit or an option has an unknown value.
    """
    x = _prepare_images(x, reduction)
    rings = get_reduced_spectrum(x, window, scale, nyquist="symmetric")
    if reduction == "mean":
        rings = rings.mean(1, keepdim=True)
    rings = _to_unit_range(rings, (1, 2) if fix_normalize else (0, 1, 2)).flatten(1)
    return rings.to(x.dtype) if reduction == "mean" else rings
