"""Reduction by a Gaussian blur and decimation, as video super-resolution makes its LQ frames ("BD" degradation)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d


def generate_gaussian_kernel(kernel_size: int = 13, sigma: float = 1.6) -> np.ndarray:
    """An isotropic Gaussian kernel: SciPy's Gaussian filter of a unit pulse.

    Args:
        kernel_size: Its side, odd.
        sigma: Standard deviation in pixels.

    Returns:
        (kernel_size, kernel_size) float64, sum 1.
    """
    pulse = np.zeros(kernel_size)
    pulse[kernel_size // 2] = 1
    profile = gaussian_filter1d(pulse, sigma)
    return np.outer(profile, profile)


def duf_downsample(x: torch.Tensor, kernel_size: int = 13, scale: int = 4) -> torch.Tensor:
    """Blurs frames by a Gaussian of σ = 0.4 ``scale`` and keeps every ``scale``-th pixel (DUF, Jo et al., CVPR 2018).

    Args:
        x: Frames (B, T, C, H, W) or (T, C, H, W).
        kernel_size: Side of the Gaussian kernel, odd; the image goes on by reflection.
        scale: 2, 3 or 4.

    Returns:
        (B, T, C, ⌈H / scale⌉, ⌈W / scale⌉), or the same without B.

    Raises:
        ValueError: If the scale is another, or ``x`` has another number of axes.
    """
    if scale not in (2, 3, 4):
        raise ValueError(f"duf_downsample: scale must be 2, 3 or 4, got {scale}")
    if x.ndim not in (4, 5):
        raise ValueError(f"duf_downsample: expected frames (B, T, C, H, W) or (T, C, H, W), got {tuple(x.shape)}")
    planes = x.reshape(-1, 1, *x.shape[-2:])
    kernel = torch.from_numpy(generate_gaussian_kernel(kernel_size, 0.4 * scale)).to(planes)
    padded = F.pad(planes, [kernel_size // 2] * 4, mode="reflect")
    reduced = F.conv2d(padded, kernel[None, None], stride=scale)
    return reduced.reshape(*x.shape[:-2], *reduced.shape[-2:])
