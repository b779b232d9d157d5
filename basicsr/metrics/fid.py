"""Fréchet distance between two sets of features, and the features of Inception that FID compares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from basicsr.utils.placement import place


def load_patched_inception_v3(
    device: torch.device | str = "cuda", resize_input: bool = True, normalize_input: bool = False
) -> nn.Module:
    """The network that FID is measured with, in evaluation mode: images (B, 3, H, W) to [features (B, 2048, 1, 1)].

    Args:
        device: Where it goes.
        resize_input: Resize images to 299x299.
        normalize_input: Whether images are in [0, 1]; otherwise they are in [-1, 1].

    Raises:
        WeightsError: If its weights cannot be had; the message names the file and where to put it.
    """
    # Imported here: torchvision is slow to import.
    from basicsr.archs.inception import InceptionV3

    net = InceptionV3([3], resize_input=resize_input, normalize_input=normalize_input)
    return place(net, device).eval()


@torch.no_grad()
def extract_inception_features(
    data_generator: Iterable[Tensor],
    inception: nn.Module,
    len_generator: int | None = None,
    device: torch.device | str = "cuda",
) -> Tensor:
    """Features of all images, (N, D) on the CPU.

    Args:
        data_generator: Batches of images (B, 3, H, W).
        inception: Gives a list of features, of which the first is taken.
        len_generator: Number of batches, for a progress bar; ``None``: no bar.
        device: Where ``inception`` is.
    """
    batches = tqdm(data_generator, "Extract", len_generator, unit="batch", disable=len_generator is None)
    return torch.cat([inception(batch.to(device))[0].flatten(1).cpu() for batch in batches])


def calculate_fid(mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray, eps: float = 1e-6) -> float:
    """Fréchet distance between two Gaussians, ``|μ1 − μ2|² + tr(Σ1 + Σ2 − 2·(Σ1 Σ2)^½)``.

    The trace of the square root is the sum of the singular values of ``Σ1^½ Σ2^½``, which symmetric eigenvalue
    decompositions give without complex numbers, also for singular covariances.

    Source: D. C. Dowson, B. V. Landau, "The Fréchet distance between multivariate normal distributions", 1982;
    M. Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017.

    Args:
        mu1: Mean of the first set, ``(D,)``.
        sigma1: Covariance of the first set, ``(D, D)``.
        mu2: Mean of the second set, ``(D,)``.
        sigma2: Covariance of the second set, ``(D, D)``.
        eps: Negative eigenvalues up to this share of the largest one count as rounding of zero.

    Returns:
        The squared distance, not negative beyond rounding.

    Raises:
        ValueError: If shapes do not fit, or a covariance is not finite, symmetric and positive semi-definite.
    """
    mu1, mu2 = np.atleast_1d(np.asarray(mu1, np.float64)), np.atleast_1d(np.asarray(mu2, np.float64))
    sigma1, sigma2 = np.atleast_2d(np.asarray(sigma1, np.float64)), np.atleast_2d(np.asarray(sigma2, np.float64))
    if mu1.ndim != 1 or mu1.shape != mu2.shape or {sigma1.shape, sigma2.shape} != {(mu1.size, mu1.size)}:
        raise ValueError(
            f"expected means (D,) and covariances (D, D), got {mu1.shape}, {sigma1.shape}, {mu2.shape}, {sigma2.shape}"
        )
    root1, root2 = _square_root(sigma1, eps, "sigma1"), _square_root(sigma2, eps, "sigma2")
    coupling = np.linalg.svd(root1 @ root2, compute_uv=False).sum()
    return float(np.sum((mu1 - mu2) ** 2) + np.trace(sigma1) + np.trace(sigma2) - 2 * coupling)


def _square_root(sigma: np.ndarray, eps: float, name: str) -> np.ndarray:
    if not np.isfinite(sigma).all() or not np.allclose(sigma, sigma.T, rtol=1e-5, atol=1e-8 * np.abs(sigma).max()):
        raise ValueError(f"{name} must be a finite symmetric matrix")
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    if values[0] < -eps * max(values[-1], 1.0):
        raise ValueError(f"{name} is not a covariance: its smallest eigenvalue is {values[0]:.3g}")
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
