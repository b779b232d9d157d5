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
from typing import Any, NamedTuple

import cv2
import numpy as np

from basicsr.evaluation.dataset_images import BASELINE
from basicsr.evaluation.pictures import find_window
from basicsr.evaluation.spectra import FREQUENCY, NUM_POINTS
from basicsr.metrics import Levels
from basicsr.metrics.spectral_distance import measure_spectrum
from basicsr.reporting.references import References, enlarge_array, to_colour
from basicsr.reporting.runs import GROUND_TRUTH, INPUT, Run
from basicsr.spectral.profiles import resample_profile
from basicsr.utils.images import ImageError, encode_image, read_image, read_image_size, round_to_8_bits

MAX_BYTES = 8_000_000
"""Of all pictures together: less than 11 MB as text."""

MAX_IMAGES = 8

MAX_PIXELS = 2**24
"""Of a picture: larger ones would take gigabytes at the end of a test whose memory is bounded."""

SMALLEST = 16
"""Side of the smallest part."""


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
    """An image, and what methods made of it: whole, or the part that is shown.

    Attributes:
        dataset: The data set.
        image: The image's name in it.
        size: Height and width of the whole image.
        layers: LQ first, ground truth last, all of one size but for LQ.
        origin: Top and left of the part.
        levels: For each method but LQ the radial profile of the whole picture, (64,) in dB.
        encoded: The layers as WebP.
    """

    dataset: str
    image: str
    size: tuple[int, int]
    layers: list[Layer]
    origin: tuple[int, int] = (0, 0)
    levels: dict[str, np.ndarray] = field(default_factory=dict)
    encoded: list[bytes] = field(default_factory=list)

    @property
    def part(self) -> tuple[int, int]:
        """Height and width of the part."""
        layer = self.layers[-1]
        height, width = layer.picture.shape[:2]
        return height * layer.scale, width * layer.scale

    @property
    def step(self) -> int:
        """Pixels of the scene for one of LQ."""
        return max(layer.scale for layer in self.layers)

    def to_data(self, scores: Mapping[str, str]) -> dict[str, object]:
        """The scene for the page, with a line of numbers for some of its layers."""
        layers = [
            {"label": layer.label, "uri": as_uri(content), "scores": scores.get(layer.label)}
            for layer, content in zip(self.layers, self.encoded, strict=True)
        ]
        part = [*self.origin[::-1], *self.part[::-1]]
        return {"dataset": self.dataset, "image": self.image, "size": self.size[::-1], "part": part, "layers": layers}


