"""Scores of many images by several critics: one decoding per image, one forward pass per batch of equal windows."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basicsr.analysis.critic_arguments import PROTOCOLS, Preset, Protocol
from basicsr.analysis.images import SERIAL, BadFile, Group, Runtime, draw_offset, measure_images, to_float
from basicsr.utils.errors import DataError, UserError

logger = logging.getLogger("basicsr")

ENSEMBLE = "ensemble"
"""Name of the sum of all critics' scores (DualFormer = spatial + spectral)."""


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropPlan:
    """How an image is cut up for one critic; the image's score is the mean over its windows.

    Attributes:
        protocol: ``default`` the whole image; ``patchify`` every window on a grid; ``random`` random windows.
        size: Height and width of a window, and for ``default`` the image size the critic takes, None for any.
        stride: Step of the grid in pixels; an incomplete last step is left out, as published.
        n_ensemble: Number of random windows. They depend on (seed, image name) and the image's size alone.
        seed: Seed of the random windows.
    """

    protocol: Protocol = "random"
    size: tuple[int, int] | None = None
    stride: int = Preset.stride
    n_ensemble: int = Preset.n_ensemble
    seed: int = 23

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {self.protocol!r}")
        if self.protocol != "default" and self.size is None:
            raise UserError(f"protocol {self.protocol} needs a window size; give --img_size H W")
        if min(self.stride, self.n_ensemble, *(self.size or ())) < 1:
            raise UserError(f"window size, stride and n_ensemble must be positive; got {self}")

    def place_windows(self, name: str, height: int, width: int) -> list[Window]:
        """Windows for one image.

        Args:
            name: The image's file name.
            height: Its height in pixels.
            width: Its width in pixels.

        Raises:
            DataError: If the image is smaller than a window, or (``default``) not of the size that the critic takes.
        """
        rows, columns = self.size or (height, width)
        if self.protocol == "random":
            draws = range(self.n_ensemble)
            corners = [draw_offset(self.seed, name, draw, height, width, (rows, columns)) for draw in draws]
        elif self.protocol == "patchify":
            if height < rows or width < columns:
                raise DataError(f"image is {width}x{height} pixels, smaller than the {columns}x{rows} window")
            tops, lefts = (range(0, space + 1, self.stride) for space in (height - rows, width - columns))
            corners = [(top, left) for top in tops for left in lefts]
        elif (rows, columns) == (height, width):
            corners = [(0, 0)]
        else:
            remedy = "use the protocol random or patchify, or give --img_size"
            raise DataError(f"image is {width}x{height} pixels and the critic takes {columns}x{rows} only; {remedy}")
        return [Window(top, left, rows, columns) for top, left in corners]


class Judge(NamedTuple):
    """A critic and what it is shown of each image.

    Attributes:
        score: (B, 3, H, W) float32 RGB in [0, 1] -> (B,); an image's score must not depend on its batch.
        plan: Windows.
    """

    score: Callable[[Tensor], Tensor]
    plan: CropPlan


class QualityScores(NamedTuple):
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

    def rank(self) -> np.ndarray:
        """Indices of images from the highest overall score to the lowest; equal scores in the order of names."""
        return np.lexsort((np.array(self.images), -self.scores[self.overall]))


def _place_windows(name: str, image: Tensor, plans: Sequence[CropPlan]) -> tuple[Tensor, list[list[Window]]]:
    """Places all critics' windows at once, so that an image that one of them cannot judge is shown to none."""
    return image, [plan.place_windows(name, image.shape[-2], image.shape[-1]) for plan in plans]


@torch.inference_mode()
def score_images(
    paths: Sequence[Path], judges: Mapping[str, Judge], runtime: Runtime = SERIAL, names: Sequence[str] | None = None
) -> QualityScores:
    """Scores images with every critic; goes on over files that cannot be scored and lists them.

    A score depends on the image, its name and the plan: not on order, batch size or workers (beyond rounding), and not
    on the number of ranks, which share the images.

    Args:
        paths: Image files.
        judges: Critics by name, with their plans.
        runtime: Windows per forward pass, decoding processes, and where the critics are.
        names: Names of the images, all different; by default their file names. Random windows depend on the file name.

    Raises:
        DataError: If no image could be scored.
    """
    names = names or [path.name for path in paths]
    bad_files: list[BadFile] = []

    def judge(group: Group[tuple[Tensor, list[list[Window]]]]) -> dict[int, dict[str, float] | BadFile]:
        found: dict[int, dict[str, float] | BadFile] = {}
        for place, scores in _score_group(group, judges, runtime).items():
            found[place] = scores
            if odd := [critic for critic, score in scores.items() if not math.isfinite(score)]:
                found[place] = BadFile(names[place], f"the score of {', '.join(odd)} is not a finite number")
                logger.warning("%s", found[place])
        return found

    prepare = partial(_place_windows, plans=[judge.plan for judge in judges.values()])
    found = dict(measure_images(paths, prepare, judge, bad_files, runtime, names))
    scores = {critic: np.array([means[critic] for means in found.values()]) for critic in judges}
    if len(scores) > 1:
        scores[ENSEMBLE] = np.sum(list(scores.values()), axis=0)
    return QualityScores(tuple(names[place] for place in found), scores, tuple(bad_files))


def _score_group(
    group: Group[tuple[Tensor, list[list[Window]]]], judges: Mapping[str, Judge], runtime: Runtime
) -> dict[int, dict[str, float]]:
    """Scores of neighbouring images by place, then by critic: the mean over each image's windows."""
    # Windows wait for others of their size until a batch is full.
    waiting: dict[str, dict[tuple[int, int], list[tuple[int, Tensor]]]] = {
        critic: defaultdict(list) for critic in judges
    }
    totals: dict[int, dict[str, np.ndarray]] = defaultdict(lambda: {critic: np.zeros(2) for critic in judges})

    def score(critic: str, windows: list[tuple[int, Tensor]]) -> None:
        batch = to_float(torch.stack([window for _, window in windows]))
        for (place, _), value in zip(windows, judges[critic].score(batch).double().tolist()):
            totals[place][critic] += (value, 1)
        windows.clear()

    for place, (image, placed) in group:
        image = image.to(runtime.device)
        for (critic, queue), windows in zip(waiting.items(), placed):
            for top, left, height, width in windows:
                queue[height, width].append((place, image[:, top : top + height, left : left + width]))
                if len(queue[height, width]) == runtime.batch_size:
                    score(critic, queue[height, width])
            # Images of many sizes would otherwise wait for company until the end, and fill the memory.
            while sum(map(len, queue.values())) > 2 * runtime.batch_size:
                score(critic, max(queue.values(), key=len))
    for critic, queue in waiting.items():
        for rest in filter(None, queue.values()):
            score(critic, rest)
    return {place: {name: float(total / n) for name, (total, n) in sums.items()} for place, sums in totals.items()}
