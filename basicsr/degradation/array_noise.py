"""Gaussian and Poisson noise for arrays, under the names BasicSR publishes.

Images are (H, W, C) float in [0, 1], BGR where noise is gray. ``rng`` says where to draw from; None means NumPy's
process-wide stream. Poisson noise counts photons: an image with ``n`` distinct 8-bit values is taken for one of
``2^ceil(log2 n)`` photons at full white.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

Range = Sequence[float]
Image = TypeVar("Image", np.ndarray, torch.Tensor)


def finish_noisy(out: Image, clip: bool, rounds: bool) -> Image:
    """Rounds to 8 bit and clips to [0, 1], each if asked to."""
    if rounds:
        out = (out * 255.0).round() / 255.0
    return out.clip(0, 1) if clip else out


def _rng(rng: np.random.Generator | None) -> Any:
    return np.random if rng is None else rng


def _repeat_gray(noise: np.ndarray) -> np.ndarray:
    return np.repeat(noise[:, :, None], 3, axis=2)


def generate_gaussian_noise(
    img: np.ndarray, sigma: float = 10, gray_noise: bool = False, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Gaussian noise for an image.

    Args:
        img: (H, W, C); only its shape is used.
        sigma: Standard deviation in 8-bit units.
        gray_noise: One field for all channels (three of them).
        rng: Where to draw from.

    Returns:
        (H, W, C) float32 noise, to be added.
    """
    shape = img.shape[:2] if gray_noise else img.shape
    field = _rng(rng).standard_normal(shape).astype(np.float32)
    noise = field * np.float32(sigma) / np.float32(255)
    return _repeat_gray(noise) if gray_noise else noise


def add_gaussian_noise(
    img: np.ndarray,
    sigma: float = 10,
    clip: bool = True,
    rounds: bool = False,
    gray_noise: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Adds :func:`generate_gaussian_noise`, then clips to [0, 1] and rounds to 8 bit as asked."""
    return finish_noisy(img + generate_gaussian_noise(img, sigma, gray_noise, rng), clip, rounds)


def random_generate_gaussian_noise(
    img: np.ndarray, sigma_range: Range = (0, 10), gray_prob: float = 0, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Gaussian noise of random strength (8-bit units), gray with probability ``gray_prob``."""
    sigma = _rng(rng).uniform(sigma_range[0], sigma_range[1])
    gray = bool(_rng(rng).uniform() < gray_prob)
    return generate_gaussian_noise(img, sigma, gray, rng)


def random_add_gaussian_noise(
    img: np.ndarray,
    sigma_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Adds :func:`random_generate_gaussian_noise`, then clips and rounds as asked."""
    return finish_noisy(img + random_generate_gaussian_noise(img, sigma_range, gray_prob, rng), clip, rounds)


def generate_poisson_noise(
    img: np.ndarray, scale: float = 1.0, gray_noise: bool = False, rng: np.random.Generator | None = None
) -> np.ndarray:
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
    noise = (_rng(rng).poisson(base * photons) / photons - base).astype(np.float32) * np.float32(scale)
    return _repeat_gray(noise) if gray_noise else noise


def add_poisson_noise(
    img: np.ndarray,
    scale: float = 1.0,
    clip: bool = True,
    rounds: bool = False,
    gray_noise: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Adds :func:`generate_poisson_noise`, then clips to [0, 1] and rounds to 8 bit as asked."""
    return finish_noisy(img + generate_poisson_noise(img, scale, gray_noise, rng), clip, rounds)


def random_generate_poisson_noise(
    img: np.ndarray, scale_range: Range = (0, 1.0), gray_prob: float = 0, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Poisson noise of random scale, gray with probability ``gray_prob``."""
    scale = _rng(rng).uniform(scale_range[0], scale_range[1])
    gray = bool(_rng(rng).uniform() < gray_prob)
    return generate_poisson_noise(img, scale, gray, rng)


def random_add_poisson_noise(
    img: np.ndarray,
    scale_range: Range = (0, 1.0),
    gray_prob: float = 0,
    clip: bool = True,
    rounds: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Adds :func:`random_generate_poisson_noise`, then clips and rounds as asked."""
    return finish_noisy(img + random_generate_poisson_noise(img, scale_range, gray_prob, rng), clip, rounds)
