"""Fourier spectra of images as differentiable functions of tensors.

Every function takes real tensors on any device, is differentiable twice (gradient penalties need that) and works in
float32 or better: bfloat16 and half callers get float32 spectra, also inside autocast. Images are real, so the FFTs are
real FFTs; what a full map needs is completed by Hermitian symmetry at the end, after channel means and normalisation.

Source: Luo, Zhu, Xu, Liu, "On the Effectiveness of Spectral Discriminators for Perceptual Quality Improvement",
ICCV 2023, section 3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from basicsr.spectral.rings import NyquistRule, integer_rings, mean_over_rings

Window = Literal["hann"]
Scale = Literal["linear", "log"]
Reduction = Literal["none", "gray", "mean"]
SpectrumType = Literal["power", "magnitude", "full"]

POWER_EPS = 1e-7
RANGE_EPS = 1e-5
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def _real_input(x: Tensor, ndim: int | None = None) -> Tensor:
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"expected images of shape (B, C, H, W), got {tuple(x.shape)}")
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"expected a stack of images (..., H, W), got shape {tuple(x.shape)}")
    if x.is_complex():
        raise ValueError(f"spectra are taken of real images, got {x.dtype}")
    return x if x.dtype == torch.float64 else x.float()


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")


@lru_cache(maxsize=32)
def _window(name: str, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        sides = [torch.hann_window(size, periodic=False, dtype=dtype, device=device) for size in (height, width)]
        return sides[0][:, None] * sides[1]


def half_spectrum(
    x: Tensor, window: Window | None = None, normalize: bool = False, dims: tuple[int, int] = (-2, -1)
) -> Tensor:
    """The non-redundant half of the 2-D spectrum (columns of frequency ``0 … W // 2``), zero frequency first.

    Args:
        x: Real tensor.
        window: ``hann`` multiplies by a symmetric Hann window first.
        normalize: Divide by ``sqrt(H·W)`` (an orthonormal transform).
        dims: Row and column dimension.

    Returns:
        Complex tensor; the column dimension has ``W // 2 + 1`` entries.
    """
    _one_of("window", window, (None, "hann"))
    x = _real_input(x)
    if window is not None:
        height, width = x.shape[dims[0]], x.shape[dims[1]]
        taper = _window(window, height, width, x.dtype, x.device)
        shape = [1] * x.ndim
        shape[dims[0]], shape[dims[1]] = height, width
        x = x * taper.reshape(shape)
    return torch.fft.rfft2(x, dim=dims, norm="ortho" if normalize else "backward")


def complete_spectrum(half: Tensor, width: int, dims: tuple[int, int] = (-2, -1), sign: int = 1) -> Tensor:
    """The full map, zero frequency at ``(H // 2, W // 2)``, of a quantity known on the half spectrum.

    Args:
        half: Real values on the half spectrum, zero frequency first.
        width: Number of columns of the image.
        dims: Row and column dimension.
        sign: What the quantity is multiplied by at the opposite frequency: 1 for power, -1 for phase.

    Returns:
        The tensor with ``width`` columns.
    """
    rows, cols = dims
    height = half.shape[rows]
    shifted = half.roll(height // 2, rows)
    negative = shifted.narrow(cols, 1, width // 2).flip(dims)
    if height % 2 == 0:
        negative = negative.roll(1, rows)
    if sign < 0:
        negative = -negative
    return torch.cat([negative, shifted.narrow(cols, 0, (width + 1) // 2)], cols)


def _squared(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _decibels(power: Tensor) -> Tensor:
    return 10 * torch.log10(power + POWER_EPS)


def _power(spectrum: Tensor, scale: str) -> Tensor:
    _one_of("scale", scale, ("linear", "log"))
    power = _squared(spectrum)
    return _decibels(power) if scale == "log" else power


def _magnitude(spectrum: Tensor, scale: str) -> Tensor:
    _one_of("scale", scale, ("linear", "log"))
    power = _squared(spectrum)
    # 20·log10 of the regularised magnitude, without the square root.
    return _decibels(power) if scale == "log" else (power + POWER_EPS).sqrt()


def _phase(spectrum: Tensor) -> Tensor:
    return torch.arctan(spectrum.imag / (spectrum.real + POWER_EPS))


def get_power_spectrum(
    x: Tensor, window: Window | None = None, scale: Scale = "linear", normalize: bool = False
) -> Tensor:
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
    return complete_spectrum(_power(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_magnitude_spectrum(
    x: Tensor, window: Window | None = None, scale: Scale = "linear", normalize: bool = False
) -> Tensor:
    """Magnitude ``sqrt(|F|² + 1e-7)`` with the zero frequency centred (``log``: ``20·log10`` of it).

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(_magnitude(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_phase_spectrum(x: Tensor, window: Window | None = None) -> Tensor:
    """Phase ``arctan(Im F / (Re F + 1e-7))``, folded to ±π/2, with the zero frequency centred.

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(_phase(half_spectrum(x, window)), x.shape[-1], sign=-1)


def get_reduced_spectrum(
    x: Tensor,
    window: Window | None = None,
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
    _one_of("nyquist", nyquist, ("symmetric", "published"))
    power = _power(half_spectrum(x, window, normalize), scale)
    return mean_over_rings(power, integer_rings(x.shape[-2], x.shape[-1], nyquist, x.device))


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
    _one_of("reduction", reduction, ("none", "gray", "mean"))
    _one_of("spec_type", spec_type, ("power", "magnitude", "full"))
    x = _real_input(x, ndim=4)
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
        return [(_power(spectrum, scale), 1)]
    if spec_type == "magnitude":
        return [(_magnitude(spectrum, scale), 1)]
    return [(_magnitude(spectrum, scale), 1), (_phase(spectrum), -1)]


def _assemble(half: Tensor, patch_size: int, sign: int = 1) -> Tensor:
    return complete_spectrum(half, patch_size, _PATCH_DIMS, sign).flatten(-2).flatten(-3, -2)


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
    parts = _patch_spectra(x, patch_size, reduction, window, spec_type, scale)
    dims = _PER_PATCH if fix_normalize else _PER_BATCH
    if spec_type == "full":
        maps = []
        for part, sign in parts:
            full = complete_spectrum(part, patch_size, _PATCH_DIMS, sign)
            maps.append(_to_unit_range(full, dims).flatten(-2).flatten(-3, -2))
        return torch.cat(maps, 1)
    half = parts[0][0]
    if reduction == "mean" and not mean_last:
        half = half.mean(1, keepdim=True)
    # Every value of the full map is in the half map, so extremes and scaling may be taken before completion.
    half = _to_unit_range(half, dims)
    if reduction == "mean" and mean_last:
        half = half.mean(1, keepdim=True)
    return _assemble(half, patch_size)


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
        ``(B, C', H, W)`` with ``C'`` = ``C``, 1 for ``gray`` and ``mean``, twice that for ``full`` (where ``mean`` keeps
        ``C``).

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
    _one_of("reduction", reduction, ("none", "gray", "mean"))
    x = _real_input(x, ndim=4)
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
    ``r2 = 1`` drops the corners and, for even sides, the centre lies half a bin from the zero frequency; masks without
    these two defects are made by :func:`basicsr.spectral.profiles.band_mask`.

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
