"""Results of measuring a data set: every image's metrics, their means, tables and files."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from basicsr.evaluation.dataset_images import GENERATOR, Reasons, Scores
from basicsr.evaluation.spectra import Spectra
from basicsr.evaluation.tables import format_cell, format_table, write_csv, write_json

MAX_ROWS = 40
MAX_NAMED = 10
"""Images that are named below a table, or in the log, because they are left out of means."""

MARK = "*"
"""Stands in tables at numbers that have a note."""

# What is left out of one validation mostly is in the next one too.
_warn_once = cache(logging.getLogger("basicsr").warning)

Best = dict[str, dict[str, dict[str, Any]]]
"""``{data set: {metric: {better, val, iter}}}``; part of a checkpoint."""


class Average(NamedTuple):
    """A mean over images.

    Attributes:
        value: The mean of the finite values. If there is none: infinite where all are, else ``nan``.
        measured: How many are finite.
        total: How many there are.
    """

    value: float
    measured: int
    total: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Average:
        """The mean of one value or more."""
        finite = [value for value in values if math.isfinite(value)]
        return cls(fmean(finite) if finite else sum(values), len(finite), len(values))

    @property
    def remark(self) -> str:
        """Stands beside a mean that some images are left out of: `` (4 of 5)``; else empty."""
        return "" if self.measured == self.total else f" ({self.measured} of {self.total})"


@dataclass
class Evaluation:
    """The metrics of one data set's images, by the generator and, where asked for, by the baseline.

    Attributes:
        dataset: The data set's name.
        images: ``{image: {method: {metric: value}}}``, in the data set's order, also where nothing could be measured.
        protocols: For each metric one line that says how it was measured; empty if nothing could be measured.
        notes: What is to be said of the generator's numbers, by image; those without a remark are not in it.
        left_out: ``{image: {method: {metric: reason}}}`` of the values that are not finite.
        gt_digests: A digest of the 8-bit ground truth of each image that has one: equal ones have equal pixels.
        spectra: What ``val.spectra`` adds while a model trains.
    """

    dataset: str
    images: dict[str, dict[str, Scores]] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, dict[str, Reasons]] = field(default_factory=dict)
    gt_digests: dict[str, str] = field(default_factory=dict)
    spectra: Spectra | None = field(default=None, compare=False)

    def add(
        self, image: str, scores: dict[str, Scores], left_out: Mapping[str, Reasons], note: str, gt_digest: str = ""
    ) -> None:
        """Takes one image: each method's metrics, why some have no finite value, a note, and a digest of its GT."""
        self.images[image] = scores
        if gt_digest:
            self.gt_digests[image] = gt_digest
        if note:
            self.notes[image] = note
        if reasons := {method: found for method, found in left_out.items() if found}:
            self.left_out[image] = reasons

    def remarks(self) -> list[str]:
        """A line for each different note, with the number of images that it is about."""
        counts = Counter(self.notes.values())
        return [f"{GENERATOR}{MARK}: {count} of {len(self.images)} images {note}" for note, count in counts.items()]

    def exceptions(self) -> list[str]:
        """A line for each metric that images are left out of the mean of; it names them and says why."""
        lines, found = [], self._reasons()
        for metric in self.protocols:
            reasons = {image: by_metric[metric] for image, by_metric in found.items() if metric in by_metric}
            if reasons:
                more = f" and {len(reasons) - MAX_NAMED} more" if len(reasons) > MAX_NAMED else ""
                named = _join_by_reason(dict(list(reasons.items())[:MAX_NAMED]))
                lines.append(f"{metric}, left out of the mean: {named}{more}")
        return lines

    def _reasons(self) -> dict[str, Reasons]:
        """Of each image why it is left out of means; methods are told apart where they differ."""
        found: dict[str, Reasons] = {}
        for image, methods in self.left_out.items():
            for metric in dict.fromkeys(metric for reasons in methods.values() for metric in reasons):
                by = {method: reasons[metric] for method, reasons in methods.items() if metric in reasons}
                agree = len(by) == len(self.images[image]) and len(set(by.values())) == 1
                texts = list(by.values())[:1] if agree else [f"{method}: {reason}" for method, reason in by.items()]
                found.setdefault(image, {})[metric] = "; ".join(texts)
        return found

    def warn_of_left_out(self) -> None:
        """Logs which images are left out of means, and why, each once in a process."""
        found = self._reasons()
        for image, reasons in list(found.items())[:MAX_NAMED]:
            _warn_once("%s, %s: left out of the mean of %s", self.dataset, image, _join_by_reason(reasons))
        if len(found) > MAX_NAMED:
            _warn_once("%s: images left out of means: %d more", self.dataset, len(found) - MAX_NAMED)

    @property
    def methods(self) -> list[str]:
        """All methods, the baseline first."""
        return list(dict.fromkeys(method for methods in self.images.values() for method in methods)) or [GENERATOR]

    def means(self, method: str = GENERATOR) -> Scores:
        """The values of :meth:`averages`."""
        return {metric: average.value for metric, average in self.averages(method).items()}

    def averages(self, method: str = GENERATOR) -> dict[str, Average]:
        """Mean of each metric over the images that it applies to and has a finite value of."""
        images = [methods.get(method, {}) for methods in self.images.values()]
        metrics = dict.fromkeys(metric for scores in images for metric in scores)
        return {metric: Average.of([scores[metric] for scores in images if metric in scores]) for metric in metrics}


