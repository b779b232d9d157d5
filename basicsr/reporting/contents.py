"""What a page shows, as plain data: tables, curves, profiles, scatter plots and options of runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from basicsr.evaluation.dataset_images import BASELINE, GENERATOR
from basicsr.evaluation.tables import format_cell
from basicsr.metrics import Metric
from basicsr.reporting.comparison import Contestant, better_direction, choose_contestants, compare
from basicsr.reporting.curves import Series, read_profiles
from basicsr.reporting.runs import GROUND_TRUTH, Run
from basicsr.reporting.tables import Cell, Table
from basicsr.utils.errors import UserError, count

Data = dict[str, Any]

MAX_POINTS = 1000
"""Of a curve: of more, evenly spaced ones are shown."""

MAX_ROWS = 400
"""Of a table of images."""


def describe_run(run: Run) -> Data:
    """The line of a run at the head of the page."""
    network = run.options.get("network_g") or {}
    iterations = max((iteration for series in run.curves.values() for iteration in series), default=None)
    facts = {
        "kind": run.kind,
        "model": run.options.get("model_type"),
        "generator": network.get("type") if isinstance(network, Mapping) else None,
        "scale": f"×{run.scale}" if run.scale else None,
        "iterations": f"{iterations:,}" if iterations else None,
        "folder": str(run.folder),
    }
    return {"label": run.label, "facts": {key: str(value) for key, value in facts.items() if value}, "notes": run.notes}


def table_data(table: Table, title: str, notes: Sequence[str] = (), **more: object) -> Data:
    """A table with what copying it needs: Markdown and LaTeX line by line, so that the page can put them in order."""
    sources = {form: table.source(form) for form in ("markdown", "latex")}
    rows = [
        {
            "cells": [format_cell(cell) for cell in row],
            "keys": [_sort_key(cell) for cell in row],
            **{form: lines[index] for form, (_, lines, _) in sources.items()},
        }
        for index, row in enumerate(table.rows)
    ]
    around = {form: {"head": head, "foot": foot} for form, (head, _, foot) in sources.items()}
    return {"title": title, "header": list(table.header), "rows": rows, "around": around, "notes": list(notes), **more}


def _sort_key(cell: Cell) -> float | str | None:
    if cell is None:
        return None
    try:
        number = float(cell)
    except ValueError:
        return str(cell)
    # A text such as "nan" stays one: JSON has no such numbers.
    return number if math.isfinite(number) else str(cell) if isinstance(cell, str) else None


def comparison_tables(runs: Sequence[Run]) -> list[Data]:
    """The table that ``basicsr compare`` prints; where numbers are not of one protocol, the reason stands there."""
    measured = [run for run in runs if run.scores]
    if not measured:
        return []
    contestants = choose_contestants(measured)
    try:
        found = compare(contestants)
    except UserError as error:
        return [table_data(Table([], []), "Not compared", [str(error)])]
    how = f"Differences are to {contestants[0].label}, with paired bootstrap intervals over images."
    notes = [how] if len(contestants) > 1 else []
    tables = []
    for dataset in dict.fromkeys(row.dataset for row in found.rows):
        protocols = {f"{name}: {line}" for run in measured for name, line in run.scores[dataset].protocols.items()}
        data = table_data(found.table(dataset), f"Means of {dataset}", notes, how=sorted(protocols))
        for row, entry in zip((row for row in found.rows if row.dataset == dataset), data["rows"]):
            entry["mark"] = row.verdict
        tables.append(data)
    left_out = [*found.refusals, *found.notes]
    return [*tables, table_data(Table([], []), "Not compared", left_out)] if left_out else tables


def image_tables(runs: Sequence[Run]) -> list[Data]:
    """For each data set every image's numbers by every method."""
    tables = []
    for dataset in dict.fromkeys(name for run in runs for name in run.scores):
        owners = [run for run in runs if dataset in run.scores]
        metrics = list(dict.fromkeys(metric for run in owners for metric in run.scores[dataset].protocols))
        rows: list[list[Cell]] = []
        for image in dict.fromkeys(image for run in owners for image in run.scores[dataset].images):
            for run, method in _list_methods(owners, dataset):
                values = run.scores[dataset].images.get(image, {}).get(method, {})
                if values:
                    rows.append([image, Contestant(run, method).label, *map(values.get, metrics)])
        more = f"{count(len(rows) - MAX_ROWS, 'more row')} in metrics.csv." if len(rows) > MAX_ROWS else ""
        if metrics and rows:
            table = Table(["image", "method", *metrics], rows[:MAX_ROWS])
            tables.append(table_data(table, f"Images of {dataset}", [more] if more else [], closed=len(rows) > 12))
    return tables


def scores_on_picture(runs: Sequence[Run], dataset: str, image: str) -> dict[str, str]:
    """For each method the first two metrics of an image, as a line that stands on its picture."""
    found = {}
    owners = [run for run in runs if dataset in run.scores]
    for run, method in _list_methods(owners, dataset):
        values = run.scores[dataset].images.get(image, {}).get(method, {})
        known = [f"{metric} {value:.4g}" for metric, value in values.items() if value is not None]
        found[Contestant(run, method).label] = " · ".join(known[:2])
    return {label: line for label, line in found.items() if line}


