"""Pictures for a page: what each run made of an image, beside LQ, bicubic interpolation and ground truth.

All pictures together stay below a number of bytes. They are kept without loss at their own size; where that takes too
much, equal parts of the images are cut out.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from basicsr.evaluation.dataset_images import BASELINE
from basicsr.evaluation.pictures import find_window
from basicsr.evaluation.spectra import FREQUENCY, NUM_POINTS
from basicsr.metrics import Levels
from basicsr.metrics.spectral_distance import measure_spectrum
from basicsr.reporting.references import References, enlarge_array, read_picture, to_colour
from basicsr.reporting.runs import GROUND_TRUTH, INPUT, Run
from basicsr.spectral.profiles import resample_profile
from basicsr.utils.images import encode_image

MAX_BYTES = 8_000_000
"""Of all pictures together: less than 11 MB as text."""

MAX_IMAGES = 8

_BYTES_PER_PIXEL = 1.5
"""Of photographs in lossless WebP; cartoons take less, noise up to 3."""

_LOSSLESS = (cv2.IMWRITE_WEBP_QUALITY, 101)


class Layer(NamedTuple):
    """A picture of a scene.

    Attributes:
        label: What made it.
        picture: (H, W, 3) BGR, uint8.
        scale: Pixels of the scene for each of its own: 1, but for LQ.
    """

    label: str
    picture: np.ndarray
    scale: int = 1


@dataclass
class Scene:
    """An image, and what methods made of it.

    Attributes:
        dataset: The data set.
        image: The image's name in it.
        size: Height and width of the whole image.
        layers: LQ first, ground truth last, all of one size but for LQ.
        window: Rows and columns of the part that is shown; ``None``: the whole image.
        encoded: The layers' parts as WebP.
    """

    dataset: str
    image: str
    size: tuple[int, int]
    layers: list[Layer]
    window: tuple[slice, slice] | None = None
    encoded: list[bytes] = field(default_factory=list)

    def to_data(self, scores: Mapping[str, str]) -> dict[str, object]:
        """The scene for the page, with a line of numbers for some of its layers."""
        rows, columns = self.window or (slice(0, self.size[0]), slice(0, self.size[1]))
        part = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        pairs = zip(self.layers, self.encoded, strict=True)
        layers = [
            {"label": layer.label, "uri": as_uri(content), "scores": scores.get(layer.label)}
            for layer, content in pairs
        ]
        return {"dataset": self.dataset, "image": self.image, "size": self.size[::-1], "part": part, "layers": layers}


def as_uri(content: bytes) -> str:
    """A WebP picture as the address of an image."""
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def collect_scenes(runs: Sequence[Run], max_images: int = MAX_IMAGES) -> tuple[list[Scene], int]:
    """Reads the pictures of runs; encoding them is left to :func:`encode_scenes`.

    Args:
        runs: The runs; what cannot be shown is noted at them.
        max_images: How many images at most; of more, evenly spaced ones are taken.

    Returns:
        The scenes, and how many images there are in all.
    """
    pictures = [run.find_pictures() for run in runs]
    for run, found in zip(runs, pictures):
        if not found:
            run.notes.append("There are no pictures in visualization/ (val.save_img: true keeps them).")
    keys = list(dict.fromkeys(key for found in pictures for key in found))
    # Images that all runs with pictures have come before others.
    shared = [key for key in keys if all(key in found for found in pictures if found)]
    pool = shared or keys
    chosen = [pool[index * len(pool) // min(max_images, len(pool))] for index in range(min(max_images, len(pool)))]
    references = [References(run) for run in runs]
    scenes = (_collect(key, runs, pictures, references) for key in chosen)
    return [scene for scene in scenes if scene], len(keys)


def _collect(
    key: tuple[str, str],
    runs: Sequence[Run],
    pictures: Sequence[Mapping[tuple[str, str], Path]],
    references: Sequence[References],
) -> Scene | None:
    dataset, image = key
    made: list[Layer] = []
    lq = gt = None
    scale = 1
    for run, found, reference in zip(runs, pictures, references):
        if key not in found:
            continue
        picture = read_picture(found[key])
        if picture is None:
            run.notes.append(f"{found[key].name} is no picture that can be read.")
            continue
        if lq is None and gt is None:
            lq, gt = reference.find(dataset, image)
            scale = run.scale or 1
        made.append(Layer(run.label, picture))
    if not made:
        return None
    size = made[0].picture.shape[:2] if gt is None else gt.shape[:2]
    for run in runs:
        if any(layer.label == run.label and layer.picture.shape[:2] != size for layer in made):
            run.notes.append(
                f"{dataset}, {image}: the picture is left out, as it is not of {size[1]}×{size[0]} pixels."
            )
    layers = [layer for layer in made if layer.picture.shape[:2] == size]
    if lq is not None and (lq.shape[0] * scale, lq.shape[1] * scale) == size:
        layers = [Layer(INPUT, lq, scale), Layer(BASELINE, to_colour(enlarge_array(lq, scale))), *layers]
    if gt is not None:
        layers.append(Layer(GROUND_TRUTH, gt))
    return Scene(dataset, image, (size[0], size[1]), layers) if layers else None


def encode_scenes(scenes: Sequence[Scene], max_bytes: int = MAX_BYTES) -> None:
    """Encodes the pictures, whole where that fits, else the square parts in which bicubic interpolation errs most.

    Args:
        scenes: The scenes, whose ``window`` and ``encoded`` are set.
        max_bytes: Of all of them together.
    """
    count = sum(len(scene.layers) for scene in scenes)
    area = max_bytes / _BYTES_PER_PIXEL / max(1, count)
    while True:
        for scene in scenes:
            _encode(scene, area)
        total = sum(len(content) for scene in scenes for content in scene.encoded)
        if total <= max_bytes:
            return
        area = min(area, max(math.prod(scene.size) for scene in scenes)) * 0.9 * max_bytes / total


def _encode(scene: Scene, area: float) -> None:
    """Encodes all of a scene, or a square of that many pixels."""
    window = None
    if math.prod(scene.size) > area:
        step = max(layer.scale for layer in scene.layers)
        side = max(step, math.isqrt(int(area)) // step * step)
        window = _choose_window(scene, side, step)
    if scene.encoded and window == scene.window:
        return
    scene.window, scene.encoded = window, []
    for layer in scene.layers:
        rows, columns = window or (slice(None), slice(None))
        if window:
            rows, columns = (slice(side.start // layer.scale, side.stop // layer.scale) for side in window)
        scene.encoded.append(encode_image(np.ascontiguousarray(layer.picture[rows, columns]), ".webp", _LOSSLESS))


def _choose_window(scene: Scene, side: int, step: int) -> tuple[slice, slice]:
    """The square in which bicubic interpolation errs most, on LQ's grid; the middle where there is none."""
    by_label = {layer.label: layer.picture for layer in scene.layers}
    starts = [(length - side) // 2 for length in scene.size]
    if BASELINE in by_label and GROUND_TRUTH in by_label:
        starts = [part.start for part in find_window(by_label[GROUND_TRUTH], by_label[BASELINE], side)]
    starts = [max(0, start) // step * step for start in starts]
    rows, columns = (slice(start, min(start + side, length)) for start, length in zip(starts, scene.size))
    return rows, columns


def measure_profiles(scenes: Sequence[Scene]) -> dict[str, dict[str, list[float]]]:
    """Radial power profiles of the scenes' pictures, whole and by luma, with a Hann window, mean over images in dB.

    Returns:
        By data set and method, (64,) over :data:`basicsr.evaluation.spectra.FREQUENCY`; ``frequency`` beside them.
        Scenes that some method of their data set has no picture of are left out.
    """
    profiles: dict[str, dict[str, list[float]]] = {}
    for dataset in dict.fromkeys(scene.dataset for scene in scenes):
        own = [scene for scene in scenes if scene.dataset == dataset]
        labels = dict.fromkeys(layer.label for scene in own for layer in scene.layers if layer.scale == 1)
        whole = [scene for scene in own if labels.keys() <= {layer.label for layer in scene.layers}]
        levels: dict[str, list[np.ndarray]] = {label: [] for label in labels}
        for scene in whole:
            for layer in scene.layers:
                border = max(other.scale for other in scene.layers)
                if layer.scale == 1 and min(scene.size) >= 2 * border + 8:
                    level, size = measure_spectrum(Levels(layer.picture).batch, border)
                    levels[layer.label].append(resample_profile(level, size, NUM_POINTS)[0].numpy())
        means = {label: np.mean(rows, axis=0).round(3).tolist() for label, rows in levels.items() if rows}
        if means:
            profiles[dataset] = {"frequency": FREQUENCY.round(5).tolist(), **means}
    return profiles
