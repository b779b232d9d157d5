"""Random blur kernels under the names BasicSR publishes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from basicsr.degradation.kernel_draws import Range, apply_kernel_noise, draw_kind, draw_mixed_kernel, open_draws


def random_bivariate_Gaussian(
    kernel_size: int,
    sigma_x_range: Range,
    sigma_y_range: Range,
    rotation_range: Range,
    noise_range: Range | None = None,
    isotropic: bool = True,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Random Gaussian kernel.

    Args:
        kernel_size: Odd side in pixels.
        sigma_x_range: Standard deviation in pixels.
        sigma_y_range: Standard deviation across, in pixels; not drawn if isotropic.
        rotation_range: Radians; not drawn if isotropic.
        noise_range: Factors of multiplicative uniform noise; None for none.
        isotropic: Round instead of elliptic.
        rng: Where to draw from; None uses Python's and NumPy's process-wide streams, in BasicSR's order.

    Returns:
        (kernel_size, kernel_size), sum 1.

    Raises:
        ValueError: For an even size or a range out of order.
    """
    draws = open_draws(rng)
    kind = "iso" if isotropic else "aniso"
    drawn = draw_kind(kind, draws, kernel_size, sigma_x_range, sigma_y_range, rotation_range, (1, 1))
    return apply_kernel_noise(drawn.render(), noise_range, draws)


def random_bivariate_generalized_Gaussian(
    kernel_size: int,
    sigma_x_range: Range,
    sigma_y_range: Range,
    rotation_range: Range,
    beta_range: Range,
    noise_range: Range | None = None,
    isotropic: bool = True,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Random generalised Gaussian kernel; ``beta`` is below and above 1 equally often. See above for the rest."""
    draws = open_draws(rng)
    kind = "generalized_iso" if isotropic else "generalized_aniso"
    drawn = draw_kind(kind, draws, kernel_size, sigma_x_range, sigma_y_range, rotation_range, beta_range)
    return apply_kernel_noise(drawn.render(), noise_range, draws)


def random_bivariate_plateau(
    kernel_size: int,
    sigma_x_range: Range,
    sigma_y_range: Range,
    rotation_range: Range,
    beta_range: Range,
    noise_range: Range | None = None,
    isotropic: bool = True,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Random plateau kernel; ``beta`` is below and above 1 equally often. See above for the rest."""
    draws = open_draws(rng)
    kind = "plateau_iso" if isotropic else "plateau_aniso"
    drawn = draw_kind(kind, draws, kernel_size, sigma_x_range, sigma_y_range, rotation_range, beta_range)
    return apply_kernel_noise(drawn.render(), noise_range, draws)


def random_mixed_kernels(
    kernel_list: Sequence[str],
    kernel_prob: Sequence[float],
    kernel_size: int = 21,
    sigma_x_range: Range = (0.6, 5),
    sigma_y_range: Range = (0.6, 5),
    rotation_range: Range = (-math.pi, math.pi),
    betag_range: Range = (0.5, 8),
    betap_range: Range = (0.5, 8),
    noise_range: Range | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Random kernel of a random kind.

    Args:
        kernel_list: Kinds, out of :data:`KERNEL_KINDS`.
        kernel_prob: Their probabilities.
        kernel_size: Odd side in pixels.
        sigma_x_range: Standard deviation in pixels.
        sigma_y_range: Standard deviation across, in pixels (anisotropic kinds).
        rotation_range: Radians (anisotropic kinds).
        betag_range: Shape of generalised Gaussian kinds.
        betap_range: Shape of plateau kinds.
        noise_range: Factors of multiplicative uniform noise, never put on plateau kinds; None for none.
        rng: Where to draw from; None uses Python's and NumPy's process-wide streams, in BasicSR's order.

    Returns:
        (kernel_size, kernel_size), sum 1.

    Raises:
        ValueError: For an unknown kind, probabilities that do not sum to 1, an even size or a range out of order.
    """
    drawn = draw_mixed_kernel(
        kernel_list,
        kernel_prob,
        kernel_size,
        sigma_x_range,
        sigma_y_range,
        rotation_range,
        betag_range,
        betap_range,
        rng,
    )
    noise = None if drawn.kind.startswith("plateau") else noise_range
    return apply_kernel_noise(drawn.render(), noise, open_draws(rng))
