"""Gaussian noise, Poisson noise and JPEG for arrays and batches of tensors, under the names BasicSR publishes.

Arrays are (H, W, C) float in [0, 1], BGR where noise is gray; tensors (B, C, H, W), RGB where noise is gray. ``rng`` or
``generator`` says where to draw from; None means NumPy's process-wide stream, or torch's on the images' device. A
``generator`` may be of another device than the images.

Poisson noise counts photons: an image with ``n`` distinct 8-bit values is taken for one of ``2^ceil(log2 n)`` photons
at full white. Adding clips to [0, 1] and rounds to 8 bit as asked. ``random_…`` draws the strength uniformly from a
range and makes the noise gray with a probability, for each image of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from basicsr.degradation.noise_fields import luma_of, photon_exponent, quantise_levels
from basicsr.utils.batch import send_tensor
from basicsr.utils.fields import Range

Strength = float | Tensor
Array = np.ndarray
Rng = np.random.Generator | None
Source = torch.Generator | None
Image = TypeVar("Image", Array, Tensor)


def _finish(out: Image, clip: bool, rounds: bool) -> Image:
    if rounds:
        out = (out * 255.0).round() / 255.0
    return out.clip(0, 1) if clip else out


# Arrays.


def _source(rng: Rng) -> Any:
    return np.random if rng is None else rng


def _draw_for_array(bounds: Range, gray_prob: float, rng: Rng) -> tuple[float, bool]:
    return _source(rng).uniform(bounds[0], bounds[1]), bool(_source(rng).uniform() < gray_prob)


def generate_gaussian_noise(img: Array, sigma: float = 10, gray_noise: bool = False, rng: Rng = None) -> Array:
    """Gaussian noise for an image.

    Args:
        img: (H, W, C); only its shape is used.
        sigma: Standard deviation in 8-bit units.
        gray_noise: One field for all channels (three of them).
        rng: Where to draw from.

    Returns:
        (H, W, C) float32 noise, to be added.
    """
    field = _source(rng).standard_normal(img.shape[:2] if gray_noise else img.shape).astype(np.float32)
    noise = field * np.float32(sigma) / np.float32(255)
    return np.repeat(noise[:, :, None], 3, axis=2) if gray_noise else noise


def add_gaussian_noise(
    img: Array, sigma: float = 10, clip: bool = True, rounds: bool = False, gray_noise: bool = False, rng: Rng = None
) -> Array:
    """Adds :func:`generate_gaussian_noise`."""
    return _finish(img + generate_gaussian_noise(img, sigma, gray_noise, rng), clip, rounds)


def random_generate_gaussian_noise(
    img: Array, sigma_range: Range = (0, 10), gray_prob: float = 0, rng: Rng = None
) -> Array:
    """Gaussian noise of random strength (8-bit units)."""
    return generate_gaussian_noise(img, *_draw_for_array(sigma_range, gray_prob, rng), rng)


def random_add_gaussian_noise(
    img: Array,
    sigma_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: Rng = None,
) -> Array:
    """Adds :func:`random_generate_gaussian_noise`."""
    return _finish(img + random_generate_gaussian_noise(img, sigma_range, gray_prob, rng), clip, rounds)


def generate_poisson_noise(img: Array, scale: float = 1.0, gray_noise: bool = False, rng: Rng = None) -> Array:
    """Poisson noise for an image.

    Args:
        img: (H, W, 3) BGR (any number of channels without ``gray_noise``).
        scale: Factor on the noise.
        gray_noise: Noise of the luma, the same for all channels.
        rng: Where to draw from.

    Returns:
        (H, W, C) float32 noise, to be added.
    """
    base = cv2.cvtColor(img.astype(np.float32, copy=False), cv2.COLOR_BGR2GRAY) if gray_noise else img
    base = np.clip((base * 255.0).round(), 0, 255) / 255.0
    photons = 2.0 ** np.ceil(np.log2(len(np.unique(base))))
    noise = (_source(rng).poisson(base * photons) / photons - base).astype(np.float32) * np.float32(scale)
    return np.repeat(noise[:, :, None], 3, axis=2) if gray_noise else noise


def add_poisson_noise(
    img: Array, scale: float = 1.0, clip: bool = True, rounds: bool = False, gray_noise: bool = False, rng: Rng = None
) -> Array:
    """Adds :func:`generate_poisson_noise`."""
    return _finish(img + generate_poisson_noise(img, scale, gray_noise, rng), clip, rounds)


def random_generate_poisson_noise(
    img: Array, scale_range: Range = (0, 1.0), gray_prob: float = 0, rng: Rng = None
) -> Array:
    """Poisson noise of random scale."""
    return generate_poisson_noise(img, *_draw_for_array(scale_range, gray_prob, rng), rng)


def random_add_poisson_noise(
    img: Array,
    scale_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: Rng = None,
) -> Array:
    """Adds :func:`random_generate_poisson_noise`."""
    return _finish(img + random_generate_poisson_noise(img, scale_range, gray_prob, rng), clip, rounds)


def add_jpg_compression(img: Array, quality: float = 90) -> Array:
    """Encodes an image as JPEG and decodes it, with OpenCV's encoder.

    Args:
        img: (H, W, 3) BGR or (H, W), float; clipped to [0, 1].
        quality: 1 … 100; cut to an integer.

    Returns:
        The decoded image, float32 in [0, 1].

    Raises:
        ValueError: If the quality is out of range.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality must lie in 1 … 100, got {quality}")
    eight_bit = np.round(np.clip(img, 0, 1) * 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", eight_bit, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))
    return decoded.astype(np.float32) / np.float32(255)


def random_add_jpg_compression(img: Array, quality_range: Range = (90, 100), rng: Rng = None) -> Array:
    """:func:`add_jpg_compression` with a quality drawn uniformly from a range."""
    return add_jpg_compression(img, float(_source(rng).uniform(quality_range[0], quality_range[1])))


# Batches of tensors.


def _draw(function: Callable[..., Tensor], shape: Sequence[int], like: Tensor, generator: Source) -> Tensor:
    device = like.device if generator is None else generator.device
    return function(tuple(shape), dtype=like.dtype, device=device, generator=generator).to(like.device)


def _draw_for_batch(img: Tensor, bounds: Range, gray_prob: float, generator: Source) -> tuple[Tensor, Tensor]:
    """A strength from ``bounds`` and a gray decision (0 or 1) for each sample."""
    strength, decision = (_draw(torch.rand, img.shape[:1], img, generator) for _ in range(2))
    return strength * (bounds[1] - bounds[0]) + bounds[0], (decision < gray_prob).to(img.dtype)


def _per_sample(value: Strength, like: Tensor) -> Tensor:
    """(B, 1, 1, 1) from a number or a tensor of B numbers."""
    return send_tensor(torch.as_tensor(value, dtype=like.dtype), like.device).reshape(-1, 1, 1, 1)


def generate_gaussian_noise_pt(
    img: Tensor, sigma: Strength = 10, gray_noise: Strength = 0, generator: Source = None
) -> Tensor:
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
    strength, share = _per_sample(sigma, img) / 255.0, _per_sample(gray_noise, img)
    # The gray field is drawn first, and only where a sample needs it.
    gray = _draw(torch.randn, img.shape[2:4], img, generator) if torch.as_tensor(gray_noise).any() else 0
    return (_draw(torch.randn, img.shape, img, generator) * (1 - share) + gray * share) * strength


def add_gaussian_noise_pt(
    img: Tensor,
    sigma: Strength = 10,
    gray_noise: Strength = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: Source = None,
) -> Tensor:
    """Adds :func:`generate_gaussian_noise_pt`."""
    return _finish(img + generate_gaussian_noise_pt(img, sigma, gray_noise, generator), clip, rounds)


def random_generate_gaussian_noise_pt(
    img: Tensor, sigma_range: Range = (0, 10), gray_prob: float = 0, generator: Source = None
) -> Tensor:
    """Gaussian noise of random strength (8-bit units)."""
    return generate_gaussian_noise_pt(img, *_draw_for_batch(img, sigma_range, gray_prob, generator), generator)


def random_add_gaussian_noise_pt(
    img: Tensor,
    sigma_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: Source = None,
) -> Tensor:
    """Adds :func:`random_generate_gaussian_noise_pt`."""
    return _finish(img + random_generate_gaussian_noise_pt(img, sigma_range, gray_prob, generator), clip, rounds)


def _poisson_residual(img: Tensor, generator: Source) -> Tensor:
    levels = quantise_levels(img)
    photons = torch.exp2(photon_exponent(levels).to(img.dtype)).view(-1, 1, 1, 1)
    base = levels.to(img.dtype) / 255.0
    rates = (base * photons).to(img.device if generator is None else generator.device)
    return torch.poisson(rates, generator=generator).to(img.device) / photons - base


def generate_poisson_noise_pt(
    img: Tensor, scale: Strength = 1.0, gray_noise: Strength = 0, generator: Source = None
) -> Tensor:
    """Poisson noise for a batch.

    Args:
        img: (B, C, H, W) in [0, 1]; RGB where noise is gray.
        scale: Factor on the noise, one number or (B,).
        gray_noise: 1 for samples whose channels share the noise of the luma, 0 for others; one number or (B,).
        generator: Where to draw from (on any device).

    Returns:
        (B, C, H, W) noise, to be added.
    """
    share = _per_sample(gray_noise, img)
    gray = _poisson_residual(luma_of(img), generator) if torch.as_tensor(gray_noise).any() else 0
    return (_poisson_residual(img, generator) * (1 - share) + gray * share) * _per_sample(scale, img)


def add_poisson_noise_pt(
    img: Tensor,
    scale: Strength = 1.0,
    clip: bool = True,
    rounds: bool = False,
    gray_noise: Strength = 0,
    generator: Source = None,
) -> Tensor:
    """Adds :func:`generate_poisson_noise_pt`."""
    return _finish(img + generate_poisson_noise_pt(img, scale, gray_noise, generator), clip, rounds)


def random_generate_poisson_noise_pt(
    img: Tensor, scale_range: Range = (0, 1.0), gray_prob: float = 0, generator: Source = None
) -> Tensor:
    """Poisson noise of random scale."""
    return generate_poisson_noise_pt(img, *_draw_for_batch(img, scale_range, gray_prob, generator), generator)


def random_add_poisson_noise_pt(
    img: Tensor,
    scale_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    generator: Source = None,
) -> Tensor:
    """Adds :func:`random_generate_poisson_noise_pt`."""
    return _finish(img + random_generate_poisson_noise_pt(img, scale_range, gray_prob, generator), clip, rounds)
