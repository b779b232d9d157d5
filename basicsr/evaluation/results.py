"""Results of measuring a data set: every image's metrics, their means, tables and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from basicsr.evaluation.dataset_images import GENERATOR, Scores
from basicsr.evaluation.spectra import Spectra
from basicsr.evaluation.tables import format_table, write_csv, write_json

MAX_ROWS = 40
MARK = "*"
"""Stands in tables at numbers that have a note."""

Best = dict[str, dict[str, dict[str, Any]]]
"""``{data set: {metric: {better, val, iter}}}``; part of a checkpoint."""


@dataclass
class Evaluation:
    """The metrics of one data set's images, by the generator and, where asked for, by the baseline.

    Attributes:
        dataset: The data set's name.
        images: ``{image: {method: {metric: value}}}``, in the data set's order, also where nothing could be measured.
        protocols: For each metric one line that says how it was measured; empty if nothing could be measured.
        notes: What is to be said of the generator's numbers, by image; those without a remark are not in it.
        spectra: What ``val.spectra`` adds while a model trains.
    """

    dataset: str
    images: dict[str, dict[str, Scores]] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    spectra: Spectra | None = field(default=None, compare=False)

    def remarks(self) -> list[str]:
        """A line for each different note, with the number of images that it is about."""
        counts = Counter(self.notes.values())
        return [f"{GENERATOR}{MARK}: {count} of {len(self.images)} images {note}" for note, count in counts.items()]

    @property
    def methods(self) -> list[str]:
        """All methods, the baseline first."""
        return list(dict.fromkeys(method for methods in self.images.values() for method in methods)) or [GENERATOR]

    def means(self, method: str = GENERATOR) -> Scores:
        """Mean over images of each metric; images that a metric does not apply to do not count."""
        images = [methods.get(method, {}) for methods in self.images.values()]
        metrics = dict.fromkeys(metric for scores in images for metric in scores)
        return {metric: fmean(scores[metric] for scores in images if metric in scores) for metric in metrics}


def describe(evaluation: Evaluation, max_rows: int = MAX_ROWS) -> str:
    """A table of one data set: a row for each image and method, the means, and how the metrics were measured."""
    names = list(evaluation.images)[: max(1, max_rows // len(evaluation.methods))]
    groups = {name: evaluation.images[name] for name in names}
    groups["mean"] = {method: evaluation.means(method) for method in evaluation.methods}
    marked = {*evaluation.notes, *(["mean"] if evaluation.notes else [])}
    rows = [
        [image, _mark(method, image in marked), *map(scores.get, evaluation.protocols)]
        for image, methods in groups.items()
        for method, scores in methods.items()
    ]
    lines = [f"{evaluation.dataset}: {len(evaluation.images)} image{'s' if len(evaluation.images) != 1 else ''}"]
    lines.append(format_table(["image", "method", *evaluation.protocols], rows))
    num_left = len(evaluation.images) - len(names)
    if num_left:
        lines.append(f"({num_left} more image{'s are' if num_left > 1 else ' is'} in the file)")
    return "\n".join([*lines, *_protocol_lines(evaluation.protocols), *evaluation.remarks()])


def describe_means(evaluations: Sequence[Evaluation]) -> str:
    """One table with the means of every data set and method, and how the metrics were measured."""
    protocols = _merge_protocols(evaluations)
    rows: list[list[object]] = []
    for evaluation in evaluations:
        for method in evaluation.methods:
            means = map(evaluation.means(method).get, protocols)
            rows.append([evaluation.dataset, _mark(method, bool(evaluation.notes)), len(evaluation.images), *means])
    table = format_table(["data set", "method", "images", *protocols], rows)
    remarks = [f"{evaluation.dataset}, {line}" for evaluation in evaluations for line in evaluation.remarks()]
    return "\n".join(["Means over images:", table, *_protocol_lines(protocols), *remarks])


def write_results(evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Writes ``metrics.json`` and ``metrics.csv``, in which every number has its protocol."""
    content = {}
    rows: list[list[object]] = []
    metrics = _merge_protocols(evaluations)
    for evaluation in evaluations:
        means = {method: evaluation.means(method) for method in evaluation.methods}
        facts = {"num_images": len(evaluation.images), "protocols": evaluation.protocols}
        facts |= {"notes": evaluation.notes} if evaluation.notes else {}
        content[evaluation.dataset] = {**facts, "mean": means, "images": evaluation.images}
        line = "; ".join(_protocol_lines(evaluation.protocols))
        for image, methods in evaluation.images.items():
            for method, scores in methods.items():
                note = evaluation.notes.get(image, "") if method == GENERATOR else ""
                rows.append([evaluation.dataset, image, method, *map(scores.get, metrics), line, note])
    write_json(content, folder / "metrics.json")
    write_csv(["dataset", "image", "method", *metrics, "protocol", "note"], rows, folder / "metrics.csv")


def _mark(method: str, has_note: bool) -> str:
    return f"{method}{MARK}" if has_note and method == GENERATOR else method


def _merge_protocols(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    return {name: line for evaluation in evaluations for name, line in evaluation.protocols.items()}


def _protocol_lines(protocols: Mapping[str, str]) -> list[str]:
    return [f"{metric}: {line}" for metric, line in protocols.items()]
