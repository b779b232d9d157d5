"""Warping by optical flow, and changing a flow's size, for networks that align frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def flow_warp(
    x: Tensor, flow: Tensor, interp_mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = True
) -> Tensor:
    """Fetches every pixel from where the flow points to.

    Args:
        x: (B, C, H, W), an image or features.
        flow: (B, H, W, 2): how far to the right and how far down, in pixels.
        interp_mode: ``nearest``, ``bilinear`` or ``bicubic``.
        padding_mode: What lies outside the image: ``zeros``, ``border`` or ``reflection``.
        align_corners: Where the image ends for ``padding_mode``: at the centres of its outer pixels, or at their edges.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: If the sizes differ.
    """
    height, width = x.shape[-2:]
    if flow.shape != (x.shape[0], height, width, 2):
        expected = (x.shape[0], height, width, 2)
        raise ValueError(f"flow_warp: images {tuple(x.shape)} need a flow of {expected}, got {tuple(flow.shape)}")
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)
    places = (flow[..., 0] + columns, flow[..., 1] + rows[:, None])
    if align_corners:
        scaled = [place * (2 / max(side - 1, 1)) - 1 for place, side in zip(places, (width, height), strict=True)]
    else:
        scaled = [(2 * place + 1) / side - 1 for place, side in zip(places, (width, height), strict=True)]
    return F.grid_sample(x, torch.stack(scaled, -1).to(x.dtype), interp_mode, padding_mode, align_corners)


def resize_flow(
    flow: Tensor,
    size_type: str,
    sizes: Sequence[float],
    interp_mode: str = "bilinear",
    align_corners: bool = False,
) -> Tensor:
    """Resizes a flow, and its displacements with it.

    Args:
        flow: (B, 2, H, W): how far to the right and how far down, in pixels.
        size_type: What ``sizes`` means: ``ratio`` or ``shape``.
        sizes: Factors for height and width, or the new height and width.
        interp_mode: A mode of ``torch.nn.functional.interpolate``.
        align_corners: As there.

    Returns:
        (B, 2, new height, new width).

    Raises:
        ValueError: If ``size_type`` is neither.
    """
    height, width = flow.shape[-2:]
    if size_type == "ratio":
        new_height, new_width = int(height * sizes[0]), int(width * sizes[1])
    elif size_type == "shape":
        new_height, new_width = int(sizes[0]), int(sizes[1])
    else:
        raise ValueError(f"size_type must be 'ratio' or 'shape', got {size_type!r}")
    factors = flow.new_tensor([new_width / width, new_height / height]).view(1, 2, 1, 1)
    return F.interpolate(flow * factors, (new_height, new_width), mode=interp_mode, align_corners=align_corners)
