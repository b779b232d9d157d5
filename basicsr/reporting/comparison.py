"""Runs compared image by image: means, differences to the first run, and bootstrap intervals of these.

Only numbers of one protocol are compared: the same images and ground truth, measured in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from basicsr.evaluation.dataset_images import BASELINE, GENERATOR
from basicsr.evaluation.intervals import LEVEL, bootstrap_interval
from basicsr.metrics import Metric
from basicsr.reporting.runs import Run, SetScores, method_label
from basicsr.reporting.tables import Cell, Table
from basicsr.utils.errors import DataError, UserError, count

_MAX_NAMED = 3


class Contestant(NamedTuple):
    """A method of a run."""

    run: Run
    method: str

    @property
    def label(self) -> str:
        """What tables call it."""
        return method_label(self.run, self.method)


class Row(NamedTuple):
    """One method on one data set by one metric.

    Attributes:
        dataset: The data set.
        metric: The metric.
        better: ``higher``, ``lower``, or empty if unknown.
        label: What the method is called.
        mean: Mean over the images that all methods compared have a value of; ``nan`` if there is none.
        difference: That mean less the first method's; ``None`` for the first.
        low: Lower end of the interval of the difference; ``None`` where there is no interval.
        high: Upper end.
        images: How many images that are.
        total: How many images the data set has.
    """

    dataset: str
    metric: str
    better: str
    label: str
    mean: float
    difference: float | None
    low: float | None
    high: float | None
    images: int
    total: int

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval leaves out 0 and the direction is known; else empty."""
        if self.low is None or self.high is None or not self.better or self.low <= 0 <= self.high:
            return ""
        return "better" if (self.low > 0) == (self.better == "higher") else "worse"


@dataclass
class Comparison:
    """What comparing gives.

    Attributes:
        rows: By data set, metric and method.
        refusals: Why some numbers are not compared, a sentence each.
        notes: What only some of the runs have, a sentence each.
    """

    rows: list[Row] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self, dataset: str = "") -> Table:
        """The rows as a table; of one data set, if it is named, without a column for it."""
        header = ["data set", "metric", "method", "mean", "difference", f"{LEVEL:.0%} interval", "images"]
        rows: list[list[Cell]] = []
        for row in self.rows:
            if dataset not in ("", row.dataset):
                continue
            arrow = {"higher": " ↑", "lower": " ↓"}.get(row.better, "")
            interval = None if row.low is None or row.high is None else f"[{row.low:+.4g}, {row.high:+.4g}]"
            seen = row.images if row.images == row.total else f"{row.images} of {row.total}"
            difference = None if row.difference is None else f"{row.difference:+.4g}"
            rows.append([row.dataset, row.metric + arrow, row.label, row.mean, difference, interval, seen])
        first = 1 if dataset else 0
        return Table(header[first:], [row[first:] for row in rows])

    def plain_table(self) -> Table:
        """The same for programs: numbers in full precision, an interval in two columns."""
        names = {"images": "num_images", "label": "method", "total": "num_images_in_set"}
        return Table([names.get(name, name) for name in Row._fields], [list(row) for row in self.rows])


def compare(contestants: Sequence[Contestant]) -> Comparison:
    """Compares methods with the first of them, on each data set and by each metric that all have.

    Args:
        contestants: Methods of runs, one or more.

    Raises:
        DataError: If a run has no numbers, or no data set is common to all.
    """
    found = Comparison()
    for contestant in contestants:
        if not contestant.run.scores:
            raise DataError(f"{contestant.run.folder} has no numbers to compare: {' '.join(contestant.run.notes)}")
    by_run = [contestant.run.scores for contestant in contestants]
    names = [name for name in by_run[0] if all(name in scores for scores in by_run)]
    if not names:
        listed = "; ".join(f"{each.label}: {', '.join(each.run.scores)}" for each in contestants)
        raise DataError(f"no data set was measured by all of them ({listed})")
    for name in dict.fromkeys(name for scores in by_run for name in scores if name not in names):
        found.notes.append(f"{name} is left out: not all of the runs were measured on it")
    for name in names:
        refusals = list(_list_differences(name, contestants))
        found.refusals += refusals
        if not refusals:
            _compare_set(name, contestants, found)
    return found


