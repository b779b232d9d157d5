"""Crops, flips, rotations and bicubic reductions of images that belong together, some under names BasicSR publishes.

Nothing here writes to its arguments. Draws come from ``rng``; without one they come from Python's ``random``, in
BasicSR's order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

from basicsr.utils.img_util import mod_crop as mod_crop

Image = TypeVar("Image", np.ndarray, torch.Tensor)
Images = np.ndarray | torch.Tensor | Sequence[np.ndarray] | Sequence[torch.Tensor]
Rng = np.random.Generator | random.Random | None


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
    """Reduces by MATLAB-style bicubic with antialiasing, rounded to the image's own depth (halves to even).

    Args:
        image: (H, W, C) or (H, W), uint8 or uint16; sides are multiples of ``scale``.
        scale: Factor.

    Returns:
        (H / scale, W / scale[, C]) of the same type.
    """
    return _reduce(image, (0, 0), (image.shape[0] // scale, image.shape[1] // scale), scale)


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
    window = _cut(image, top * scale, left * scale, size * scale)
    return window, _reduce(image, (top, left), (size, size), scale)


def _reduce(image: np.ndarray, corner: tuple[int, int], size: tuple[int, int], scale: int) -> np.ndarray:
    """The window of :func:`reduce_bicubic` that begins at ``corner`` and has ``size``, both in LQ pixels."""
    first, weights = _bicubic_weights(scale)
    levels = image
    for axis, (start, count) in enumerate(zip(corner, size)):
        levels = _take(levels, start * scale + first, (start + count - 1) * scale + first + len(weights), axis)
    for count in size:
        # The axis comes first, and goes behind the other one: after both turns they are where they were.
        rows = np.ascontiguousarray(levels, np.float64).reshape(len(levels), -1)
        step, last = rows.strides
        taps = as_strided(rows, (count, len(weights), rows.shape[1]), (step * scale, step, last), writeable=False)
        levels = (weights @ taps).reshape(count, *levels.shape[1:]).swapaxes(0, 1)
    full = np.iinfo(image.dtype).max
    return np.rint(levels / weights.sum() ** 2).clip(0, full).astype(image.dtype, order="C")


@lru_cache(maxsize=16)
def _bicubic_weights(scale: int) -> tuple[int, np.ndarray]:
    """Which pixel, counted from the first that an LQ pixel covers, has the first weight; and the weights (taps,).

    They are Keys' (see :func:`basicsr.processing.resizer.bicubic_taps`) times ``16 * scale**3``, which are integers. So
    sums over levels are exact in double precision, and a window and the whole image round to the same levels whatever
    order they are added in.
    """
    positions = np.arange(-2 * scale, 3 * scale)
    # Twice the distance from the LQ pixel's centre.
    d = np.abs(2 * positions - (scale - 1))
    inner = 3 * d**3 - 10 * scale * d**2 + 16 * scale**3
    outer = -(d**3) + 10 * scale * d**2 - 32 * scale**2 * d + 32 * scale**3
    weights = np.where(d <= 2 * scale, inner, np.where(d <= 4 * scale, outer, 0))
    used = np.flatnonzero(weights)
    return int(positions[used[0]]), weights[used[0] : used[-1] + 1].astype(np.float64)


def _take(image: np.ndarray, start: int, end: int, axis: int) -> np.ndarray:
    """Rows (axis 0) or columns (1) from ``start`` up to ``end``; beyond its edges the image is mirrored."""
    length = image.shape[axis]
    if start >= 0 and end <= length:
        return image[start:end] if axis == 0 else image[:, start:end]
    folded = np.arange(start, end) % (2 * length)
    return image.take(np.minimum(folded, 2 * length - 1 - folded), axis)
