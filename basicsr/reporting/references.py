"""The ground truth and the LQ images of a run, through the data sets that its option file names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from basicsr.data import build_dataset
from basicsr.data.loader import FAILED_KEY
from basicsr.evaluation.dataset_images import ImageNamer, enlarge, name_of
from basicsr.options.schema import complete_datasets
from basicsr.reporting.runs import Run
from basicsr.utils.errors import first_line
from basicsr.utils.img_util import img2tensor, tensor2img

_SHIFTS = ("mean", "std")
"""What a data set takes off the images for the network's sake."""


class References:
    """Finds images of a run's data sets by their names; what cannot be found is noted at the run, once for a set.

    Args:
        run: The run.
        datasets: Data sets that are open already, so that none is listed twice.
    """

    def __init__(self, run: Run, datasets: Sequence[Any] = ()) -> None:
        self._run = run
        self._open_already = {name_of(SimpleNamespace(dataset=dataset)): dataset for dataset in datasets}
        self._blocks = run.evaluation_sets()
        complete_datasets(self._blocks, {"scale": run.scale, "seed": 0})
        self._sets: dict[str, tuple[Any, dict[str, int]] | None] = {}

    def find(self, dataset: str, image: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        """LQ and ground truth of an image, (H, W, 3) BGR or (H, W), uint8; ``None`` for what is not there."""
        if dataset not in self._sets:
            self._sets[dataset] = self._open(dataset)
        opened = self._sets[dataset]
        if opened is None:
            return None, None
        images, places = opened
        if image not in places:
            self._note(dataset, f"{image} is not in it")
            return None, None
        try:
            sample = images[places[image]]
        except Exception as error:  # a class of the user's own may fail in any way
            self._note(dataset, first_line(error))
            return None, None
        if failed := sample.get(FAILED_KEY):
            self._note(dataset, failed)
        return _to_array(sample.get("lq")), _to_array(sample.get("gt"))

    def _open(self, dataset: str) -> tuple[Any, dict[str, int]] | None:
        block = self._blocks.get(dataset)
        if block is None:
            if self._run.options:
                self._note(dataset, "the options have no such data set")
            return None
        is_shifted = any(block.get(key) for key in _SHIFTS)
        block = {key: self._place(key, value) for key, value in block.items() if key not in _SHIFTS}
        try:
            images = None if is_shifted else self._open_already.get(dataset)
            images = build_dataset({**block, "phase": "test"}) if images is None else images
            namer = ImageNamer(images)
            entries = enumerate(getattr(images, "paths", []))
            return images, {namer.name_path(_path_of(entry)): index for index, entry in entries}
        except Exception as error:
            self._note(dataset, first_line(error))
            return None

    def _place(self, key: str, value: Any) -> Any:
        """A path as seen from the project's folder, where it leads nowhere from here."""
        is_path = isinstance(value, str) and key.startswith(("dataroot", "meta_info"))
        if not is_path or os.path.isabs(value) or os.path.exists(value):
            return value
        placed = self._run.folder.resolve().parents[1] / value
        return str(placed) if placed.exists() else value

    def _note(self, dataset: str, reason: str) -> None:
        note = f"{dataset}: no ground truth or LQ image is shown: {reason}"
        if note not in self._run.notes:
            self._run.notes.append(note)


def enlarge_array(lq: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB-style bicubic interpolation of an 8-bit image, as results have it beside the generator."""
    return tensor2img(enlarge(img2tensor(lq)[None] / 255, scale))


def to_colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR, uint8, of a BGR or gray picture."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _to_array(image: Tensor | None) -> np.ndarray | None:
    return None if image is None else to_colour(tensor2img(image))


def _path_of(entry: Any) -> str:
    path: Any = entry.get("lq_path") or entry.get("gt_path") if isinstance(entry, Mapping) else entry
    return os.fspath(path)
