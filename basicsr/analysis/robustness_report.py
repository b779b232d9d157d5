"""From scores under perturbation to curves over frequency, their ensemble, and where one critic takes over."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.analysis.images import BadFile
from basicsr.analysis.labels import refuse_equal_labels
from basicsr.analysis.outputs import SOURCE
from basicsr.analysis.robustness import BandScores, RobustnessSettings
from basicsr.utils.errors import UserError
from basicsr.utils.tables import format_table, write_csv, write_json

ENSEMBLE = "mean"
"""Label of the mean of several critics' scores."""


@dataclass(frozen=True)
class ScoreChange:
    """How scores change from untouched to perturbed images, per band; each image's is the mean over its crops.

    Attributes:
        absolute: (bands,) mean over images of ``|score(perturbed) - score(clean)|``.
        signed: (bands,) mean over images of ``score(perturbed) - score(clean)``.
        error: (bands,) standard error of ``absolute`` over images; NaN for a single image.
    """

    absolute: np.ndarray
    signed: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class RobustnessCurve:
    """One critic's (or an ensemble's) curves.

    Attributes:
        label: Its name.
        frequency: (bands,) centre of each band, fraction of the highest frequency.
        masked: Change when the band is removed.
        noisy: Change when noise is added in the band.
        clean_mean: Mean score of untouched images.
        clean_std: Their standard deviation over images.
    """

    label: str
    frequency: np.ndarray
    masked: ScoreChange
    noisy: ScoreChange
    clean_mean: float
    clean_std: float


@dataclass(frozen=True)
class SwitchOver:
    """Where the relative sensitivity of two critics changes order.

    Attributes:
        r1: Lowest crossing, fraction of the highest frequency; None if the curves never cross.
        r2: Highest crossing (equal to r1 if there is one only); None if the curves never cross.
        crossings: All crossings, increasing.
    """

    r1: float | None
    r2: float | None
    crossings: tuple[float, ...]


def average_critics(scores: Sequence[BandScores]) -> BandScores:
    """The ensemble whose score is the mean of the critics' scores.

    Raises:
        ValueError: If there is none, or they were measured on different images.
    """
    if not scores or any(part.images != scores[0].images for part in scores):
        raise ValueError("an ensemble needs scores of the same images from every critic")
    clean, masked, noisy = (
        np.mean([getattr(part, field) for part in scores], axis=0) for field in ("clean", "masked", "noisy")
    )
    return BandScores(scores[0].images, clean, masked, noisy)


def summarise_scores(label: str, scores: BandScores, edges: Sequence[float]) -> RobustnessCurve:
    """Averages score changes over the crops of each image, then over images; every image counts once.

    Crops of one photograph are alike, so only images count as independent in the standard error.
    """
    bounds = np.asarray(edges)
    clean = _average_by_image(scores.images, scores.clean)
    return RobustnessCurve(
        label,
        (bounds[:-1] + bounds[1:]) / 2,
        _summarise_change(scores.images, scores.masked - scores.clean[:, None]),
        _summarise_change(scores.images, scores.noisy - scores.clean[:, None]),
        float(clean.mean()),
        float(clean.std()),
    )


