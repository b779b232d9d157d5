"""Reports on scores: agreement with opinions, files, a scatter plot, a sheet of the best and the worst images."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from basicsr.analysis.experiments import read_record
from basicsr.analysis.images import BadFile, read_image
from basicsr.analysis.opinions import MIN_FITTED, MIN_RESAMPLED, Correlation, correlate, fit_polynomial
from basicsr.analysis.scorer import QualityScores
from basicsr.evaluation.dataset_images import name_images
from basicsr.evaluation.figures import FIGURE_FORMATS, PALETTE, new_figure
from basicsr.evaluation.tables import format_table, write_csv, write_json

logger = logging.getLogger("basicsr")

STATISTICS = {"plcc": "PLCC", "plcc_fitted": "PLCC (fitted)", "srcc": "SRCC", "krcc": "KRCC"}
REPORT = "report.json"
SETTINGS = "settings"


@dataclass
class QualityReport:
    """Scores of a set of images and, where opinions are known, how well they agree.

    Attributes:
        name: Name of the set.
        scores: Scores of every image.
        mos: Mean opinion scores by image name; images that are not in it are scored, but no part of correlations.
            None where nobody was asked.
        settings: All that the scores depend on, for the record.
        bad_files: What could not be used before scoring (lines and names of the guide); files that could not be
            scored are added.
        seed: Seed of the bootstrap.
        supports: What the scores can be taken for; it stands in the table and beside every score.
        opinions: (images,) the opinion of each scored image, NaN where it is not known.
        rated: Indices of the images with an opinion.
        notes: What so few opinions cannot tell.
        correlations: Statistics by critic, then by name (keys of :data:`STATISTICS`), on the rated images.
        undefined: Why a critic has no statistics.
    """

    name: str
    scores: QualityScores
    mos: Mapping[str, float] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    bad_files: Sequence[BadFile] = ()
    seed: int = 23
    supports: str = ""

    def __post_init__(self) -> None:
        self.bad_files = (*self.bad_files, *self.scores.bad_files)
        self.correlations: dict[str, dict[str, Correlation]] = {}
        self.undefined: dict[str, str] = {}
        self.opinions = np.array([(self.mos or {}).get(image, np.nan) for image in self.scores.images])
        self.rated = np.flatnonzero(np.isfinite(self.opinions))
        for critic, values in self.scores.scores.items() if self.mos is not None else ():
            try:
                rated = values[self.rated], self.opinions[self.rated]
                self.correlations[critic] = correlate(*rated, key=(self.seed, self.name))
            except ValueError as error:
                self.undefined[critic] = str(error)
        count, self.notes = len(self.rated), [f"What these scores support: {self.supports}"] if self.supports else []
        if self.correlations and count < MIN_FITTED:
            fitted = f"fitted PLCC is undefined for fewer than {MIN_FITTED} images"
            self.notes.append(f"{fitted}: a cubic passes through them all")
        if self.correlations and count < MIN_RESAMPLED:
            self.notes.append(f"{count} images are too few for confidence intervals, which need {MIN_RESAMPLED}")

    def format(self) -> str:
        """A table for a terminal: one critic per row, every statistic with its 95% interval."""
        images, rated = self.scores.images, len(self.rated)
        counted = f"{len(images)} image{'s' * (len(images) != 1)}"
        if self.mos is None:
            values = self.scores.scores[self.scores.overall]
            rows = [[images[index], float(values[index])] for index in self.scores.rank()[:5]]
            return "\n".join([format_table([f"best of {counted}", self.scores.overall], rows), *self.notes])
        counted = counted if rated == len(images) else f"{rated} of {counted} rated"
        found = [[critic, *(str(by_name[key]) for key in STATISTICS)] for critic, by_name in self.correlations.items()]
        lines = [format_table([f"{self.name}, {counted}", *STATISTICS.values()], found)]
        lines += [f"{critic}: {reason}" for critic, reason in self.undefined.items()]
        return "\n".join([*lines, *self.notes])

    def write(self, folder: str | os.PathLike[str], ranked: bool = False) -> list[Path]:
        """Writes ``scores.csv`` (every image) and ``report.json``; returns their paths.

        Args:
            folder: Where to.
            ranked: List images from the best to the worst instead of in the order given.
        """
        paths = [Path(folder) / "scores.csv", Path(folder) / REPORT]
        columns = {} if self.mos is None else {"mos": self.opinions}
        columns |= self.scores.scores
        order = self.scores.rank() if ranked else range(len(self.scores.images))
        names = list(zip(name_images(self.scores.images), self.scores.images))
        rows: list[list[object]] = [
            [*names[index], *(float(values[index]) for values in columns.values()), self.supports] for index in order
        ]
        write_csv(["image", "file", *columns, "supports"], rows, paths[0])
        content = {
            "name": self.name,
            "num_images": len(self.scores.images),
            "num_rated": len(self.rated),
            SETTINGS: self.settings,
            "correlations": self.correlations,
            "undefined": self.undefined,
            "notes": self.notes,
            "bad_files": [bad._asdict() for bad in self.bad_files],
        }
        write_json(content, paths[1])
        return paths


def choose_folder(folder: Path, settings: Mapping[str, object]) -> Path:
    """The folder itself, or one beside it if it holds anything but the scores of these very settings.

    The other's name ends in a digest of the settings, so that a command that is repeated replaces its own results.

    Args:
        folder: Where scores would best be.
        settings: All that scores depend on, as it will stand in ``report.json``.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return folder
    plain = json.loads(json.dumps(settings))
    former = read_record(folder / REPORT, SETTINGS) or {}
    if former == plain:
        return folder
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=4).hexdigest()
    beside = folder.with_name(f"{folder.name}-{digest}")
    changed = [key for key in plain if former.get(key) != plain[key]] if former else []
    reason = f"scores of other settings ({', '.join(changed)} changed)" if changed else "something else"
    logger.warning("%s holds %s; these scores go to %s", folder, reason, beside)
    return beside


