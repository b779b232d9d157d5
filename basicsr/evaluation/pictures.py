"""Pictures of validation images: side by side with bicubic interpolation and ground truth, and in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.evaluation.dataset_images import BASELINE, GENERATOR, MeasuredImage, enlarge
from basicsr.evaluation.event_pictures import show_picture
from basicsr.evaluation.figures import new_figure, save_figure
from basicsr.metrics import Levels
from basicsr.utils.batch import to_floats
from basicsr.utils.dist_util import broadcast_object, gather_on_master

WINDOW = 96
"""Side of the part that is shown, in GT pixels."""
ZOOM = 3
MAX_TB_SIDE = 512
NUM_TB_IMAGES = 4


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


def draw_image(image: MeasuredImage, folder: Path, scale: int) -> Path | None:
    """Draws LQ, bicubic interpolation, generated image and GT side by side, if there is GT and all are of one size.

    The picture shows the window in which bicubic interpolation errs most, enlarged without interpolation, and the first
    two of the whole image's metrics.

    Args:
        image: The image and what was made of it.
        folder: Where the picture goes.
        scale: GT pixels per LQ pixel.

    Returns:
        The file, ``<image>_comparison.png``, or ``None``.
    """
    if image.gt_levels is None:
        return None
    bicubic = image.levels.get(BASELINE) or Levels(enlarge(to_floats(image.lq.cpu()), scale))
    images = {
        "LQ": Levels(image.lq).arrays[0].repeat(scale, axis=0).repeat(scale, axis=1),
        BASELINE: bicubic.arrays[0],
        GENERATOR: image.levels[GENERATOR].arrays[0],
        "GT": image.gt_levels.arrays[0],
    }
    if len({picture.shape[:2] for picture in images.values()}) > 1:
        return None
    window = find_window(_to_rgb(images["GT"]), _to_rgb(images[BASELINE]), WINDOW)
    height, width = (side.stop - side.start for side in window)
    size = (len(images) * (ZOOM * width / 100 + 0.15) + 0.15, ZOOM * height / 100 + 0.95)
    figure, grid = new_figure(1, len(images), size)
    figure.set_layout_engine(None)
    scores = "  ".join(f"{name} {value:.4g}" for name, value in list(image.scores[GENERATOR].items())[:2])
    for axes, (label, picture) in zip(grid[0], images.items(), strict=True):
        axes.imshow(_to_rgb(picture[window]), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(f"{label}\n{scores if label == GENERATOR else ''}", fontsize=9)
    title = f"{image.name}: where bicubic interpolation errs most; metrics of the whole image"
    figure.suptitle(title, fontsize=10, y=0.995)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.75 / figure.get_figheight(), wspace=0.04)
    return save_figure(figure, folder / f"{image.name}_comparison", ["png"], dpi=100)[0]


def pair_up(image: MeasuredImage) -> np.ndarray:
    """The generated image and the GT side by side (their centres, if large): (H, W, 3) RGB, uint8."""
    pictures = [levels.arrays[0] for levels in (image.levels[GENERATOR], image.gt_levels) if levels is not None]
    # Both in the same place; where the heights differ, down to the lower one.
    sides = min(len(picture) for picture in pictures), pictures[0].shape[1]
    starts = (max(0, (side - MAX_TB_SIDE) // 2) for side in sides)
    rows, columns = (slice(start, min(start + MAX_TB_SIDE, side)) for start, side in zip(starts, sides))
    return np.concatenate([_to_rgb(picture[rows, columns]) for picture in pictures], axis=1)


class Showcase:
    """The first images of a data set for TensorBoard, which rank 0 writes whatever rank has generated them.

    Args:
        tb_logger: A TensorBoard writer on rank 0, or ``None`` for nothing.
        share: Whether ranks share the images; all of them must then make and close it.
    """

    def __init__(self, tb_logger: Any, share: bool) -> None:
        self._tb_logger, self._share = tb_logger, share
        has_writer = tb_logger is not None
        self._is_open = broadcast_object(has_writer) if share else has_writer
        self._pictures: dict[tuple[int, str], np.ndarray] = {}

    def takes(self, image: MeasuredImage) -> bool:
        """Whether the image is among the first."""
        return self._is_open and image.index < NUM_TB_IMAGES

    def add(self, image: MeasuredImage) -> None:
        """Takes the image if it is among the first."""
        if self.takes(image):
            self._pictures[image.index, image.name] = pair_up(image)

    def close(self, set_name: str, current_iter: int | str) -> None:
        """Writes the pictures."""
        if not self._is_open:
            return
        parts = gather_on_master(self._pictures) if self._share else [self._pictures]
        shown = {key: picture for part in parts for key, picture in part.items()}
        step = current_iter if isinstance(current_iter, int) else 0
        for index, name in sorted(shown):
            show_picture(self._tb_logger, f"{set_name}/{name}", shown[index, name], step)
