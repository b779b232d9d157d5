"""The views of an image that spectral discriminators see, and the published band mask.

Every function is differentiable twice, takes tensors on any device and works in float32 or better (bfloat16 and half
callers get float32 spectra). What is linear is done on the half spectrum of a real FFT, before the map is completed.

Source: Luo, Zhu, Xu, Liu, "On the Effectiveness of Spectral Discriminators for Perceptual Quality Improvement",
ICCV 2023, section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from basicsr.spectral.fourier import (
    Scale,
    Window,
    check_choice,
    complete_spectrum,
    get_magnitude_spectrum,
    get_phase_spectrum,
    get_power_spectrum,
    get_reduced_spectrum,
    half_spectrum,
    magnitude_of,
    phase_of,
    power_of,
    real_images,
)

__all__ = [
    "get_magnitude_spectrum",
    "get_phase_spectrum",
    "get_power_spectrum",
    "get_reduced_spectrum",
    "mask_out",
    "reduced_spectrum_transform",
    "rgb_to_luma",
    "spectrum_transform",
    "spectrum_transform_after_mean",
]

Reduction = Literal["none", "gray", "mean"]
SpectrumType = Literal["power", "magnitude", "full"]

RANGE_EPS = 1e-5
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def rgb_to_luma(x: Tensor) -> Tensor:
    """BT.601 luma ``0.299 R + 0.587 G + 0.114 B`` of ``(B, 3, H, W)`` as ``(B, 1, H, W)``; one channel passes through.

    Raises:
        ValueError: If the number of channels is neither 1 nor 3.
    """
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise ValueError(f"luma needs 1 or 3 channels, got shape {tuple(x.shape)}")
    red, green, blue = x.unbind(1)
    return (LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue).unsqueeze(1)


def _to_unit_range(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
    return (x - low) / (high - low + RANGE_EPS)


# Patches stay where they are in memory, (B, C, rows, p, cols, p): the FFT runs over dimensions 3 and 5.
_PATCH_DIMS = (3, 5)
_PER_PATCH = (1, 3, 5)
_PER_BATCH = (0, 1, 2, 3, 4, 5)


def _patch_spectra(
    x: Tensor, patch_size: int, reduction: str, window: Window | None, spec_type: str, scale: str
) -> list[tuple[Tensor, int]]:
    """Half spectra of all patches and their sign under reflection: one entry, or magnitude and phase for ``full``."""
    check_choice("reduction", reduction, ("none", "gray", "mean"))
    check_choice("spec_type", spec_type, ("power", "magnitude", "full"))
    x = real_images(x, ndim=4)
    if patch_size < 1 or x.shape[-2] % patch_size or x.shape[-1] % patch_size:
        raise ValueError(
            f"image of {x.shape[-2]}x{x.shape[-1]} pixels is not divisible into patches of {patch_size}; "
            "crop the image or choose another patch_size"
        )
    if reduction == "gray":
        x = rgb_to_luma(x)
    patches = x.unflatten(-1, (-1, patch_size)).unflatten(-3, (-1, patch_size))
    spectrum = half_spectrum(patches, window, dims=_PATCH_DIMS)
    if spec_type == "power":
        return [(power_of(spectrum, scale), 1)]
    if spec_type == "magnitude":
        return [(magnitude_of(spectrum, scale), 1)]
    return [(magnitude_of(spectrum, scale), 1), (phase_of(spectrum), -1)]


def _transform(
    x: Tensor,
    patch_size: int,
    reduction: str,
    window: Window | None,
    fix_normalize: bool,
    spec_type: str,
    scale: str,
    mean_last: bool,
) -> Tensor:
    dims = _PER_PATCH if fix_normalize else _PER_BATCH
    averages = reduction == "mean" and spec_type != "full"
    maps = []
    for half, sign in _patch_spectra(x, patch_size, reduction, window, spec_type, scale):
        if averages and not mean_last:
            half = half.mean(1, keepdim=True)
        full = complete_spectrum(half, patch_size, _PATCH_DIMS, sign)
        # Scaled as a full map although the half has the same extremes: equal minima share the gradient by their number,
        # and a bin that is its own reflection occurs once, all others twice.
        full = _to_unit_range(full, dims)
        if averages and mean_last:
            full = full.mean(1, keepdim=True)
        maps.append(full.flatten(-2).flatten(-3, -2))
    return maps[0] if len(maps) == 1 else torch.cat(maps, 1)


def spectrum_transform(
    x: Tensor,
    patch_size: int,
    reduction: Reduction = "none",
    window: Window | None = None,
    fix_normalize: bool = False,
    spec_type: SpectrumType = "power",
    scale: Scale = "linear",
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

    Returns:
        ``(B, C', H, W)``; ``C'`` is ``C`` for ``none``, else 1. For ``full`` it is ``2·C``, or 2 for ``gray``.

    Raises:
        ValueError: If the shape does not fit or an option has an unknown value.
    """
    return _transform(x, patch_size, reduction, window, fix_normalize, spec_type, scale, mean_last=False)


