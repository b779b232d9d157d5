"""Fourier transforms of image stacks, on the half spectrum of a real FFT.

Every function takes real tensors on any device, is differentiable twice (gradient penalties need that) and works in
float32 or better: bfloat16 and half callers get float32 spectra, also inside autocast. Images are real, so the FFTs are
real FFTs; the redundant half of a map is completed by Hermitian symmetry.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from basicsr.utils.errors import check_choice

Window = Literal["hann"] | None
Scale = Literal["linear", "log"]

POWER_EPS = 1e-7


def real_images(x: Tensor) -> Tensor:
    """Checks that ``x`` is a stack of real images and returns it as float32, or float64 if it is that.

    Raises:
        ValueError: If the shape is not ``(..., H, W)`` or the type is complex.
    """
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"expected a stack of images (..., H, W), got shape {tuple(x.shape)}")
    if x.is_complex():
        raise ValueError(f"spectra are taken of real images, got {x.dtype}")
    return x if x.dtype == torch.float64 else x.float()


@lru_cache(maxsize=32)
def _window(name: str, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        sides = [torch.hann_window(size, periodic=False, dtype=dtype, device=device) for size in (height, width)]
        return sides[0][:, None] * sides[1]


def half_spectrum(x: Tensor, window: Window = None, normalize: bool = False, rows: int = -2) -> Tensor:
    """The non-redundant half of the 2-D spectrum (columns of frequency ``0 … W // 2``), zero frequency first.

    Args:
        x: Real tensor; columns are its last dimension.
        window: ``hann`` multiplies by a symmetric Hann window first.
        normalize: Divide by ``sqrt(H·W)`` (an orthonormal transform).
        rows: Dimension of the rows, counted from the end.

    Returns:
        Complex tensor; the column dimension has ``W // 2 + 1`` entries.
    """
    check_choice("window", window, (None, "hann"))
    x = real_images(x)
    if window is not None:
        taper = _window(window, x.shape[rows], x.shape[-1], x.dtype, x.device)
        x = x * taper.unflatten(0, (-1, *[1] * (-2 - rows)))
    return _RealFFT.apply(x, rows, "ortho" if normalize else "backward")


class _RealFFT(torch.autograd.Function):
    """``torch.fft.rfft2`` over ``rows`` and the last dimension, whose backward pass is a real FFT as well.

    PyTorch's own pads gradients to the full complex spectrum and takes the real part of a complex FFT of it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int, norm: str) -> Tensor:
        ctx.shape, ctx.rows, ctx.norm = x.shape, rows, norm
        return torch.fft.rfft2(x, dim=(rows, -1), norm=norm)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        # The adjoint without a factor. An inverse real FFT takes columns as often as they occur.
        height, width = ctx.shape[ctx.rows], ctx.shape[-1]
        slopes = grads[0] * 0.5
        slopes[..., _single_columns(width)].mul_(2)
        norm = "ortho" if ctx.norm == "ortho" else "forward"
        return torch.fft.irfft2(slopes, (height, width), (ctx.rows, -1), norm), None, None


def _single_columns(width: int) -> slice:
    """Which columns of a half spectrum occur once in the full one of this width; the others occur twice."""
    return slice(None, None, max(1, width // 2)) if width % 2 == 0 else slice(1)


def complete_spectrum(half: Tensor, width: int, rows: int = -2, sign: int = 1) -> Tensor:
    """The full map, zero frequency at ``(H // 2, W // 2)``, of a quantity known on the half spectrum.

    Args:
        half: Real values on the half spectrum, zero frequency first.
        width: Number of columns of the image.
        rows: Dimension of the rows, counted from the end; columns are the last.
        sign: What the quantity is multiplied by at the opposite frequency: 1 for power, -1 for phase.

    Returns:
        The tensor with ``width`` columns.
    """
    height = half.shape[rows]
    shifted = half.roll(height // 2, rows)
    # Split, not cut out, lest the backward pass fills the rest of every part with zeros.
    zero, middle, last = shifted.split([1, (width - 1) // 2, 1 - width % 2], -1)
    negative = torch.cat([middle, last], -1).flip(rows, -1)
    if height % 2 == 0:
        negative = negative.roll(1, rows)
    negative = -negative if sign < 0 else negative
    return torch.cat([negative, zero, middle], -1)


def extremes_of(half: Tensor, width: int, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Least and largest value over dimensions, which stay with one entry, of a map that is known on the half spectrum.

    Gradients are those of ``amin`` and ``amax`` of the full map: equal extremes share them by their number, and most
    bins occur twice there.

    Args:
        half: Real values on the half spectrum, equal at opposite frequencies.
        width: Number of columns of the image.
        dims: The dimensions; the last is among them.
    """
    low, high = _Extremes.apply(half, width, dims)
    return low, high


class _Extremes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, half: Tensor, width: int, dims: tuple[int, ...]) -> Tensor:
        extremes = torch.stack([half.amin(dims, keepdim=True), half.amax(dims, keepdim=True)])
        ctx.width, ctx.dims = width, [dim + 1 for dim in dims]
        ctx.save_for_backward(half, extremes)
        return extremes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        half, extremes = ctx.saved_tensors
        found = (half == extremes) * 2.0
        found[..., _single_columns(ctx.width)].mul_(0.5)
        return (found * (grads[0] / found.sum(ctx.dims, keepdim=True))).sum(0), None, None


def to_decibels(power: Tensor, floor: float = POWER_EPS) -> Tensor:
    """``10·log10(power + floor)``."""
    return 10 * torch.log10(power + floor)


class _Power(torch.autograd.Function):
    """Squared magnitude, whose backward pass makes no complex tensor for each of its parts."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor) -> Tensor:
        ctx.save_for_backward(spectrum)
        return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return ctx.saved_tensors[0] * (2 * grads[0])


def power_of(spectrum: Tensor, scale: str) -> Tensor:
    """Squared magnitude of a complex spectrum, in decibels for the scale ``log``."""
    check_choice("scale", scale, ("linear", "log"))
    power = _Power.apply(spectrum)
    return to_decibels(power) if scale == "log" else power


def magnitude_of(spectrum: Tensor, scale: str) -> Tensor:
    """Regularised magnitude ``sqrt(|F|² + 1e-7)`` of a complex spectrum; its decibels are those of the power."""
    power = power_of(spectrum, scale)
    return power if scale == "log" else (power + POWER_EPS).sqrt()


def phase_of(spectrum: Tensor) -> Tensor:
    """``arctan(Im F / (Re F + 1e-7))`` of a complex spectrum, folded to ±π/2."""
    return torch.arctan(spectrum.imag / (spectrum.real + POWER_EPS))
