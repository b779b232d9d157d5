# ruff: noqa: F401
"""Primitives of image degradation: blur kernels, noise, JPEG compression.

The public names of BasicSR's module of this name; the work is in the modules they are imported from.
"""

from __future__ import annotations

import cv2
import numpy as np

from basicsr.degradation.array_noise import (
    add_gaussian_noise,
    add_poisson_noise,
    generate_gaussian_noise,
    generate_poisson_noise,
    random_add_gaussian_noise,
    random_add_poisson_noise,
    random_generate_gaussian_noise,
    random_generate_poisson_noise,
)
from basicsr.degradation.blur_kernels import (
    bivariate_Gaussian,
    bivariate_generalized_Gaussian,
    bivariate_plateau,
    cdf2,
    circular_lowpass_kernel,
    mesh_grid,
    pad_kernel,
    pdf2,
    sigma_matrix2,
)
from basicsr.degradation.kernel_draws import (
    KERNEL_KINDS,
    KernelDraw,
    check_kernel_options,
    draw_mixed_kernel,
    draw_sinc_kernel,
)
from basicsr.degradation.random_kernels import (
    random_bivariate_Gaussian,
    random_bivariate_generalized_Gaussian,
    random_bivariate_plateau,
    random_mixed_kernels,
)
from basicsr.degradation.tensor_noise import (
    add_gaussian_noise_pt,
    add_poisson_noise_pt,
    generate_gaussian_noise_pt,
    generate_poisson_noise_pt,
    random_add_gaussian_noise_pt,
    random_add_poisson_noise_pt,
    random_generate_gaussian_noise_pt,
    random_generate_poisson_noise_pt,
)


def add_jpg_compression(img: np.ndarray, quality: float = 90) -> np.ndarray:
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


def random_add_jpg_compression(
    img: np.ndarray, quality_range: tuple[float, float] = (90, 100), rng: np.random.Generator | None = None
) -> np.ndarray:
    """:func:`add_jpg_compression` with a quality drawn uniformly from a range."""
    source = np.random if rng is None else rng
    return add_jpg_compression(img, float(source.uniform(quality_range[0], quality_range[1])))