def spectrum_transform_after_mean(
    x: Tensor,
    patch_size: int,
    reduction: Reduction = "none",
    window: Window | None = None,
    fix_normalize: bool = False,
    spec_type: SpectrumType = "power",
    scale: Scale = "linear",
) -> Tensor:
    """As :func:`spectrum_transform`, but channels are averaged after scaling to [0, 1] instead of before."""
    return _transform(x, patch_size, reduction, window, fix_normalize, spec_type, scale, mean_last=True)


def reduced_spectrum_transform(
    x: Tensor,
    reduction: Reduction = "none",
    window: Window | None = None,
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
    check_choice("reduction", reduction, ("none", "gray", "mean"))
    x = real_images(x, ndim=4)
    if reduction == "gray":
        x = rgb_to_luma(x)
    rings = get_reduced_spectrum(x, window, scale, nyquist="symmetric")
    if reduction == "mean":
        rings = rings.mean(1, keepdim=True)
    rings = _to_unit_range(rings, (1, 2) if fix_normalize else (0, 1, 2)).flatten(1)
    return rings.to(x.dtype) if reduction == "mean" else rings


def mask_out(x: Tensor, r1: float, r2: float, complement: bool = False) -> Tensor:
    """Keeps the ring ``r1·R ≤ r < r2·R`` of a centred spectrum and sets the rest to zero.

    ``r`` is the distance in bins from the geometric centre ``((H−1)/2, (W−1)/2)`` and ``R`` that of the corner. So
    ``r2 = 1`` drops the corners and, for even sides, the centre lies half a bin from the zero frequency, so that
    filtered images are not real. :func:`basicsr.spectral.bands.make_band_masks` has neither defect.

    Args:
        x: Centred spectra, real or complex, ``(..., H, W)``.
        r1: Lower radius, a fraction of ``R``.
        r2: Upper radius, a fraction of ``R``.
        complement: Zero the ring and keep the rest instead.

    Returns:
        The masked tensor, shape and type of ``x``.
    """
    keep = published_band(x.shape[-2], x.shape[-1], r1, r2, x.device)
    return x * (~keep if complement else keep)


def published_band(height: int, width: int, r1: float, r2: float, device: torch.device | None = None) -> Tensor:
    """The boolean mask of :func:`mask_out`, ``(H, W)``, for a centred spectrum."""
    rows = torch.arange(height, dtype=torch.float64, device=device)[:, None] - (height - 1) / 2
    cols = torch.arange(width, dtype=torch.float64, device=device)[None, :] - (width - 1) / 2
    radius = (rows.square() + cols.square()).sqrt()
    corner = radius[0, 0]
    return (radius >= r1 * corner) & (radius < r2 * corner)
