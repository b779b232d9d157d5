"""Image gradients as SPSR uses them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gradient_map(image_BCHW: Tensor, padding: int = 2, eps: float = 1e-6) -> Tensor:
    """Magnitude of the central differences of every channel, ``sqrt(dv^2 + dh^2 + eps)``.

    Ma et al., "Structure-Preserving Super Resolution with Gradient Guidance", CVPR 2020 (arXiv 2003.13081); the
    differences are not halved. Pixels outside the image are black, so its outline is part of the map.

    Args:
        image_BCHW: (B, C, H, W), in [0, 1].
        padding: Width of the black margin: 2 gives a map that is two pixels larger either way (what SPSR's critic and
            gradient loss see), 1 a map of the image's size (the target of SPSR's gradient branch).
        eps: Keeps the root differentiable in flat regions.

    Returns:
        (B, C, H + 2 * padding - 2, W + 2 * padding - 2), at least ``sqrt(eps)``; differentiable.

    Raises:
        ValueError: If the image is too small to have a central difference.
    """
    if min(image_BCHW.shape[-2:]) + 2 * padding < 3:
        raise ValueError(f"an image of {tuple(image_BCHW.shape[-2:])} with padding {padding} has no central difference")
    padded = F.pad(image_BCHW, (padding,) * 4)
    vertical = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    horizontal = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return (vertical.square() + horizontal.square() + eps).sqrt()
