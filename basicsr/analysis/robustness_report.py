"""Score changes over frequency: curves of critics and of their mean, where one takes over from another, a figure."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from basicsr.analysis.arguments import refuse_equal_labels
from basicsr.analysis.experiments import SOURCE, write_report
from basicsr.analysis.images import BadFile
from basicsr.analysis.robustness import BandScores, RobustnessSettings
from basicsr.evaluation.figures import (
    FREQUENCY_LABEL,
    draw_legend,
    draw_separators,
    legend_room,
    line_style,
    new_figure,
)
from basicsr.evaluation.tables import format_table
from basicsr.utils.errors import UserError

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
    kinds = ("clean", "masked", "noisy")
    return BandScores(scores[0].images, *(np.mean([getattr(part, kind) for part in scores], axis=0) for kind in kinds))


def summarise_scores(label: str, scores: BandScores, edges: Sequence[float]) -> RobustnessCurve:
    """Averages score changes over the crops of each image, then over images; every image counts once.

    Crops of one photograph are alike, so only images count as independent in the standard error.
    """
    _, owner = np.unique(scores.images, return_inverse=True)

    def average(values: np.ndarray) -> np.ndarray:
        return np.stack([values[owner == index].mean(axis=0) for index in range(owner.max() + 1)])

    def summarise(perturbed: np.ndarray) -> ScoreChange:
        change = perturbed - scores.clean[:, None]
        size = average(np.abs(change))
        error = size.std(axis=0, ddof=1) / np.sqrt(len(size)) if len(size) > 1 else np.full_like(size[0], np.nan)
        return ScoreChange(size.mean(axis=0), average(change).mean(axis=0), error)

    centres, clean = np.convolve(edges, [0.5, 0.5], "valid"), average(scores.clean)
    masked, noisy = summarise(scores.masked), summarise(scores.noisy)
    return RobustnessCurve(label, centres, masked, noisy, float(clean.mean()), float(clean.std()))


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
    # Where the curves touch, it is the bands on either side that tell whether they cross.
    present = np.abs(gap) > 1e-9
    gap, frequency = gap[present], frequency[present]
    left = np.flatnonzero(gap[:-1] * gap[1:] < 0)
    part = gap[left] / (gap[left] - gap[left + 1])
    crossings = (frequency[left] + part * (frequency[left + 1] - frequency[left])).tolist()
    return SwitchOver(min(crossings, default=None), max(crossings, default=None), tuple(crossings))


@dataclass
class RobustnessReport:
    """Everything one analysis found.

    Attributes:
        scores: Scores by critic.
        settings: What was done to the images.
        bad_files: Files that could not be used.
        curves: One per critic, then that of their mean (:data:`ENSEMBLE`) if there are several.
        images: Names of the images that were scored.
        num_crops: How many crops of them were.
        compared: Labels of the critics whose curves :attr:`switch_over` compares: the first two, if there are two.
        switch_over: Crossings of these curves, for removed bands and for noise; empty for one critic.

    Raises:
        UserError: If labels are refused by :func:`check_critic_labels`.
    """

    scores: Mapping[str, BandScores]
    settings: RobustnessSettings
    bad_files: Sequence[BadFile] = ()

    def __post_init__(self) -> None:
        check_critic_labels(list(self.scores))
        parts = dict(self.scores)
        crops = next(iter(parts.values())).images
        self.images, self.num_crops = tuple(dict.fromkeys(crops)), len(crops)
        self.compared = tuple(parts)[:2] if len(parts) > 1 else ()
        if self.compared:
            parts[ENSEMBLE] = average_critics(list(self.scores.values()))
        self.curves = [summarise_scores(label, part, self.settings.edges) for label, part in parts.items()]
        self.switch_over: dict[str, SwitchOver] = {}
        for kind in ("masked", "noisy") if self.compared else ():
            first, second = (getattr(curve, kind).absolute for curve in self.curves[:2])
            self.switch_over[kind] = find_switch_over(first, second, self.curves[0].frequency)

    def format(self) -> str:
        """A table for a terminal: absolute score change per band and critic."""
        header = ["band", *(f"{curve.label} {kind}" for curve in self.curves for kind in ("masked", "noise"))]
        columns = [change.absolute for curve in self.curves for change in (curve.masked, curve.noisy)]
        bands = [f"{low:.3f}–{high:.3f}" for low, high in itertools.pairwise(self.settings.edges)]
        rows = [[band, *map(float, values)] for band, values in zip(bands, np.transpose(columns))]
        images, crops = len(self.images), self.num_crops
        counted = f"{images} image{'s' * (images != 1)}, {crops} crop{'s' * (crops != 1)}"
        lines = [format_table(header, rows), counted]
        for kind, switch in self.switch_over.items():
            found = "the curves do not cross" if switch.r1 is None else f"r1 = {switch.r1:.3f}, r2 = {switch.r2:.3f}"
            lines.append(f"{kind}, {' and '.join(self.compared)}: {found}")
        return "\n".join(lines)

    def write(self, base: str | os.PathLike[str], source: Mapping[str, object] | None = None) -> list[Path]:
        """Writes ``<base>.json`` (with what it came from, ``source``) and ``<base>.csv``; returns their paths."""
        content = {
            "settings": self.settings,
            "edges": self.settings.edges,
            "num_images": len(self.images),
            "num_crops": self.num_crops,
            "critics": {curve.label: curve for curve in self.curves},
            "switch_over_between": self.compared,
            "switch_over": self.switch_over,
            "bad_files": [bad._asdict() for bad in self.bad_files],
            SOURCE: source or {},
        }
        header = ["critic", "band_low", "band_high", "perturbation", "mean_absolute_change", "mean_change", "error"]
        rows = [
            [curve.label, low, high, kind, *map(float, values)]
            for curve in self.curves
            for kind, change in (("masked", curve.masked), ("noisy", curve.noisy))
            for low, high, *values in zip(self.settings.edges, self.settings.edges[1:], *vars(change).values())
        ]
        return write_report(base, content, header, rows)


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


def plot_robustness(report: RobustnessReport, relative: bool = False) -> Figure:
    """Score change over frequency: bands removed on the left, noise added on the right, one line per critic.

    Args:
        report: The analysis.
        relative: Divide each curve by its geometric mean, so that critics of different scale can be compared. These are
            the curves whose first and last crossing are r1 and r2, so these are drawn with them.
    """
    figure, grid = new_figure(1, 2, (7.6 + legend_room(len(report.curves)), 3.3), sharey=relative)
    for axes, kind, title in zip(grid[0], ("masked", "noisy"), ("band removed", "noise added in band")):
        for index, curve in enumerate(report.curves):
            change: ScoreChange = getattr(curve, kind)
            values = relate_to_own_level(change.absolute) if relative else change.absolute
            style = line_style(index + 1, points=True)
            axes.plot(curve.frequency, values, label=curve.label, **style)
            if not relative and np.isfinite(change.error).all():
                low, high = values - change.error, values + change.error
                axes.fill_between(curve.frequency, np.maximum(low, values / 10), high, color=style["color"], alpha=0.15)
        axes.set(title=title, xlim=(0, 1), xlabel=FREQUENCY_LABEL)
        if any(getattr(curve, kind).absolute.max() > 0 for curve in report.curves):
            # The band of the image's mean changes scores hundreds of times more than the rest.
            axes.set_yscale("log")
        crossings = report.switch_over[kind].crossings if relative and report.compared else ()
        if crossings:
            r1, r2 = crossings[0], crossings[-1]
            names = {r1: "r1", r2: "r2"} if r1 < r2 else {r1: "r1 = r2"}
            draw_separators(axes, list(names), labels=False, names=list(names.values()))
    grid[0, 0].set_ylabel("|score change| / its geometric mean" if relative else "mean |score change|")
    legend = draw_legend(grid[0, 0])
    if relative and any(switch.r1 is not None for switch in report.switch_over.values()):
        legend.set_title(f"r1, r2: {' and '.join(report.compared)} cross")
    return figure