def as_uri(content: bytes) -> str:
    """A WebP picture as the address of an image."""
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def collect_scenes(
    runs: Sequence[Run], max_images: int = MAX_IMAGES, max_bytes: int = MAX_BYTES, datasets: Sequence[Any] = ()
) -> tuple[list[Scene], int]:
    """Reads the pictures of runs, one image after the other, and encodes them: whole, or equally large parts.

    Args:
        runs: The runs; what cannot be shown is noted at them.
        max_images: How many images at most; of more, evenly spaced ones are taken.
        max_bytes: Of all pictures together.
        datasets: Data sets of the runs that are open already.

    Returns:
        The scenes, and how many images there are in all.
    """
    pictures = [run.find_pictures() for run in runs]
    for run, found in zip(runs, pictures):
        if not found:
            run.notes.append("There are no pictures in visualization/ (val.save_img: true keeps them).")
    keys = list(dict.fromkeys(key for found in pictures for key in found))
    # Images that all runs with pictures have come before others.
    pool = [key for key in keys if all(key in found for found in pictures if found)] or keys
    number = min(max_images, len(pool))
    chosen = [pool[index * len(pool) // number] for index in range(number)]
    references = [References(run, datasets) for run in runs]
    area = max_bytes / _BYTES_PER_PIXEL / max(1, number * (len(runs) + 2))
    scenes = []
    for key in chosen:
        scene = _collect(key, runs, pictures, references)
        if scene is not None:
            scene.levels = _measure_levels(scene)
            _cut(scene, area)
            scenes.append(scene)
    _encode(scenes, max_bytes)
    return scenes, len(keys)


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
        picture = _read_picture(found[key], run)
        if picture is None:
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


def _read_picture(file: Path, run: Run) -> np.ndarray | None:
    try:
        if math.prod(read_image_size(file)) <= MAX_PIXELS:
            return to_colour(round_to_8_bits(read_image(file)))
        run.notes.append(f"{file.name} is left out, as it is of more than {MAX_PIXELS / 1e6:.0f} megapixels.")
    except ImageError as error:
        run.notes.append(f"{file.name} cannot be shown: {error.reason}.")
    return None


def _encode(scenes: Sequence[Scene], max_bytes: int) -> None:
    """Encodes the pictures, in parts that become smaller until all of them together are small enough."""
    while True:
        for scene in scenes:
            if not scene.encoded:
                pictures = (np.ascontiguousarray(layer.picture) for layer in scene.layers)
                scene.encoded = [encode_image(picture, ".webp", _LOSSLESS) for picture in pictures]
        total = sum(len(content) for scene in scenes for content in scene.encoded)
        largest = max((math.prod(scene.part) for scene in scenes), default=0)
        if total <= max_bytes or largest <= SMALLEST**2:
            return
        for scene in scenes:
            _cut(scene, max(SMALLEST**2, largest * 0.9 * max_bytes / total))


def _cut(scene: Scene, area: float) -> None:
    """Cuts a scene that has more pixels to a square of at most that many, where bicubic interpolation errs most."""
    if math.prod(scene.part) <= area:
        return
    step = scene.step
    rows, columns = _choose_window(scene, max(step, math.isqrt(int(area)) // step * step))
    scene.origin = scene.origin[0] + rows.start, scene.origin[1] + columns.start
    scene.encoded = []
    layers = []
    for label, picture, scale in scene.layers:
        own = tuple(slice(side.start // scale, side.stop // scale) for side in (rows, columns))
        layers.append(Layer(label, picture[own].copy(), scale))
    scene.layers = layers


def _choose_window(scene: Scene, side: int) -> tuple[slice, slice]:
    """A square on LQ's grid, as high and wide as the scene at most; its middle where nothing tells of errors."""
    by_label = {layer.label: layer.picture for layer in scene.layers}
    starts = [max(0, length - side) // 2 for length in scene.part]
    if BASELINE in by_label and GROUND_TRUTH in by_label:
        starts = [part.start for part in find_window(by_label[GROUND_TRUTH], by_label[BASELINE], side)]
    starts = [start // scene.step * scene.step for start in starts]
    rows, columns = (slice(start, min(start + side, length)) for start, length in zip(starts, scene.part))
    return rows, columns


def _measure_levels(scene: Scene) -> dict[str, np.ndarray]:
    """Radial profiles by luma, with a Hann window, as the spectral distance measures them."""
    levels = {}
    for layer in scene.layers:
        if layer.scale == 1 and min(scene.size) > 2 * scene.step + 8:
            level, size = measure_spectrum(Levels(layer.picture).batch, scene.step)
            levels[layer.label] = resample_profile(level, size, NUM_POINTS)[0].numpy()
    return levels


def average_profiles(scenes: Sequence[Scene]) -> dict[str, dict[str, list[float]]]:
    """Means over images, by data set and method, over ``frequency``.

    Images that some method of their data set has no picture of are left out.
    """
    profiles: dict[str, dict[str, list[float]]] = {}
    for dataset in dict.fromkeys(scene.dataset for scene in scenes):
        own = [scene.levels for scene in scenes if scene.dataset == dataset]
        labels = list(dict.fromkeys(label for levels in own for label in levels))
        whole = [levels for levels in own if len(levels) == len(labels)]
        if labels and whole:
            means = {label: np.mean([levels[label] for levels in whole], axis=0) for label in labels}
            rounded = {label: mean.round(3).tolist() for label, mean in means.items()}
            profiles[dataset] = {"frequency": FREQUENCY.round(5).tolist(), **rounded}
    return profiles