def clear_figures(folder: Path) -> None:
    """Takes the figures of earlier scores away, which do not belong to those about to be written."""
    if (folder / REPORT).is_file():
        for name, kind in itertools.product(("contact_sheet", "scatter"), FIGURE_FORMATS):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)


def plot_agreement(report: QualityReport) -> Figure:
    """Opinions over scores, one panel per critic, with the fitted cubic polynomial where it is defined.

    Raises:
        ValueError: If the report has no opinions.
    """
    if not len(report.rated):
        raise ValueError("a scatter plot needs opinion scores")
    opinions, scores = report.opinions[report.rated], report.scores.scores
    figure, grid = new_figure(1, len(scores), (3.1 * len(scores), 3.2), sharey=True)
    for axes, critic in zip(grid[0], scores):
        values = scores[critic][report.rated]
        axes.scatter(values, opinions, s=14 if len(values) < 300 else 4, color=PALETTE[1], alpha=0.6, linewidths=0)
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
    captions = shorten_names(report.scores.images)
    for (title, indices), line in zip(rows, grid):
        for axes, index in zip(line, indices):
            image = read_image(paths[report.scores.images[index]])[None].float() / 255
            small = torch.nn.functional.avg_pool2d(image, max(1, max(image.shape[-2:]) // 320))
            axes.imshow(small[0].permute(1, 2, 0).numpy())
            axes.set(xticks=[], yticks=[], anchor="S")
            axes.spines[:].set_visible(False)
            axes.grid(visible=False)
            axes.set_xlabel(f"{captions[index]}\n{values[index]:.4g}", fontsize=7)
        line[0].set_ylabel(title)
    return figure


def shorten_names(names: Sequence[str], length: int = 22) -> list[str]:
    """Names of at most ``length`` characters; ``…`` stands for a beginning that all share, and for a cut middle."""
    shared = os.path.commonprefix(list(names)) if len(names) > 1 else ""  # noqa: RUF071 (characters are meant)
    # Rather whole words than the last digits alone, where they fit.
    word = len(shared.rstrip(string.ascii_letters + string.digits))
    head, short = length // 2, []
    for name in names:
        if len(name) > length and len(shared) > head:
            name = "…" + name[word if word and len(name) - word < length else len(shared) :]
        short.append(name if len(name) <= length else f"{name[:head]}…{name[head + 1 - length :]}")
    return short
