"""Primitives of image degradation under the names and in the module where BasicSR publishes them."""

# ruff: noqa: F401
from __future__ import annotations

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
    draw_sinc_kernel,
    random_bivariate_Gaussian,
    random_bivariate_generalized_Gaussian,
    random_bivariate_plateau,
    random_mixed_kernels,
)
from basicsr.degradation.noise import (
    add_gaussian_noise,
    add_gaussian_noise_pt,
    add_jpg_compression,
    add_poisson_noise,
    add_poisson_noise_pt,
    generate_gaussian_noise,
    generate_gaussian_noise_pt,
    generate_poisson_noise,
    generate_poisson_noise_pt,
    random_add_gaussian_noise,
    random_add_gaussian_noise_pt,
    random_add_jpg_compression,
    random_add_poisson_noise,
    random_add_poisson_noise_pt,
    random_generate_gaussian_noise,
    random_generate_gaussian_noise_pt,
    random_generate_poisson_noise,
    random_generate_poisson_noise_pt,
)
