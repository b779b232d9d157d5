"""Gaussian and Poisson noise for batches of tensors, under the names BasicSR publishes.

Images are (B, C, H, W) float in [0, 1], RGB where noise is gray. ``generator`` says where to draw from, on any device;
None means the process-wide stream of the images' device. For the photon count see
:mod:`basicsr.degradation.array_noise`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from basicsr.degradation.array_noise import Range, finish_noisy

Strength = float | torch.Tensor

_LUMA_WEIGHTS = (0.2989, 0.587, 0.114)


def luma_of(img: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) RGB → (B, 1, H, W) luma, weights 0.2989, 0.587, 0.114."""
    red, green, blue = img.split(1, dim=1)
    return _LUMA_WEIGHTS[0] * red + _LUMA_WEIGHTS[1] * green + _LUMA_WEIGHTS[2] * blue


def quantise_levels(img: torch.Tensor) -> torch.Tensor:
    """The nearest 8-bit level, 0 … 255, as integers."""
    return (img * 255.0).round().clamp(0, 255).long()


def photon_exponent(levels: torch.Tensor) -> torch.Tensor:
    """``ceil(log2 n)`` for the number ``n`` of distinct values in each sample.

    Args:
        levels: (B, ...) integers in 0 … 255.

    Returns:
        (B,) integers in 0 … 8.
    """
    flat = levels.flatten(1)
    present = torch.zeros(flat.shape[0], 256, dtype=torch.int32, device=levels.device)
    present.scatter_(1, flat, 1)
    # n - 1/2 = m * 2^e with m in [1/2, 1): e is the exponent, free of the rounding of log2 at powers of two.
    return torch.frexp(present.sum(1) - 0.5).exponent


def _draw_uniform(count: int, like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(count, dtype=like.dtype, device=device, generator=generator).to(like.device)


def _draw_normal(shape: Sequence[int], like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(shape), dtype=like.dtype, device=device, generator=generator).to(like.device)


def _draw_poisson(rates: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    if generator is None or generator.device == rates.device:
        return torch.poisson(rates, generator=generator)
    return torch.poisson(rates.to(generator.device), generator=generator).to(rates.device)


def _per_sample(value: Strength, like: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, 1) from a number or a tensor of B numbers."""
    if isinstance(value, torch.Tensor):
        return value.to(like).reshape(-1, 1, 1, 1)
    return torch.full((1, 1, 1, 1), float(value), dtype=like.dtype, device=like.device)


def _mix_gray(colour: torch.Tensor, gray_noise: Strength, gray: torch.Tensor | None) -> torch.Tensor:
    if gray is None:
        return colour
    share = _per_sample(gray_noise, colour)
    return colour * (1 - share) + gray * share


def _any_gray(gray_noise: Strength) -> bool:
    return bool(gray_noise.any()) if isinstance(gray_noise, torch.Tensor) else gray_noise > 0


def generate_gaussian_noise_pt(
    img: torch.Tensor,
    sigma: Strength = 10,
    gray_noise: Strength = 0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Gaussian noise for a batch.

    Args:
        img: (B, C, H, W); only its shape, type and device are used.
        sigma: Standard deviation in 8-bit units, one number or (B,).
        gray_noise: 1 for samples whose channels share the noise, 0 for others; one number or (B,). As published, all
            gray samples of a batch share one field.
        generator: Where to draw from (on any device).

    Returns:
        (B, C, H, W) noise, to be added.
    """
    strength = _per_sample(sigma, img) / 255.0
    gray = None
    if _any_gray(gray_noise):
        gray = _draw_normal(img.shape[2:4], img, generator) * strength
    colour = _draw_normal(img.shape, img, generator) * strength
    return _mix_gray(colour, gray_noise, gray)


def add_gaussian_noise_pt(
    img: torch.Tensor,
    sigma: Strength = 10,
    gray_noise: Strength = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Adds :func:`generate_gaussian_noise_pt`, then clips to [0, 1] and rounds to 8 bit as asked."""
    return finish_noisy(img + generate_gaussian_noise_pt(img, sigma, gray_noise, generator), clip, rounds)


def _draw_strengths(
    img: torch.Tensor, bounds: Range, gray_prob: float, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A strength from ``bounds`` and a gray decision (0 or 1) for each sample."""
    strength = _draw_uniform(img.shape[0], img, generator) * (bounds[1] - bounds[0]) + bounds[0]
    gray = (_draw_uniform(img.shape[0], img, generator) < gray_prob).to(img.dtype)
    return strength, gray


def random_generate_gaussian_noise_pt(
    img: torch.Tensor, sigma_range: Range = (0, 10), gray_prob: float = 0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Gaussian noise with a random strength (8-bit units) for each sample, gray with probability ``gray_prob``."""
    sigma, gray = _draw_strengths(img, sigma_range, gray_prob, generator)
    return generate_gaussian_noise_pt(img, sigma, gray, generator)


def random_add_gaussian_noise_pt(
    img: torch.Tensor,
    sigma_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Adds :func:`random_generate_gaussian_noise_pt`, then clips and rounds as asked."""
    return finish_noisy(img + random_generate_gaussian_noise_pt(img, sigma_range, gray_prob, generator), clip, rounds)


def _poisson_residual(img: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    levels = quantise_levels(img)
    photons = torch.exp2(photon_exponent(levels).to(img.dtype)).view(-1, 1, 1, 1)
    base = levels.to(img.dtype) / 255.0
    return _draw_poisson(base * photons, generator) / photons - base


def generate_poisson_noise_pt(
    img: torch.Tensor,
    scale: Strength = 1.0,
    gray_noise: Strength = 0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Poisson noise for a batch.

    Args:
        img: (B, C, H, W) in [0, 1]; RGB where noise is gray.
        scale: Factor on the noise, one number or (B,).
        gray_noise: 1 for samples whose channels share the noise of the luma, 0 for others; one number or (B,).
        generator: Where to draw from (on any device).

    Returns:
        (B, C, H, W) noise, to be added.
    """
    gray = _poisson_residual(luma_of(img), generator) if _any_gray(gray_noise) else None
    return _mix_gray(_poisson_residual(img, generator), gray_noise, gray) * _per_sample(scale, img)


def add_poisson_noise_pt(
    img: torch.Tensor,
    scale: Strength = 1.0,
    clip: bool = True,
    rounds: bool = False,
    gray_noise: Strength = 0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Adds :func:`generate_poisson_noise_pt`, then clips to [0, 1] and rounds to 8 bit as asked."""
    return finish_noisy(img + generate_poisson_noise_pt(img, scale, gray_noise, generator), clip, rounds)


def random_generate_poisson_noise_pt(
    img: torch.Tensor, scale_range: Range = (0, 1.0), gray_prob: float = 0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Poisson noise with a random scale for each sample, gray with probability ``gray_prob``."""
    scale, gray = _draw_strengths(img, scale_range, gray_prob, generator)
    return generate_poisson_noise_pt(img, scale, gray, generator)


def random_add_poisson_noise_pt(
    img: torch.Tensor,
    scale_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Adds :func:`random_generate_poisson_noise_pt`, then clips and rounds as asked."""
    return finish_noisy(img + random_generate_poisson_noise_pt(img, scale_range, gray_prob, generator), clip, rounds)
