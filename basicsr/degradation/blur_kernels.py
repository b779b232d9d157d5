"""Blur kernels of blind super-resolution: bivariate Gaussian, generalised Gaussian, plateau and circular low-pass.

Families and their use as degradations: X. Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.2; generalised Gaussian and
plateau shapes: Y. Liu et al., "Estimating Generalized Gaussian Blur Kernels for Out-of-Focus Image Deblurring", TCSVT
2020. Kernels are float64 arrays (k, k) of sum 1, x along columns, y along rows.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

Grid = np.ndarray | None


def check_odd_size(kernel_size: int) -> None:
    """Raises ``ValueError`` unless the size is odd and positive."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")


def sigma_matrix2(sig_x: float, sig_y: float, theta: float) -> np.ndarray:
    """(2, 2) covariance of a Gaussian with the given standard deviations, rotated by ``theta`` radians."""
    cos, sin = math.cos(theta), math.sin(theta)
    variance_x, variance_y = sig_x**2, sig_y**2
    along_x = cos * cos * variance_x + sin * sin * variance_y
    along_y = sin * sin * variance_x + cos * cos * variance_y
    mixed = cos * sin * (variance_x - variance_y)
    return np.array([[along_x, mixed], [mixed, along_y]])


def mesh_grid(kernel_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates about the centre: (k, k, 2) holding (x, y), and its two planes (k, k).

    An odd size has its centre at 0; of an even one the axes run from ``-k/2 + 1`` to ``k/2``.
    """
    axis = np.arange(kernel_size) - float((kernel_size - 1) // 2)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    return grid, grid[..., 0], grid[..., 1]


def _quadratic_terms(grid: np.ndarray) -> np.ndarray:
    """(3, …) x², 2xy and y² of points (…, 2)."""
    x, y = grid[..., 0], grid[..., 1]
    return np.stack([x * x, 2 * x * y, y * y])


@lru_cache(maxsize=64)
def _terms_of_size(kernel_size: int) -> np.ndarray:
    """Those of :func:`mesh_grid`; a sample has up to three kernels, of few sizes."""
    terms = _quadratic_terms(mesh_grid(kernel_size)[0])
    terms.setflags(write=False)
    return terms


def _mahalanobis_squared(sigma_matrix: np.ndarray, terms: np.ndarray) -> np.ndarray:
    (along_x, mixed), (_, along_y) = sigma_matrix.tolist()
    # The inverse of a symmetric 2x2 matrix.
    inverse = np.array([along_y, -mixed, along_x]) / (along_x * along_y - mixed * mixed)
    return np.dot(inverse[None], terms.reshape(3, -1)).reshape(terms.shape[1:])


def pdf2(sigma_matrix: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Un-normalised density of the centred bivariate Gaussian at the points of ``grid`` (..., 2)."""
    return np.exp(-0.5 * _mahalanobis_squared(sigma_matrix, _quadratic_terms(grid)))


def cdf2(d_matrix: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Distribution function of the standard bivariate Gaussian at ``grid @ d_matrix`` (skewed Gaussian kernels)."""
    # Imported here: scipy.stats takes longer to import than all else together, and few need this function.
    from scipy.stats import multivariate_normal

    return np.asarray(multivariate_normal([0, 0], np.eye(2)).cdf(np.dot(grid, d_matrix)))


def _distances(kernel_size: int, sig_x: float, sig_y: float, theta: float, grid: Grid, isotropic: bool) -> np.ndarray:
    """(k, k) squared Mahalanobis distances from the centre."""
    covariance = sigma_matrix2(sig_x, sig_x, 0) if isotropic else sigma_matrix2(sig_x, sig_y, theta)
    return _mahalanobis_squared(covariance, _terms_of_size(kernel_size) if grid is None else _quadratic_terms(grid))


def bivariate_Gaussian(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, grid: Grid = None, isotropic: bool = True
) -> np.ndarray:
    """Gaussian kernel.

    Args:
        kernel_size: Side k in pixels.
        sig_x: Standard deviation in pixels (the only one if isotropic).
        sig_y: Standard deviation across, in pixels; ignored if isotropic.
        theta: Rotation in radians; ignored if isotropic.
        grid: (k, k, 2) coordinates from :func:`mesh_grid`, if they are at hand.
        isotropic: Round instead of elliptic.

    Returns:
        (k, k), sum 1.
    """
    return bivariate_generalized_Gaussian(kernel_size, sig_x, sig_y, theta, 1, grid, isotropic)


def bivariate_generalized_Gaussian(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, beta: float, grid: Grid = None, isotropic: bool = True
) -> np.ndarray:
    """Generalised Gaussian kernel ``exp(-d^(2 beta) / 2)``, see :func:`bivariate_Gaussian`; Gaussian for ``beta`` 1."""
    kernel = np.exp(-0.5 * _distances(kernel_size, sig_x, sig_y, theta, grid, isotropic) ** beta)
    return kernel / kernel.sum()


def bivariate_plateau(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, beta: float, grid: Grid = None, isotropic: bool = True
) -> np.ndarray:
    """Plateau-shaped kernel ``1 / (1 + d^(2 beta))``. See :func:`bivariate_Gaussian`."""
    kernel = 1 / (1 + _distances(kernel_size, sig_x, sig_y, theta, grid, isotropic) ** beta)
    return kernel / kernel.sum()


def circular_lowpass_kernel(cutoff: float, kernel_size: int, pad_to: int = 0) -> np.ndarray:
    """2-D sinc kernel: the ideal circular low-pass, which rings.

    Args:
        cutoff: Cut-off in radians per pixel, up to pi.
        kernel_size: Odd side in pixels.
        pad_to: Zero-pad to this odd side; 0 or False for none.

    Returns:
        (k, k) or (pad_to, pad_to), sum 1.
    """
    check_odd_size(kernel_size)
    radius, places = _radii_of_size(kernel_size)
    values = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
    # J1(c r) c / (2 pi r) tends to c^2 / (4 pi) in the centre.
    values[0] = cutoff**2 / (4 * np.pi)
    kernel = values[places]
    return pad_kernel(kernel / kernel.sum(), int(pad_to))


@lru_cache(maxsize=64)
def _radii_of_size(kernel_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distances from the centre that pixels of a kernel have, (R,), 1 in place of the first, which is 0; and which
    of them each pixel has, (k, k). There are at most an eighth as many as pixels, and a few."""
    _, x, y = mesh_grid(kernel_size)
    radius, places = np.unique(np.hypot(x, y), return_inverse=True)
    radius[0] = 1
    return radius, places.reshape(kernel_size, kernel_size)


def pad_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """Zero-pads a kernel to ``size`` on both sides, centred; sizes that are not larger leave it alone."""
    rim = max(0, (size - kernel.shape[0]) // 2)
    if not rim:
        return kernel
    padded = np.zeros([side + 2 * rim for side in kernel.shape], kernel.dtype)
    padded[rim : rim + kernel.shape[0], rim : rim + kernel.shape[1]] = kernel
    return padded