def _list_methods(runs: Sequence[Run], dataset: str) -> Iterator[tuple[Run, str]]:
    """Every generator, after the first baseline."""
    baselines = [run for run in runs if BASELINE in run.scores[dataset].methods]
    if baselines:
        yield baselines[0], BASELINE
    yield from ((run, GENERATOR) for run in runs)


def curve_charts(runs: Sequence[Run]) -> list[Data]:
    """A chart for each quantity, with a series of each run that has it; accuracies of one critic share a chart."""
    charts: dict[str, Data] = {}
    groups = {"losses": "Losses", "metrics": "Metrics", "spectra": "Metrics", "critics": "Critics", "lr": "Training"}
    for run in runs:
        for name, series in run.curves.items():
            kind, _, rest = name.partition("/")
            title, dash = rest.replace("/", ", ") or name, ""
            if kind == "critics":
                title, _, dash = title.rpartition("_accuracy_")
                title = f"Accuracy of {title.rpartition(', ')[2]} on {title.rpartition(', ')[0]}"
            elif kind == "spectra":
                title = f"{rest.rpartition('/')[0]}, spectral distance (dB)"
            elif kind == "lr":
                title = "Learning rate" + (f" {rest}" if rest else "")
            key = f"{kind}/{title}"
            chart = charts.setdefault(key, {"group": groups.get(kind, "Training"), "title": title, "series": []})
            chart["series"].append({"label": run.label, "part": dash, "points": _thin(series)})
    order = {"Metrics": 0, "Critics": 1, "Losses": 2, "Training": 3}
    return sorted(charts.values(), key=lambda chart: order[chart["group"]])


def _thin(series: Series) -> list[list[float]]:
    points = [[iteration, float(f"{value:.6g}")] for iteration, value in series.items()]
    step = math.ceil(len(points) / MAX_POINTS)
    return points[::step] if step > 1 else points


def profile_charts(profiles: Mapping[str, Mapping[str, list[float]]], runs: Sequence[Run]) -> list[Data]:
    """Radial profiles by data set: those of the pictures, else the last that a training has kept."""
    found: dict[str, dict[str, list[float]]] = {dataset: dict(levels) for dataset, levels in profiles.items()}
    for run in runs if not found else ():
        for dataset, kept in (read_profiles(run.folder) if run.kind == "training" else {}).items():
            levels = found.setdefault(dataset, {"frequency": kept["frequency"]})
            levels[run.label] = kept["generated_db"]
            if "gt_db" in kept:
                levels.setdefault(GROUND_TRUTH, kept["gt_db"])
    charts = []
    for dataset, levels in found.items():
        frequency = levels.pop("frequency")
        series = [{"label": label, "part": "", "points": list(zip(frequency, row))} for label, row in levels.items()]
        charts.append({"title": dataset, "series": series})
    return charts


def scatter_plots(runs: Sequence[Run]) -> list[Data]:
    """For each data set with two metrics or more, every method's mean values, and those of its images.

    The metrics of distortion come first: those that need a reference and of which more is better (Blau and Michaeli,
    "The Perception-Distortion Tradeoff", CVPR 2018).
    """
    plots = []
    for dataset in dict.fromkeys(name for run in runs for name in run.scores):
        owners = [run for run in runs if dataset in run.scores]
        metrics = list(dict.fromkeys(metric for run in owners for metric in run.scores[dataset].protocols))
        if len(metrics) < 2:
            continue
        points = []
        for run, method in _list_methods(owners, dataset):
            scores = [methods.get(method, {}) for methods in run.scores[dataset].images.values()]
            means = {metric: _mean([values.get(metric) for values in scores]) for metric in metrics}
            points.append({"label": Contestant(run, method).label, "means": means, "images": scores[:MAX_ROWS]})
        better = {metric: better_direction(owners[0], metric) for metric in metrics}
        distortion = [metric for metric in metrics if _is_distortion(owners[0], metric)]
        perception = [metric for metric in metrics if metric not in distortion] or metrics[1:]
        axes = {"x": (distortion or metrics)[0], "y": perception[0]}
        plots.append({"title": dataset, "metrics": metrics, "better": better, **axes, "points": points})
    return plots


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _is_distortion(run: Run, metric: str) -> bool:
    try:
        found = Metric(run.metric_block(metric))
    except (UserError, KeyError):
        return False
    return found.needs_reference and found.better == "higher"


def options_table(runs: Sequence[Run]) -> Data:
    """What the options of runs differ in; of one run, all of them."""
    flat = [dict(_flatten(run.options)) for run in runs]
    keys = list(dict.fromkeys(key for options in flat for key in options))
    if len(runs) > 1:
        keys = [key for key in keys if len({options.get(key) for options in flat}) > 1]
    rows: list[list[Cell]] = [[key, *(options.get(key) for options in flat)] for key in keys]
    notes = [f"{run.label}: no options are known." for run, options in zip(runs, flat) if not options]
    if len(runs) > 1 and not rows:
        notes.append("The options do not differ.")
    title = "What the options differ in" if len(runs) > 1 else "Options"
    return table_data(Table(["option", *(run.label for run in runs)], rows), title, notes, closed=len(rows) > 12)


def _flatten(options: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
