"""What scores are worth: agreement with opinions, files, a scatter plot, a sheet of the best and the worst images."""

from __future__ import annotations

import math
import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr.analysis.correlation import MIN_FITTED, MIN_RESAMPLED, Correlation, correlate, fit_polynomial
from basicsr.analysis.images import BadFile, read_image
from basicsr.analysis.plots import PALETTE, new_figure
from basicsr.analysis.result_folder import REPORT, SETTINGS
from basicsr.analysis.scorer import QualityScores
from basicsr.utils.tables import format_table, write_csv, write_json

STATISTICS = {"plcc": "PLCC", "plcc_fitted": "PLCC (fitted)", "srcc": "SRCC", "krcc": "KRCC"}


@dataclass(frozen=True)
class QualityReport:
    """Scores of a set of images and, where opinions are known, how well they agree.

    Attributes:
        name: Name of the set.
        scores: Scores of every image.
        mos: Mean opinion score by image name, of those images where it is known; None where nobody was asked.
        correlations: Statistics by critic, then by name (keys of :data:`STATISTICS`), on the images with an opinion.
        undefined: Why a critic has no statistics.
        settings: All that the scores depend on, for the record.
        bad_files: Everything that could not be used: files, names and lines of the guide.
    """

    name: str
    scores: QualityScores
    mos: Mapping[str, float] | None = None
    correlations: Mapping[str, Mapping[str, Correlation]] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    bad_files: tuple[BadFile, ...] = ()

    @property
    def rated(self) -> np.ndarray:
        """Indices of the images with an opinion."""
        known = self.mos or {}
        return np.array([index for index, name in enumerate(self.scores.images) if name in known], np.intp)

    @property
    def notes(self) -> list[str]:
        """What so few opinions cannot tell."""
        count = len(self.rated)
        notes = []
        if self.correlations and count < MIN_FITTED:
            notes.append(
                f"fitted PLCC is undefined for fewer than {MIN_FITTED} images: a cubic passes through them all"
            )
        if self.correlations and count < MIN_RESAMPLED:
            notes.append(f"{count} images are too few for confidence intervals, which need {MIN_RESAMPLED}")
        return notes

    def format(self) -> str:
        """A table for a terminal: one critic per row, every statistic with its 95% interval."""
        if self.mos is None:
            best = self.scores.rank()[:5]
            values = self.scores.scores[self.scores.overall]
            rows = [[self.scores.images[index], float(values[index])] for index in best]
            return format_table([f"best of {len(self.scores.images)} images", self.scores.overall], rows)
        rows = [[critic, *(str(found[key]) for key in STATISTICS)] for critic, found in self.correlations.items()]
        lines = [format_table([f"{self.name}, {self._count_images()}", *STATISTICS.values()], rows)]
        lines += [f"{critic}: {reason}" for critic, reason in self.undefined.items()]
        return "\n".join([*lines, *self.notes])

    def _count_images(self) -> str:
        scored, rated = len(self.scores.images), len(self.rated)
        return f"{scored} images" if rated == scored else f"{rated} of {scored} images rated"

    def write(self, folder: str | os.PathLike[str], ranked: bool = False) -> list[Path]:
        """Writes ``scores.csv`` (every image) and ``report.json``; returns their paths.

        Args:
            folder: Where to.
            ranked: List images from the best to the worst instead of in the order given.
        """
        paths = [Path(folder) / "scores.csv", Path(folder) / REPORT]
        critics = list(self.scores.scores)
        order = self.scores.rank() if ranked else np.arange(len(self.scores.images))
        header = ["image", *(["mos"] if self.mos is not None else []), *critics]
        rows = []
        for index in order:
            image = self.scores.images[index]
            opinion = [] if self.mos is None else [self.mos.get(image, math.nan)]
            rows.append([image, *opinion, *(float(self.scores.scores[critic][index]) for critic in critics)])
        write_csv(header, rows, paths[0])
        write_json(self._as_mapping(), paths[1])
        return paths

    def _as_mapping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "num_images": len(self.scores.images),
            "num_rated": len(self.rated),
            SETTINGS: self.settings,
            "correlations": {
                critic: {key: vars(value) for key, value in found.items()}
                for critic, found in self.correlations.items()
            },
            "undefined": self.undefined,
            "notes": self.notes,
            "bad_files": [vars(bad) for bad in self.bad_files],
        }


