"""What scores are worth: agreement with opinions, files, a scatter plot, a sheet of the best and the worst images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr.iqa.correlation import Correlation, correlate, fit_polynomial
from basicsr.iqa.scorer import QualityScores
from basicsr.spectral.images import BadFile, read_image
from basicsr.spectral.plots import PALETTE, new_figure
from basicsr.spectral.tables import format_table, write_csv, write_json

STATISTICS = {"plcc": "PLCC", "plcc_fitted": "PLCC (fitted)", "srcc": "SRCC", "krcc": "KRCC"}


@dataclass(frozen=True)
class QualityReport:
    """Scores of a set of images and, where opinions are known, how well they agree.

    Attributes:
        name: Name of the set.
        scores: Scores of every image.
        mos: Mean opinion score by image name; empty without opinions.
        correlations: Statistics by critic, then by name (keys of :data:`STATISTICS`).
        undefined: Why a critic has no statistics.
        settings: How images were scored, for the record.
        bad_files: Everything that could not be used: files, names and lines of the guide.
    """

    name: str
    scores: QualityScores
    mos: Mapping[str, float] = field(default_factory=dict)
    correlations: Mapping[str, Mapping[str, Correlation]] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    bad_files: tuple[BadFile, ...] = ()

    def format(self) -> str:
        """A table for a terminal: one critic per row, every statistic with its 95% interval."""
        if not self.mos:
            best = self.scores.rank()[:5]
            values = self.scores.scores[self.scores.overall]
            rows = [[self.scores.images[index], float(values[index])] for index in best]
            return format_table([f"best of {len(self.scores.images)} images", self.scores.overall], rows)
        rows = [[critic, *(str(found[key]) for key in STATISTICS)] for critic, found in self.correlations.items()]
        lines = [format_table([f"{self.name}, {len(self.scores.images)} images", *STATISTICS.values()], rows)]
        lines += [f"{critic}: {reason}" for critic, reason in self.undefined.items()]
        return "\n".join(lines)

    def write(self, folder: str | os.PathLike[str], ranked: bool = False) -> list[Path]:
        """Writes ``scores.csv`` (every image) and ``report.json``; returns their paths.

        Args:
            folder: Where to.
            ranked: List images from the best to the worst instead of in the order given.
        """
        paths = [Path(folder) / "scores.csv", Path(folder) / "report.json"]
        critics = list(self.scores.scores)
        order = self.scores.rank() if ranked else np.arange(len(self.scores.images))
        header = ["image", *(["mos"] if self.mos else []), *critics]
        rows = []
        for index in order:
            image = self.scores.images[index]
            opinion = [self.mos[image]] if self.mos else []
            rows.append([image, *opinion, *(float(self.scores.scores[critic][index]) for critic in critics)])
        write_csv(header, rows, paths[0])
        write_json(self._as_mapping(), paths[1])
        return paths

    def _as_mapping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "num_images": len(self.scores.images),
            "settings": self.settings,
            "correlations": {
                critic: {key: vars(value) for key, value in found.items()}
                for critic, found in self.correlations.items()
            },
            "undefined": self.undefined,
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
        mos: Mean opinion score of every scored image; None without opinions.
        seed: Seed of the bootstrap.
        settings: How images were scored, for the record.
        bad_files: What could not be used before scoring (lines and names of the guide).
    """
    everything_bad = (*bad_files, *scores.bad_files)
    if mos is None:
        return QualityReport(name, scores, settings=settings or {}, bad_files=everything_bad)
    opinions = [mos[image] for image in scores.images]
    correlations: dict[str, Mapping[str, Correlation]] = {}
    undefined: dict[str, str] = {}
    for critic, values in scores.scores.items():
        try:
            correlations[critic] = correlate(values, opinions, key=(seed, name))
        except ValueError as error:
            undefined[critic] = str(error)
    kept = dict(zip(scores.images, opinions))
    return QualityReport(name, scores, kept, correlations, undefined, settings or {}, everything_bad)


def plot_agreement(report: QualityReport) -> Figure:
    """Opinions over scores, one panel per critic, with the fitted cubic polynomial.

    Raises:
        ValueError: If the report has no opinions.
    """
    if not report.mos:
        raise ValueError("a scatter plot needs opinion scores")
    opinions = np.array([report.mos[image] for image in report.scores.images])
    critics = list(report.scores.scores)
    figure, grid = new_figure(1, len(critics), (3.1 * len(critics), 3.2), sharey=True)
    for axes, critic in zip(grid[0], critics):
        values = report.scores.scores[critic]
        size = 14 if len(values) < 300 else 4
        axes.scatter(values, opinions, s=size, color=PALETTE[1], alpha=0.6, linewidths=0)
        if critic in report.correlations:
            line = np.linspace(values.min(), values.max(), 200)
            axes.plot(line, fit_polynomial(values, opinions)(line), color=PALETTE[2], label="cubic fit")
            found = report.correlations[critic]
            axes.set_title(f"{critic}\nfitted PLCC {found['plcc_fitted'].value:.3f}  SRCC {found['srcc'].value:.3f}")
        else:
            axes.set_title(f"{critic}\nundefined")
        axes.set_xlabel("score")
        axes.locator_params(axis="x", nbins=5)
    grid[0, 0].set_ylabel("mean opinion score")
    return figure


def draw_contact_sheet(report: QualityReport, paths: Mapping[str, Path], count: int = 8) -> Figure:
    """Thumbnails of the best images above those of the worst, each with its score.

    Args:
        report: Scores.
        paths: File of every image by name.
        count: How many of each; of few images none is shown twice.
    """
    order = report.scores.rank()
    count = max(1, min(count, len(order) // 2))
    rows = [("best", order[:count])] + ([("worst", order[-count:])] if len(order) > 1 else [])
    figure, grid = new_figure(len(rows), count, (max(3.0, 1.6 * count), 2.0 * len(rows)))
    values = report.scores.scores[report.scores.overall]
    for (title, indices), line in zip(rows, grid):
        for axes, index in zip(line, indices):
            name = report.scores.images[index]
            _show_thumbnail(axes, paths[name])
            axes.set_xlabel(f"{name[:22]}\n{values[index]:.4g}", fontsize=7)
        line[0].set_ylabel(title)
    return figure


def _show_thumbnail(axes: Axes, path: Path, side: int = 320) -> None:
    image = read_image(path)[None].float() / 255
    factor = max(1, max(image.shape[-2:]) // side)
    small = torch.nn.functional.avg_pool2d(image, factor)[0].permute(1, 2, 0)
    axes.imshow(small.numpy())
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