def _average_by_image(images: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Means (images, …) of the rows (crops, …) that belong to each image."""
    number = {name: index for index, name in enumerate(dict.fromkeys(images))}
    owner = np.array([number[name] for name in images])
    return np.stack([values[owner == index].mean(axis=0) for index in number.values()])


def _summarise_change(images: Sequence[str], change: np.ndarray) -> ScoreChange:
    size = _average_by_image(images, np.abs(change))
    count = len(size)
    error = size.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(change.shape[1], np.nan)
    return ScoreChange(size.mean(axis=0), _average_by_image(images, change).mean(axis=0), error)


def relate_to_own_level(change: np.ndarray) -> np.ndarray:
    """A sensitivity curve divided by its geometric mean over bands: its shape without the scale of the critic's scores.

    The geometric mean, because the band that holds the mean of the image outweighs all others in an arithmetic one.

    Args:
        change: (bands,) absolute score change; values below 1e-6 of the largest count as that.
    """
    if change.max() <= 0:
        return np.ones_like(change)
    floored = np.maximum(change, 1e-6 * change.max())
    return floored / np.exp(np.log(floored).mean())


def find_switch_over(first: np.ndarray, second: np.ndarray, frequency: np.ndarray) -> SwitchOver:
    """Finds where two sensitivity curves cross, each relative to its own level, by interpolation of their logarithms.

    On one side of a crossing one critic spends more of its sensitivity than the other, on the other side less.

    Args:
        first: (bands,) one critic's absolute score change.
        second: (bands,) the other's.
        frequency: (bands,) band centres.
    """
    gap = np.log(relate_to_own_level(first)) - np.log(relate_to_own_level(second))
    present = np.flatnonzero(np.abs(gap) > 1e-9)
    crossings = []
    for left, right in itertools.pairwise(present):
        if gap[left] * gap[right] < 0:
            part = gap[left] / (gap[left] - gap[right])
            crossings.append(float(frequency[left] + part * (frequency[right] - frequency[left])))
    if not crossings:
        return SwitchOver(None, None, ())
    return SwitchOver(crossings[0], crossings[-1], tuple(crossings))


@dataclass(frozen=True)
class RobustnessReport:
    """Everything one analysis found.

    Attributes:
        settings: What was done to the images.
        curves: One per critic, then their mean if there are several.
        images: Names of the images that were scored.
        num_crops: How many crops of them were.
        bad_files: Files that could not be used.
    """

    settings: RobustnessSettings
    curves: tuple[RobustnessCurve, ...]
    images: tuple[str, ...]
    num_crops: int
    bad_files: tuple[BadFile, ...] = ()

    @property
    def critics(self) -> tuple[str, ...]:
        """Labels of the critics, without their mean."""
        return tuple(curve.label for curve in self.curves if curve.label != ENSEMBLE)

    @property
    def compared(self) -> tuple[str, ...]:
        """Labels of the critics whose curves :attr:`switch_over` compares: the first two, if there are two."""
        return self.critics[:2] if len(self.critics) > 1 else ()

    @property
    def switch_over(self) -> dict[str, SwitchOver]:
        """Crossings of the first two critics' curves, for removed bands and for noise; empty for one critic."""
        if not self.compared:
            return {}
        first, second = self.curves[:2]
        return {
            kind: find_switch_over(getattr(first, kind).absolute, getattr(second, kind).absolute, first.frequency)
            for kind in ("masked", "noisy")
        }

    def format(self) -> str:
        """A table for a terminal: absolute score change per band and critic."""
        header = ["band", *(f"{curve.label} {kind}" for curve in self.curves for kind in ("masked", "noise"))]
        edges = self.settings.edges
        rows = [
            [f"{edges[band]:.3f}–{edges[band + 1]:.3f}"]
            + [float(change.absolute[band]) for curve in self.curves for change in (curve.masked, curve.noisy)]
            for band in range(self.settings.divide)
        ]
        lines = [format_table(header, rows), f"{len(self.images)} images, {self.num_crops} crops"]
        for kind, switch in self.switch_over.items():
            who = f"{kind}, {' and '.join(self.compared)}"
            if switch.r1 is None:
                lines.append(f"{who}: the curves do not cross")
            else:
                lines.append(f"{who}: r1 = {switch.r1:.3f}, r2 = {switch.r2:.3f}")
        return "\n".join(lines)

    def write(self, base: str | os.PathLike[str], source: Mapping[str, Any] | None = None) -> list[Path]:
        """Writes ``<base>.json`` (with what it came from, ``source``) and ``<base>.csv``; returns their paths."""
        paths = [Path(f"{base}.json"), Path(f"{base}.csv")]
        write_json({**self._as_mapping(), SOURCE: source or {}}, paths[0])
        header = ["critic", "band_low", "band_high", "perturbation", "mean_absolute_change", "mean_change", "error"]
        edges = self.settings.edges
        rows = [
            [curve.label, edges[band], edges[band + 1], kind]
            + [float(values[band]) for values in (change.absolute, change.signed, change.error)]
            for curve in self.curves
            for kind, change in (("masked", curve.masked), ("noisy", curve.noisy))
            for band in range(self.settings.divide)
        ]
        write_csv(header, rows, paths[1])
        return paths

    def _as_mapping(self) -> dict[str, object]:
        return {
            "settings": vars(self.settings),
            "edges": self.settings.edges,
            "num_images": len(self.images),
            "num_crops": self.num_crops,
            "critics": {
                curve.label: {
                    "clean_mean": curve.clean_mean,
                    "clean_std": curve.clean_std,
                    "masked": vars(curve.masked),
                    "noisy": vars(curve.noisy),
                }
                for curve in self.curves
            },
            "switch_over_between": self.compared,
            "switch_over": {kind: vars(switch) for kind, switch in self.switch_over.items()},
            "bad_files": [vars(bad) for bad in self.bad_files],
        }


def check_critic_labels(labels: Sequence[str]) -> None:
    """Refuses labels that results could not be kept apart by.

    Raises:
        UserError: If two critics have one label, or one has that of the ensemble or cannot be part of a file name.
    """
    refuse_equal_labels(labels, "critics", "by --net, --net2 or --critic LABEL=EXPERIMENT")
    for label in labels:
        if label == ENSEMBLE:
            raise UserError(f"a critic cannot be called {ENSEMBLE!r}, which is the mean of all critics; rename it")
        if not label.strip() or "/" in label or os.sep in label:
            raise UserError(f"{label!r} cannot name a critic: files are named by it; use a word without slashes")


def build_report(
    scores: Mapping[str, BandScores],
    settings: RobustnessSettings,
    bad_files: Sequence[BadFile] = (),
) -> RobustnessReport:
    """Summarises every critic's scores and, for several critics, their mean's (labelled :data:`ENSEMBLE`).

    Raises:
        UserError: If labels are refused by :func:`check_critic_labels`.
    """
    check_critic_labels(list(scores))
    curves = [summarise_scores(label, part, settings.edges) for label, part in scores.items()]
    if len(scores) > 1:
        curves.append(summarise_scores(ENSEMBLE, average_critics(list(scores.values())), settings.edges))
    crops = next(iter(scores.values())).images
    images = tuple(dict.fromkeys(crops))
    return RobustnessReport(settings, tuple(curves), images, len(crops), tuple(bad_files))
