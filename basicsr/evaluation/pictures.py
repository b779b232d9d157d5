"""Pictures of validation images: side by side with bicubic interpolation and ground truth, and in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.evaluation.dataset_images import BASELINE, GENERATOR, MeasuredImage, enlarge
from basicsr.evaluation.figures import new_figure, save_figure
from basicsr.metrics import Levels
from basicsr.utils.img_util import tensor2img

WINDOW = 96
"""Side of the part that is shown, in GT pixels."""
ZOOM = 3
MAX_TB_SIDE = 512


def find_window(reference: np.ndarray, other: np.ndarray, side: int) -> tuple[slice, slice]:
    """The square window in which two images differ most; the whole image if it is smaller.

    Args:
        reference: (H, W, C) or (H, W).
        other: Same shape.
        side: Side of the window.
    """
    error = np.abs(reference.astype(np.float32) - other.astype(np.float32))
    error = error.mean(axis=2) if error.ndim == 3 else error
    height, width = (min(side, length) for length in error.shape)
    sums = cv2.boxFilter(error, -1, (width, height), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    inside = sums[: error.shape[0] - height + 1, : error.shape[1] - width + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _to_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB of an image (H, W, 3) BGR or (H, W)."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., ::-1]


def draw_comparison(
    path: str | os.PathLike[str],
    images: Mapping[str, np.ndarray],
    captions: Mapping[str, str],
    window: tuple[slice, slice],
    title: str,
) -> None:
    """Writes a picture that shows one window of several images side by side, enlarged without interpolation.

    Args:
        path: A PNG file.
        images: Label and image, (H, W, 3) BGR or (H, W), uint8, all of one size.
        captions: A line under some of the labels, e.g. their metrics.
        window: The part to show.
        title: A line above.
    """
    panels = {label: _to_rgb(image[window]) for label, image in images.items()}
    height, width = (side.stop - side.start for side in window)
    size = (len(panels) * (ZOOM * width / 100 + 0.15) + 0.15, ZOOM * height / 100 + 0.95)
    figure, grid = new_figure(1, len(panels), size)
    figure.set_layout_engine(None)
    for axes, (label, panel) in zip(grid[0], panels.items(), strict=True):
        axes.imshow(panel, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(f"{label}\n{captions.get(label, '')}", fontsize=9)
    figure.suptitle(title, fontsize=10, y=0.995)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.75 / figure.get_figheight(), wspace=0.04)
    save_figure(figure, Path(path).with_suffix(""), ["png"], dpi=100)


def enlarge_nearest(image: np.ndarray, scale: int) -> np.ndarray:
    """Repeats every pixel ``scale`` times along both axes."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def caption_of(scores: Mapping[str, float], most: int = 2) -> str:
    """The first few metrics of an image in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in list(scores.items())[:most])


def draw_image(image: MeasuredImage, folder: Path, scale: int) -> Path | None:
    """Draws LQ, bicubic interpolation, generated image and GT side by side, if there is GT and all are of one size.

    Returns:
        The file, ``<image>_comparison.png``, or ``None``.
    """
    if image.gt_levels is None:
        return None
    bicubic = image.levels.get(BASELINE) or Levels(enlarge(image.lq.float().cpu(), scale))
    images = {
        "LQ": enlarge_nearest(tensor2img(image.lq), scale),
        BASELINE: bicubic.arrays[0],
        GENERATOR: image.levels[GENERATOR].arrays[0],
        "GT": image.gt_levels.arrays[0],
    }
    if len({picture.shape[:2] for picture in images.values()}) > 1:
        return None
    window = find_window(images["GT"], images[BASELINE], WINDOW)
    path = folder / f"{image.name}_comparison.png"
    captions = {GENERATOR: caption_of(image.scores[GENERATOR])}
    title = f"{image.name}: where bicubic interpolation errs most; metrics of the whole image"
    draw_comparison(path, images, captions, window, title)
    return path


def show_image(image: MeasuredImage, tb_logger: Any, set_name: str, current_iter: int | str) -> None:
    """Writes the generated image and the GT side by side (their centres, if large) to TensorBoard."""
    shown = [image.levels[GENERATOR]] if image.gt_levels is None else [image.levels[GENERATOR], image.gt_levels]
    pictures = [_centre(levels.arrays[0]) for levels in shown]
    step = current_iter if isinstance(current_iter, int) else 0
    tb_logger.add_image(f"{set_name}/{image.name}", np.concatenate(pictures, axis=1), step, dataformats="HWC")


def _centre(image_bgr: np.ndarray) -> np.ndarray:
    """The centre of an image as RGB, at most ``MAX_TB_SIDE`` pixels a side."""
    rows, columns = (slice(max(0, (n - MAX_TB_SIDE) // 2), (n + MAX_TB_SIDE) // 2) for n in image_bgr.shape[:2])
    return _to_rgb(image_bgr[rows, columns])
