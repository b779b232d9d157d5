"""Power, magnitude, phase and ring-averaged spectra of image stacks.

Every function takes real tensors on any device, is differentiable twice (gradient penalties need that) and works in
float32 or better: bfloat16 and half callers get float32 spectra, also inside autocast. Images are real, so the FFTs are
real FFTs; the redundant half of a map is completed by Hermitian symmetry.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from basicsr.spectral.rings import NyquistRule, integer_rings, mean_over_rings

Window = Literal["hann"]
Scale = Literal["linear", "log"]

POWER_EPS = 1e-7


def real_images(x: Tensor, ndim: int | None = None) -> Tensor:
    """Checks that ``x`` is a stack of real images and returns it as float32, or float64 if it is that.

    Raises:
        ValueError: If the shape is not ``(..., H, W)`` (``(B, C, H, W)`` for ``ndim`` 4) or the type is complex.
    """
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"expected images of shape (B, C, H, W), got {tuple(x.shape)}")
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"expected a stack of images (..., H, W), got shape {tuple(x.shape)}")
    if x.is_complex():
        raise ValueError(f"spectra are taken of real images, got {x.dtype}")
    return x if x.dtype == torch.float64 else x.float()


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raises a ``ValueError`` that names option, value and choices unless ``value`` is allowed."""
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
    check_choice("window", window, (None, "hann"))
    x = real_images(x)
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


def power_of(spectrum: Tensor, scale: str) -> Tensor:
    check_choice("scale", scale, ("linear", "log"))
    power = _squared(spectrum)
    return _decibels(power) if scale == "log" else power


def magnitude_of(spectrum: Tensor, scale: str) -> Tensor:
    check_choice("scale", scale, ("linear", "log"))
    power = _squared(spectrum)
    # 20·log10 of the regularised magnitude, without the square root.
    return _decibels(power) if scale == "log" else (power + POWER_EPS).sqrt()


def phase_of(spectrum: Tensor) -> Tensor:
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
    return complete_spectrum(power_of(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_magnitude_spectrum(
    x: Tensor, window: Window | None = None, scale: Scale = "linear", normalize: bool = False
) -> Tensor:
    """Magnitude ``sqrt(|F|² + 1e-7)`` with the zero frequency centred (``log``: ``20·log10`` of it).

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(magnitude_of(half_spectrum(x, window, normalize), scale), x.shape[-1])


def get_phase_spectrum(x: Tensor, window: Window | None = None) -> Tensor:
    """Phase ``arctan(Im F / (Re F + 1e-7))``, folded to ±π/2, with the zero frequency centred.

    Arguments, shapes and errors are those of :func:`get_power_spectrum`.
    """
    return complete_spectrum(phase_of(half_spectrum(x, window)), x.shape[-1], sign=-1)


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
    check_choice("nyquist", nyquist, ("symmetric", "published"))
    power = power_of(half_spectrum(x, window, normalize), scale)
    return mean_over_rings(power, integer_rings(x.shape[-2], x.shape[-1], nyquist, x.device))
