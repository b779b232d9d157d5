"""Sliding windows of image batches, and images from windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _as_pair(value: int | tuple[int, int] | list[int], name: str) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be a positive integer or a pair of them, got {value}")
    return pair


def patchify(
    img: torch.Tensor, patch_size: int | tuple[int, int] | list[int], stride: int | tuple[int, int] | list[int]
) -> torch.Tensor:
    """Cuts images into windows; what does not fill a window at the right or bottom is dropped.

    Args:
        img: (B, C, H, W).
        patch_size: Height and width of a window, or one number for both.
        stride: Vertical and horizontal distance of windows, or one number for both.

    Returns:
        (B * n, C, ph, pw): all windows of the first image row by row, then those of the second, and so on.

    Raises:
        ValueError: If an image is smaller than a window.
    """
    (height, width), (down, right) = _as_pair(patch_size, "patch_size"), _as_pair(stride, "stride")
    if img.ndim != 4 or img.shape[2] < height or img.shape[3] < width:
        raise ValueError(f"windows of {height}x{width} do not fit into images of shape {tuple(img.shape)}")
    windows = img.unfold(2, height, down).unfold(3, width, right)
    return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, img.shape[1], height, width)


def unpatchify(
    patches: torch.Tensor,
    img_size: int | tuple[int, int] | list[int],
    patch_size: int | tuple[int, int] | list[int],
    stride: int | tuple[int, int] | list[int],
) -> torch.Tensor:
    """Puts the windows of :func:`patchify` back in place; overlapping windows are averaged.

    Args:
        patches: (B * n, C, ph, pw).
        img_size: Height and width of the images.
        patch_size: As for :func:`patchify`.
        stride: As for :func:`patchify`.

    Returns:
        (B, C, H, W), zero where no window lay.

    Raises:
        ValueError: If the windows do not fit the sizes.
    """
    size, window, step = _as_pair(img_size, "img_size"), _as_pair(patch_size, "patch_size"), _as_pair(stride, "stride")
    per_image = 1
    for length, extent, distance in zip(size, window, step):
        per_image *= (length - extent) // distance + 1
    if patches.ndim != 4 or tuple(patches.shape[2:]) != window or per_image < 1 or patches.shape[0] % per_image:
        raise ValueError(
            f"windows of shape {tuple(patches.shape)} do not fill images of {size[0]}x{size[1]}: expected a "
            f"multiple of {per_image} windows of {window[0]}x{window[1]}"
        )
    columns = patches.reshape(-1, per_image, patches[0].numel()).transpose(1, 2)
    total = F.fold(columns, size, window, stride=step)
    covered = F.fold(torch.ones_like(columns[:1, : window[0] * window[1]]), size, window, stride=step)
    return total / covered.clamp(min=1)
