"""Images as stacks of windows, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def patchify(x: Tensor, patch_size: int | tuple[int, int], stride: int | tuple[int, int] | None = None) -> Tensor:
    """Cuts all windows out of images, sample by sample, row by row; incomplete windows at the far edges are dropped.

    Args:
        x: Images, ``(B, C, H, W)``.
        patch_size: Side of a window in pixels, or (height, width).
        stride: Step between windows in pixels, or (down, right); by default the window itself.

    Returns:
        ``(B·rows·cols, C, height, width)``.

    Raises:
        ValueError: If an image is smaller than the window.
    """
    size, step = _window_grid(x.shape[-2:], patch_size, stride)
    windows = x.unfold(-2, size[0], step[0]).unfold(-2, size[1], step[1])
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def unpatchify(
    patches: Tensor, image_size: tuple[int, int], stride: int | tuple[int, int] | None = None, batch_size: int = 1
) -> Tensor:
    """Puts windows back at their places: the inverse of :func:`patchify`; where windows overlap, their mean.

    Args:
        patches: ``(B·rows·cols, C, height, width)`` in the order of :func:`patchify`.
        image_size: (H, W) of the images in pixels.
        stride: The stride given to :func:`patchify`.
        batch_size: Number of images ``B``.

    Returns:
        ``(B, C, H, W)``; pixels that no window covers are zero.

    Raises:
        ValueError: If the number of windows does not fit.
    """
    size, step = _window_grid(image_size, tuple(patches.shape[-2:]), stride)
    rows, cols = ((side - window) // by + 1 for side, window, by in zip(image_size, size, step))
    if patches.shape[0] != batch_size * rows * cols:
        raise ValueError(
            f"{batch_size} images of {image_size[0]}x{image_size[1]} pixels have {batch_size * rows * cols} windows, "
            f"got {patches.shape[0]}; pass the batch_size and stride that cut them"
        )
    columns = patches.reshape(batch_size, rows * cols, -1).transpose(1, 2)
    image = functional.fold(columns, image_size, size, stride=step)
    if step == size:
        return image
    ones = torch.ones_like(columns[:1, : size[0] * size[1]])
    return image / functional.fold(ones, image_size, size, stride=step).clamp_min(1)


def _window_grid(
    image_size: Sequence[int], patch_size: int | tuple[int, ...], stride: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    down, right = (height, width) if stride is None else (stride, stride) if isinstance(stride, int) else stride
    if min(height, width, down, right) < 1 or image_size[0] < height or image_size[1] < width:
        raise ValueError(
            f"windows of {height}x{width} pixels at a stride of {down}, {right} do not fit an image of "
            f"{image_size[0]}x{image_size[1]}"
        )
    return (height, width), (down, right)
