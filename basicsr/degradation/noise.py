"""Gaussian noise, Poisson noise and JPEG for arrays and batches of tensors, under the names BasicSR publishes.

Arrays are (H, W, C) float in [0, 1], BGR where noise is gray; tensors (B, C, H, W), RGB where noise is gray. A function
takes both; ``…_pt`` is its name for tensors in BasicSR. ``rng`` says where to draw from: a generator of NumPy for
arrays, of torch for tensors, which may be of another device than the images; None means NumPy's process-wide stream, or
torch's on the images' device.

Poisson noise counts photons: an image with ``n`` distinct 8-bit values is taken for one of ``2^ceil(log2 n)`` photons
at full white. Adding clips to [0, 1] and rounds to 8 bit as asked. ``random_…`` draws the strength uniformly from a
range and makes the noise gray with a probability, for each image of a batch. Strengths, and whether noise is gray (0 or
1), are one number, or one for each sample of a batch, (B,).
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
Rng = np.random.Generator | torch.Generator | None
Image = TypeVar("Image", Array, Tensor)


def _finish(out: Image, clip: bool, rounds: bool) -> Image:
    if rounds:
        out = (out * 255.0).round() / 255.0
    return out.clip(0, 1) if clip else out


def _source(rng: Rng) -> Any:
    return np.random if rng is None else rng


def _draw(function: Callable[..., Tensor], shape: Sequence[int], like: Tensor, rng: Any) -> Tensor:
    device = like.device if rng is None else rng.device
    return function(tuple(shape), dtype=like.dtype, device=device, generator=rng).to(like.device)


def _draw_strength(img: Array | Tensor, bounds: Range, gray_prob: float, rng: Rng) -> tuple[Strength, Strength]:
    """A strength from ``bounds`` and a gray decision (0 or 1), for each sample of a batch."""
    if isinstance(img, Tensor):
        strength, decision = (_draw(torch.rand, img.shape[:1], img, rng) for _ in range(2))
        return strength * (bounds[1] - bounds[0]) + bounds[0], (decision < gray_prob).to(img.dtype)
    return _source(rng).uniform(bounds[0], bounds[1]), bool(_source(rng).uniform() < gray_prob)


def _per_sample(value: Strength, like: Tensor) -> Tensor:
    """(B, 1, 1, 1) from a number or a tensor of B numbers."""
    return send_tensor(torch.as_tensor(value, dtype=like.dtype), like.device).reshape(-1, 1, 1, 1)


# Gaussian noise.


def generate_gaussian_noise(img: Image, sigma: Strength = 10, gray_noise: Strength = 0, rng: Rng = None) -> Image:
    """Gaussian noise for images.

    Args:
        img: (H, W, C) or (B, C, H, W); only its shape, type and device are used.
        sigma: Standard deviation in 8-bit units.
        gray_noise: One field for all channels (three of them, in an array). As published, all gray samples of a batch
            share one field.
        rng: Where to draw from.

    Returns:
        Noise of the images' shape, to be added; float32 for arrays.
    """
    if isinstance(img, Tensor):
        strength, share = _per_sample(sigma, img) / 255.0, _per_sample(gray_noise, img)
        # The gray field is drawn first, and only where a sample needs it.
        gray = _draw(torch.randn, img.shape[2:4], img, rng) if torch.as_tensor(gray_noise).any() else 0
        return (_draw(torch.randn, img.shape, img, rng) * (1 - share) + gray * share) * strength
    field = _source(rng).standard_normal(img.shape[:2] if gray_noise else img.shape).astype(np.float32)
    noise = field * np.float32(sigma) / np.float32(255)
    return np.repeat(noise[:, :, None], 3, axis=2) if gray_noise else noise


def add_gaussian_noise(
    img: Image, sigma: Strength = 10, clip: bool = True, rounds: bool = False, gray_noise: Strength = 0, rng: Rng = None
) -> Image:
    """Adds :func:`generate_gaussian_noise`."""
    return _finish(img + generate_gaussian_noise(img, sigma, gray_noise, rng), clip, rounds)


def add_gaussian_noise_pt(
    img: Image, sigma: Strength = 10, gray_noise: Strength = 0, clip: bool = True, rounds: bool = False, rng: Rng = None
) -> Image:
    """:func:`add_gaussian_noise` with its arguments in the order that is published for tensors."""
    return add_gaussian_noise(img, sigma, clip, rounds, gray_noise, rng)


def random_generate_gaussian_noise(
    img: Image, sigma_range: Range = (0, 10), gray_prob: float = 0, rng: Rng = None
) -> Image:
    """Gaussian noise of random strength (8-bit units)."""
    return generate_gaussian_noise(img, *_draw_strength(img, sigma_range, gray_prob, rng), rng)


def random_add_gaussian_noise(
    img: Image,
    sigma_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: Rng = None,
) -> Image:
    """Adds :func:`random_generate_gaussian_noise`."""
    return _finish(img + random_generate_gaussian_noise(img, sigma_range, gray_prob, rng), clip, rounds)


generate_gaussian_noise_pt = generate_gaussian_noise
random_generate_gaussian_noise_pt = random_generate_gaussian_noise
random_add_gaussian_noise_pt = random_add_gaussian_noise


# Poisson noise.


def _poisson_residual(img: Tensor, rng: Any) -> Tensor:
    levels = quantise_levels(img)
    photons = torch.exp2(photon_exponent(levels).to(img.dtype)).view(-1, 1, 1, 1)
    base = levels.to(img.dtype) / 255.0
    rates = (base * photons).to(img.device if rng is None else rng.device)
    return torch.poisson(rates, generator=rng).to(img.device) / photons - base


def generate_poisson_noise(img: Image, scale: Strength = 1.0, gray_noise: Strength = 0, rng: Rng = None) -> Image:
    """Poisson noise for images.

    Args:
        img: (H, W, 3) BGR (any number of channels without ``gray_noise``), or (B, 3, H, W) RGB.
        scale: Factor on the noise.
        gray_noise: Noise of the luma, the same for all channels.
        rng: Where to draw from.

    Returns:
        Noise of the images' shape, to be added; float32 for arrays.
    """
    if isinstance(img, Tensor):
        share = _per_sample(gray_noise, img)
        gray = _poisson_residual(luma_of(img), rng) if torch.as_tensor(gray_noise).any() else 0
        return (_poisson_residual(img, rng) * (1 - share) + gray * share) * _per_sample(scale, img)
    base = cv2.cvtColor(img.astype(np.float32, copy=False), cv2.COLOR_BGR2GRAY) if gray_noise else img
    base = np.clip((base * 255.0).round(), 0, 255) / 255.0
    photons = 2.0 ** np.ceil(np.log2(len(np.unique(base))))
    noise = (_source(rng).poisson(base * photons) / photons - base).astype(np.float32) * np.float32(scale)
    return np.repeat(noise[:, :, None], 3, axis=2) if gray_noise else noise


def add_poisson_noise(
    img: Image, scale: Strength = 1, clip: bool = True, rounds: bool = False, gray_noise: Strength = 0, rng: Rng = None
) -> Image:
    """Adds :func:`generate_poisson_noise`."""
    return _finish(img + generate_poisson_noise(img, scale, gray_noise, rng), clip, rounds)


def random_generate_poisson_noise(
    img: Image, scale_range: Range = (0, 1.0), gray_prob: float = 0, rng: Rng = None
) -> Image:
    """Poisson noise of random scale."""
    return generate_poisson_noise(img, *_draw_strength(img, scale_range, gray_prob, rng), rng)


def random_add_poisson_noise(
    img: Image,
    scale_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: Rng = None,
) -> Image:
    """Adds :func:`random_generate_poisson_noise`."""
    return _finish(img + random_generate_poisson_noise(img, scale_range, gray_prob, rng), clip, rounds)


generate_poisson_noise_pt = generate_poisson_noise
add_poisson_noise_pt = add_poisson_noise
random_generate_poisson_noise_pt = random_generate_poisson_noise
random_add_poisson_noise_pt = random_add_poisson_noise


# JPEG.


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