def build_quality_report(
    name: str,
    scores: QualityScores,
    mos: Mapping[str, float] | None = None,
    *,
    seed: int = 23,
    settings: Mapping[str, Any] | None = None,
    bad_files: Sequence[BadFile] = (),
) -> QualityReport:
    """Relates scores to opinions.

    Args:
        name: Name of the set.
        scores: Scores of every image.
        mos: Mean opinion scores by image name; images that are not in it are scored, but no part of correlations.
            None where nobody was asked.
        seed: Seed of the bootstrap.
        settings: All that the scores depend on, for the record.
        bad_files: What could not be used before scoring (lines and names of the guide).
    """
    everything_bad = (*bad_files, *scores.bad_files)
    if mos is None:
        return QualityReport(name, scores, settings=settings or {}, bad_files=everything_bad)
    known = {image: mos[image] for image in scores.images if image in mos}
    rated = [index for index, image in enumerate(scores.images) if image in known]
    correlations: dict[str, Mapping[str, Correlation]] = {}
    undefined: dict[str, str] = {}
    for critic, values in scores.scores.items():
        try:
            correlations[critic] = correlate(values[rated], list(known.values()), key=(seed, name))
        except ValueError as error:
            undefined[critic] = str(error)
    return QualityReport(name, scores, known, correlations, undefined, settings or {}, everything_bad)


def plot_agreement(report: QualityReport) -> Figure:
    """Opinions over scores, one panel per critic, with the fitted cubic polynomial where it is defined.

    Raises:
        ValueError: If the report has no opinions.
    """
    if not report.mos:
        raise ValueError("a scatter plot needs opinion scores")
    opinions = np.array([report.mos[report.scores.images[index]] for index in report.rated])
    critics = list(report.scores.scores)
    figure, grid = new_figure(1, len(critics), (3.1 * len(critics), 3.2), sharey=True)
    for axes, critic in zip(grid[0], critics):
        values = report.scores.scores[critic][report.rated]
        size = 14 if len(values) < 300 else 4
        axes.scatter(values, opinions, s=size, color=PALETTE[1], alpha=0.6, linewidths=0)
        found = report.correlations.get(critic)
        title = "undefined" if found is None else f"SRCC {found['srcc'].value:.3f}"
        if found is not None and np.isfinite(found["plcc_fitted"].value):
            line = np.linspace(values.min(), values.max(), 200)
            axes.plot(line, fit_polynomial(values, opinions)(line), color=PALETTE[2])
            title = f"fitted PLCC {found['plcc_fitted'].value:.3f}  {title}"
        axes.set_title(f"{critic}\n{title}", fontsize=9)
        axes.set_xlabel("score")
        axes.locator_params(axis="x", nbins=4)
    grid[0, 0].set_ylabel("mean opinion score")
    return figure


def draw_contact_sheet(report: QualityReport, paths: Mapping[str, Path], count: int = 8) -> Figure:
    """Thumbnails of the best images above those of the worst, each with its score.

    Args:
        report: Scores.
        paths: File of every image by name.
        count: How many of each, 1 or more; of few images none is shown twice.
    """
    order = report.scores.rank()
    count = max(1, min(count, len(order) // 2))
    rows = [("best", order[:count])] + ([("worst", order[-count:])] if len(order) > 1 else [])
    figure, grid = new_figure(len(rows), count, (max(3.0, 1.6 * count), 2.0 * len(rows)))
    values = report.scores.scores[report.scores.overall]
    captions = dict(zip(order, shorten_names([report.scores.images[index] for index in order])))
    for (title, indices), line in zip(rows, grid):
        for axes, index in zip(line, indices):
            _show_thumbnail(axes, paths[report.scores.images[index]])
            axes.set_xlabel(f"{captions[index]}\n{values[index]:.4g}", fontsize=7)
        line[0].set_ylabel(title)
    return figure


def shorten_names(names: Sequence[str], length: int = 22) -> list[str]:
    """Names of at most ``length`` characters; ``…`` stands for a beginning that all share, and for a cut middle."""
    shared = os.path.commonprefix(list(names)) if len(names) > 1 else ""  # noqa: RUF071 (characters are meant)
    return [name if len(name) <= length else _shorten(name, shared, length) for name in names]


def _shorten(name: str, shared: str, length: int) -> str:
    head = length // 2
    if len(shared) > head:
        # Rather whole words than the last digits alone, where they fit.
        word = len(shared.rstrip(string.ascii_letters + string.digits))
        start = word if word and len(name) - word < length else len(shared)
        name = "…" + name[start:]
    return name if len(name) <= length else f"{name[:head]}…{name[head + 1 - length :]}"


def _show_thumbnail(axes: Axes, path: Path, side: int = 320) -> None:
    image = read_image(path)[None].float() / 255
    factor = max(1, max(image.shape[-2:]) // side)
    small = torch.nn.functional.avg_pool2d(image, factor)[0].permute(1, 2, 0)
    axes.imshow(small.numpy())
    axes.set(xticks=[], yticks=[], anchor="S")
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