def describe(evaluation: Evaluation, max_rows: int = MAX_ROWS) -> str:
    """A table of one data set: a row for each image and method, the means, and how the metrics were measured."""
    names = list(evaluation.images)[: max(1, max_rows // len(evaluation.methods))]
    rows: list[list[object]] = [
        [image, _mark(method, image in evaluation.notes), *map(scores.get, evaluation.protocols)]
        for image in names
        for method, scores in evaluation.images[image].items()
    ]
    for method in evaluation.methods:
        rows.append(
            ["mean", _mark(method, bool(evaluation.notes)), *_mean_cells(evaluation, method, evaluation.protocols)]
        )
    lines = [f"{evaluation.dataset}: {len(evaluation.images)} image{'s' if len(evaluation.images) != 1 else ''}"]
    lines.append(format_table(["image", "method", *evaluation.protocols], rows))
    num_left = len(evaluation.images) - len(names)
    if num_left:
        lines.append(f"({num_left} more image{'s are' if num_left > 1 else ' is'} in the file)")
    return "\n".join([*lines, *_protocol_lines(evaluation.protocols), *evaluation.remarks(), *evaluation.exceptions()])


def describe_means(evaluations: Sequence[Evaluation]) -> str:
    """One table with the means of every data set and method, and how the metrics were measured."""
    protocols = _merge_protocols(evaluations)
    rows: list[list[object]] = []
    for evaluation in evaluations:
        for method in evaluation.methods:
            means = _mean_cells(evaluation, method, protocols)
            rows.append([evaluation.dataset, _mark(method, bool(evaluation.notes)), len(evaluation.images), *means])
    table = format_table(["data set", "method", "images", *protocols], rows)
    remarks = [f"{part.dataset}, {line}" for part in evaluations for line in (*part.remarks(), *part.exceptions())]
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
        if evaluation.left_out:
            counts = {
                method: {metric: average.measured for metric, average in evaluation.averages(method).items()}
                for method in evaluation.methods
            }
            facts |= {"left_out": evaluation.left_out, "num_measured": counts}
        facts |= {"gt_digests": evaluation.gt_digests} if evaluation.gt_digests else {}
        content[evaluation.dataset] = {**facts, "mean": means, "images": evaluation.images}
        line = "; ".join(_protocol_lines(evaluation.protocols))
        for image, methods in evaluation.images.items():
            for method, scores in methods.items():
                notes = [evaluation.notes[image]] if method == GENERATOR and image in evaluation.notes else []
                reasons = evaluation.left_out.get(image, {}).get(method, {})
                note = "; ".join([*notes, *(f"{metric}: {reason}" for metric, reason in reasons.items())])
                rows.append([evaluation.dataset, image, method, *map(scores.get, metrics), line, note])
    write_json(content, folder / "metrics.json")
    write_csv(["dataset", "image", "method", *metrics, "protocol", "note"], rows, folder / "metrics.csv")


def _join_by_reason(reasons: Mapping[str, str]) -> str:
    """``a, b (reason), c (other reason)`` of ``{a: reason, b: reason, c: other reason}``."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return ", ".join(f"{', '.join(names)} ({reason})" for reason, names in groups.items())


def _mark(method: str, has_note: bool) -> str:
    return f"{method}{MARK}" if has_note and method == GENERATOR else method


def _mean_cells(evaluation: Evaluation, method: str, metrics: Iterable[str]) -> list[str]:
    averages = evaluation.averages(method)
    found = (averages.get(metric, Average(math.nan, 0, 0)) for metric in metrics)
    return [format_cell(average.value) + average.remark for average in found]


def _merge_protocols(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    return {name: line for evaluation in evaluations for name, line in evaluation.protocols.items()}


def _protocol_lines(protocols: Mapping[str, str]) -> list[str]:
    return [f"{metric}: {line}" for metric, line in protocols.items()]
