"""Scores of many images by several critics: one decoding per image, one forward pass per batch of equal windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from basicsr.analysis.images import BadFile, describe_bad_files, load_images, to_float
from basicsr.analysis.protocols import CropPlan, Window
from basicsr.utils.errors import DataError

logger = logging.getLogger("basicsr")

ENSEMBLE = "ensemble"
"""Name of the sum of all critics' scores (DualFormer = spatial + spectral)."""


@dataclass(frozen=True)
class Judge:
    """A critic and what it is shown of each image.

    Attributes:
        score: (B, 3, H, W) float32 RGB in [0, 1] -> (B,); an image's score must not depend on its batch.
        plan: Windows.
    """

    score: Callable[[Tensor], Tensor]
    plan: CropPlan


@dataclass(frozen=True)
class QualityScores:
    """Scores of a set of images.

    Attributes:
        images: File names that were scored, in the order given.
        scores: (images,) by critic; with several critics also their sum, called ``ensemble``.
        bad_files: Files that could not be scored, and why.
    """

    images: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    bad_files: tuple[BadFile, ...] = ()

    @property
    def overall(self) -> str:
        """The name of the score that counts: the ensemble, or the only critic."""
        return ENSEMBLE if ENSEMBLE in self.scores else next(iter(self.scores))

    def rank(self, critic: str | None = None) -> np.ndarray:
        """Indices of images from the highest score to the lowest; equal scores in the order of names."""
        return np.lexsort((np.array(self.images), -self.scores[critic or self.overall]))


class _WindowQueue:
    """Collects windows of equal size over images until a batch is full; memory stays bounded."""

    def __init__(self, judge: Judge, batch_size: int) -> None:
        self._judge = judge
        self._batch_size = batch_size
        self._waiting: dict[tuple[int, int], list[tuple[int, Tensor]]] = {}
        self._sums: dict[int, float] = {}
        self._counts: dict[int, int] = {}

    def add(self, index: int, image: Tensor, windows: Sequence[Window]) -> None:
        for top, left, height, width in windows:
            waiting = self._waiting.setdefault((height, width), [])
            waiting.append((index, image[:, top : top + height, left : left + width]))
            if len(waiting) == self._batch_size:
                self._score(waiting)
        # Images of many sizes would otherwise wait for company until the end.
        while sum(map(len, self._waiting.values())) > 2 * self._batch_size:
            self._score(max(self._waiting.values(), key=len))

    def finish(self) -> dict[int, float]:
        """Scores what is left; returns the mean over each image's windows."""
        for waiting in self._waiting.values():
            self._score(waiting)
        return {index: self._sums[index] / self._counts[index] for index in self._sums}

    def _score(self, waiting: list[tuple[int, Tensor]]) -> None:
        if not waiting:
            return
        batch = to_float(torch.stack([window for _, window in waiting]))
        for (index, _), score in zip(waiting, self._judge.score(batch).double().tolist()):
            self._sums[index] = self._sums.get(index, 0.0) + score
            self._counts[index] = self._counts.get(index, 0) + 1
        waiting.clear()


@torch.inference_mode()
def score_images(
    paths: Sequence[Path],
    judges: Mapping[str, Judge],
    *,
    names: Sequence[str] | None = None,
    batch_size: int = 16,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
) -> QualityScores:
    """Scores images with every critic; goes on over files that cannot be scored and lists them.

    A score depends on the image, its name and the plan: not on order, batch size or workers (beyond rounding).

    Args:
        paths: Image files.
        judges: Critics by name, with their plans.
        names: What to call the images; by default their file names. Random windows depend on the file name.
        batch_size: Windows per forward pass.
        num_workers: Decoding processes.
        device: Where the critics are.

    Raises:
        DataError: If no image could be scored.
    """
    names = [path.name for path in paths] if names is None else names
    queues = {critic: _WindowQueue(judge, batch_size) for critic, judge in judges.items()}
    problems: dict[int, str] = {}
    images = tqdm(load_images(paths, num_workers), total=len(paths), unit="image", disable=None)
    for index, (path, image) in enumerate(images):
        if isinstance(image, BadFile):
            problems[index] = image.reason
            continue
        try:
            height, width = image.shape[1:]
            windows = {critic: judge.plan.place_windows(path.name, height, width) for critic, judge in judges.items()}
        except DataError as error:
            problems[index] = str(error)
            continue
        image = image.to(device)
        for critic, queue in queues.items():
            queue.add(index, image, windows[critic])
    results = {critic: queue.finish() for critic, queue in queues.items()}
    return _collect(names, results, problems)


def _collect(
    names: Sequence[str], results: Mapping[str, Mapping[int, float]], problems: dict[int, str]
) -> QualityScores:
    for index, name in enumerate(names):
        odd = [critic for critic, scores in results.items() if not np.isfinite(scores.get(index, 0.0))]
        if odd:
            problems[index] = f"the score of {', '.join(odd)} is not a finite number"
            logger.warning("%s: %s", name, problems[index])
    bad_files = tuple(BadFile(names[index], reason) for index, reason in sorted(problems.items()))
    kept = [index for index in range(len(names)) if index not in problems]
    if not kept:
        raise DataError("no image could be scored:\n" + describe_bad_files(bad_files))
    scores = {critic: np.array([values[index] for index in kept]) for critic, values in results.items()}
    if len(scores) > 1:
        scores[ENSEMBLE] = np.sum(list(scores.values()), axis=0)
    return QualityScores(tuple(names[index] for index in kept), scores, bad_files)