def choose_contestants(runs: Sequence[Run]) -> list[Contestant]:
    """The generators of runs; of a single run, after the baseline that was measured beside it, if there is one."""
    chosen = [Contestant(run, GENERATOR) for run in runs]
    if len(runs) == 1 and any(BASELINE in scores.methods for scores in runs[0].scores.values()):
        chosen.insert(0, Contestant(runs[0], BASELINE))
    return chosen


def better_direction(run: Run, metric: str) -> str:
    """Which values of a metric are better, ``higher`` or ``lower``, if the run's options tell; else empty."""
    try:
        return Metric(run.metric_block(metric)).better
    except (UserError, KeyError):
        return ""


def _compare_set(name: str, contestants: Sequence[Contestant], found: Comparison) -> None:
    """Adds the rows of a data set."""
    scores = [contestant.run.scores[name] for contestant in contestants]
    images, metrics = list(scores[0].images), [each.protocols for each in scores]
    common = [metric for metric in metrics[0] if all(metric in each for each in metrics)]
    for metric in dict.fromkeys(metric for each in metrics for metric in each if metric not in common):
        found.notes.append(f"{name}, {metric} is left out: not all of the runs have it")
    for metric in common:
        table = np.array([_column(each, method, images, metric) for each, (_, method) in zip(scores, contestants)])
        paired = table[:, np.isfinite(table).all(axis=0)]
        better = better_direction(contestants[0].run, metric)
        for index, (contestant, values) in enumerate(zip(contestants, paired)):
            mean = float(values.mean()) if values.size else math.nan
            change = values - paired[0]
            difference = float(change.mean()) if index and values.size else None
            low, high = (bootstrap_interval(change) if index else None) or (None, None)
            row = Row(name, metric, better, contestant.label, mean, difference, low, high, len(values), len(images))
            found.rows.append(row)


def _column(scores: SetScores, method: str, images: Iterable[str], metric: str) -> list[float]:
    """An image's value each; ``nan`` where it could not be measured."""
    values = (scores.images[image].get(method, {}).get(metric) for image in images)
    return [math.nan if value is None else float(value) for value in values]


def _list_differences(name: str, contestants: Sequence[Contestant]) -> Iterable[str]:
    """Why numbers of a data set are not of one protocol."""
    first = contestants[0]
    for other in contestants[1:]:
        if other.run is first.run:
            continue
        pair = f"{name}: {first.label} and {other.label} cannot be compared"
        if first.run.scale and other.run.scale and first.run.scale != other.run.scale:
            yield f"{pair}, as scale is {first.run.scale} and {other.run.scale}"
        mine, theirs = first.run.scores[name], other.run.scores[name]
        only = [_only_in(first, mine, theirs), _only_in(other, theirs, mine)]
        if any(only):
            yield f"{pair}, as they have other images: {'; '.join(filter(None, only))}"
        for metric in filter(theirs.protocols.__contains__, mine.protocols):
            if mine.protocols[metric] != theirs.protocols[metric]:
                lines = f"{mine.protocols[metric]!r} and {theirs.protocols[metric]!r}"
                yield f"{pair} by {metric}, as it was measured in different ways: {lines}"
        digests = mine.gt_digests, theirs.gt_digests
        differing = [image for image in digests[0].keys() & digests[1].keys() if digests[0][image] != digests[1][image]]
        if differing:
            yield f"{pair}, as the ground truth of {_name_some(sorted(differing))} differs"


def _only_in(contestant: Contestant, own: SetScores, others: SetScores) -> str:
    missing = [image for image in own.images if image not in others.images]
    return f"{_name_some(missing)} only in {contestant.label}" if missing else ""


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {count(more, 'more image')}" if more > 0 else "")
