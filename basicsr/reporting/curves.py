"""Curves of a training, read from what it has written: losses, learning rates, metrics and critics over iterations.

The names are those that TensorBoard shows: ``losses/l_pix``, ``metrics/<data set>/psnr``,
``critics/<data set>/<critic>_accuracy_real``. Log files of BasicSR have lines of the same form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Series = dict[int, float]
"""Values by iteration, in increasing order; none of them is infinite or undefined."""

Curves = dict[str, Series]
"""Curves by name."""

SPECTRA = "spectra.jsonl"

_STEP = re.compile(r"\[epoch:\s*\d+, iter:\s*([\d,]+), lr:\(([^)]*)\)\]\s*(?:\[eta: .*?\(.*?\)\]\s*)?(.*)")
_VALIDATION = re.compile(r"INFO: Validation (.+?)(?:, iteration ([\d,]+))?$")
_METRIC = re.compile(r"^\s*# (.+?): (-?[\d.]+|-?inf|nan)(?: \(\d+ of \d+\))?(?:\s+[Bb]est: .*)?$")
_VALUE = re.compile(r"(\S+): (\S+)")

Point = tuple[str, int, str]


def read_curves(folder: Path) -> Curves:
    """Reads the log files and ``spectra.jsonl`` of a training's folder.

    Where a run has gone on from a checkpoint, what it did again replaces what was written before.

    Args:
        folder: ``experiments/<name>``.

    Returns:
        The curves; empty for a folder without a log.
    """
    curves: Curves = {}
    for file in sorted(folder.glob("train_*.log")):
        points = list(_read_log(file))
        # A run that goes on may first make up for the validation of the iteration that it begins after.
        first = min((at for name, at, _ in points if not name.startswith("metrics/")), default=math.inf)
        for series in curves.values():
            for iteration in [known for known in series if known >= first]:
                del series[iteration]
        _add(curves, points)
    _add(curves, _read_spectra(folder / SPECTRA))
    return {name: dict(sorted(series.items())) for name, series in curves.items() if series}


def read_profiles(folder: Path) -> dict[str, dict[str, list[float]]]:
    """The last radial profiles that ``val.spectra`` has kept.

    Args:
        folder: ``experiments/<name>``.

    Returns:
        For each data set ``frequency``, ``generated_db`` and, where there is ground truth, ``gt_db``.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for entry in _entries(folder / SPECTRA):
        with suppress(KeyError, TypeError):
            keys = ("frequency", "generated_db", "gt_db")
            found[str(entry["dataset"])] = {key: list(entry[key]) for key in keys if entry[key] is not None}
    return found


def _add(curves: Curves, points: list[Point] | Iterator[Point]) -> None:
    for name, iteration, text in points:
        with suppress(ValueError):
            if math.isfinite(value := float(text)):
                curves.setdefault(name, {})[iteration] = value


def _read_log(file: Path) -> Iterator[Point]:
    dataset, at = "", 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if step := _STEP.search(line):
            at = _whole(step[1])
            rates = [rate.strip() for rate in step[2].split(",") if rate.strip()]
            yield from (("lr" if len(rates) == 1 else f"lr/{index}", at, rate) for index, rate in enumerate(rates))
            for name, value in _VALUE.findall(step[3]):
                yield f"{'losses' if name.startswith('l_') else 'train'}/{name}", at, value
        elif validation := _VALIDATION.search(line):
            dataset, at = validation[1], _whole(validation[2]) if validation[2] else at  # BasicSR: of the step before
        elif dataset and (metric := _METRIC.match(line)):
            yield f"metrics/{dataset}/{metric[1]}", at, metric[2]
        elif not line.startswith(" "):
            dataset = ""


def _read_spectra(file: Path) -> Iterator[Point]:
    for entry in _entries(file):
        with suppress(KeyError, TypeError, ValueError):
            dataset, iteration = str(entry["dataset"]), int(entry["iteration"])
            if entry["distance_db"] is not None:
                yield f"spectra/{dataset}/distance", iteration, str(entry["distance_db"])
            for name, accuracy in entry["critics"].items():
                for kind in ("accuracy_real", "accuracy_generated"):
                    yield f"critics/{dataset}/{name}_{kind}", iteration, str(accuracy[kind])


def _entries(file: Path) -> Iterator[dict]:
    """The lines of a file of JSON objects; a torn one is passed over."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for line in text.splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def _whole(text: str) -> int:
    return int(text.replace(",", ""))
