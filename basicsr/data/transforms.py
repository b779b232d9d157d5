"""Crops, flips, rotations and bicubic reductions of images that belong together, some under names BasicSR publishes.

Nothing here writes to its arguments. Draws come from ``rng``; without one they come from Python's ``random``, in
BasicSR's order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from basicsr.processing.matlab import imresize
from basicsr.utils.img_util import mod_crop as mod_crop

Image = TypeVar("Image", np.ndarray, torch.Tensor)
Images = np.ndarray | torch.Tensor | Sequence[np.ndarray] | Sequence[torch.Tensor]
Rng = np.random.Generator | random.Random | None

REACH = 4
"""LQ pixels around a window that its reduction depends on: the kernel reaches 2, and some to spare."""


def draw_corner(rng: Rng, height: int, width: int, window: tuple[int, int]) -> tuple[int, int]:
    """Draws the top left corner of a window (height, width) uniformly; first the row, then the column.

    A window that is larger than the image lies at its edge, 0.
    """
    last_row, last_column = max(0, height - window[0]), max(0, width - window[1])
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(last_row + 1)), int(rng.integers(last_column + 1))
    source = rng or random
    return source.randint(0, last_row), source.randint(0, last_column)


def _cut(image: Image, top: int, left: int, size: int) -> Image:
    if isinstance(image, torch.Tensor):
        return image[..., top : top + size, left : left + size]
    return image[top : top + size, left : left + size]


def _as_list(images: Images) -> list[Any]:
    return [images] if isinstance(images, (np.ndarray, torch.Tensor)) else list(images)


def _one_or_all(images: list[Any]) -> Any:
    return images[0] if len(images) == 1 else images


def paired_random_crop(
    img_gts: Images, img_lqs: Images, gt_patch_size: int, scale: int, gt_path: str | None = None, rng: Rng = None
) -> tuple[Any, Any]:
    """Cuts the same random window out of GT and LQ images.

    Args:
        img_gts: (H*scale, W*scale[, C]) arrays or (..., H*scale, W*scale) tensors, one or several.
        img_lqs: The same at (H, W).
        gt_patch_size: Side of the GT window in pixels; a multiple of ``scale``.
        scale: GT pixels per LQ pixel.
        gt_path: Name for messages.
        rng: Where to draw from.

    Returns:
        GT and LQ windows (views of the arguments); each a list if there are several.

    Raises:
        ValueError: If the sizes are not ``scale`` times each other, or smaller than the window.
    """
    gts, lqs = _as_list(img_gts), _as_list(img_lqs)
    name = f"{gt_path}: " if gt_path else ""
    if gt_patch_size % scale:
        raise ValueError(f"gt_size {gt_patch_size} is not divisible by scale {scale}")
    axes = slice(-2, None) if isinstance(gts[0], torch.Tensor) else slice(2)
    (gt_height, gt_width), (height, width) = gts[0].shape[axes], lqs[0].shape[axes]
    patch = gt_patch_size // scale
    if (gt_height, gt_width) != (height * scale, width * scale):
        found = f"GT is {gt_height}x{gt_width}, which is not {scale} times its LQ image of {height}x{width}"
        raise ValueError(f"{name}{found}")
    if min(height, width) < patch:
        raise ValueError(f"{name}GT of {gt_height}x{gt_width} is smaller than gt_size {gt_patch_size}")
    top, left = draw_corner(rng, height, width, (patch, patch))
    lq_windows = [_cut(image, top, left, patch) for image in lqs]
    gt_windows = [_cut(image, top * scale, left * scale, gt_patch_size) for image in gts]
    return _one_or_all(gt_windows), _one_or_all(lq_windows)


def draw_symmetry(rng: Rng, hflip: bool, rotation: bool) -> tuple[bool, bool, bool]:
    """Draws (horizontal flip, vertical flip, transpose), each with probability 1/2 if it is enabled."""
    source = rng or random
    horizontal, vertical, transpose = (enabled and source.random() < 0.5 for enabled in (hflip, rotation, rotation))
    return horizontal, vertical, transpose


def flip_and_transpose(image: np.ndarray, horizontal: bool, vertical: bool, transpose: bool) -> np.ndarray:
    """Applies the flips, then swaps the first two axes; a view of (H, W[, C]) or (W, H[, C])."""
    if horizontal:
        image = image[:, ::-1]
    if vertical:
        image = image[::-1]
    return image.swapaxes(0, 1) if transpose else image


def augment(
    imgs: np.ndarray | Sequence[np.ndarray],
    hflip: bool = True,
    rotation: bool = True,
    flows: np.ndarray | Sequence[np.ndarray] | None = None,
    return_status: bool = False,
    rng: Rng = None,
) -> Any:
    """Flips and turns images by multiples of 90 degrees, all in the same way.

    Args:
        imgs: (H, W[, C]), one or several.
        hflip: Allow horizontal flips.
        rotation: Allow vertical flips and transposition; all eight symmetries together with ``hflip``.
        flows: Optical flows (H, W, 2) holding (x, y), turned likewise.
        return_status: Also return the three decisions.
        rng: Where to draw from.

    Returns:
        The images (a list if there are several), contiguous copies; with ``flows`` a pair of images and flows; else
        with ``return_status`` a pair of images and (horizontal, vertical, transpose).
    """
    status = draw_symmetry(rng, hflip, rotation)
    result = _one_or_all([np.array(flip_and_transpose(image, *status), order="C") for image in _as_list(imgs)])
    if flows is not None:
        # Vectors turn with the image that they lie in; int8 leaves a flow's type alone.
        signs = np.where(status[:2], np.int8(-1), np.int8(1))
        turned = [flip_and_transpose(flow, *status) * signs for flow in _as_list(flows)]
        return result, _one_or_all([flow[:, :, ::-1].copy() if status[2] else flow for flow in turned])
    return (result, status) if return_status else result


def img_rotate(
    img: np.ndarray, angle: float, center: tuple[float, float] | None = None, scale: float = 1.0
) -> np.ndarray:
    """Rotates about a point, bilinearly, keeping the size; what comes from outside is black.

    Args:
        img: (H, W[, C]).
        angle: Degrees, counter-clockwise.
        center: (x, y) in pixels; None: the middle.
        scale: Isotropic scale factor.
    """
    height, width = img.shape[:2]
    matrix = cv2.getRotationMatrix2D(center or (width // 2, height // 2), angle, scale)
    return cv2.warpAffine(img, matrix, (width, height))


def reduce_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """Reduces by MATLAB-style bicubic with antialiasing, rounded to the image's own depth.

    Args:
        image: (H, W, C) or (H, W), uint8 or uint16; sides are multiples of ``scale``.
        scale: Factor.

    Returns:
        (H / scale, W / scale[, C]) of the same type.
    """
    full = np.iinfo(image.dtype).max
    # In double precision, so that a window and the whole image round to the same levels.
    reduced = imresize(image.astype(np.float64) / full, 1 / scale)
    levels = np.round(np.clip(reduced, 0, 1) * full).astype(image.dtype)
    return levels.reshape(image.shape[0] // scale, image.shape[1] // scale, *image.shape[2:])


def reduce_window(image: np.ndarray, top: int, left: int, size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of an image and the same window of its reduction, without reducing the rest.

    Args:
        image: (H, W, C) uint8 or uint16; sides are multiples of ``scale``.
        top: First LQ row of the window.
        left: First LQ column.
        size: Side of the LQ window.
        scale: Factor.

    Returns:
        The HR window (size * scale, size * scale, C), a view, and the LQ window (size, size, C).
    """
    first_row, first_column = max(0, top - REACH), max(0, left - REACH)
    rows = slice(first_row * scale, (top + size + REACH) * scale)
    columns = slice(first_column * scale, (left + size + REACH) * scale)
    row, column = top - first_row, left - first_column
    lq = reduce_bicubic(image[rows, columns], scale)[row : row + size, column : column + size]
    return _cut(image, top * scale, left * scale, size * scale), lq
