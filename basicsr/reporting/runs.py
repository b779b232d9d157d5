"""A run as its folder tells it: options, scores of images, curves, generated pictures.

Whatever a folder lacks is noted, and the rest is read.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from basicsr.evaluation.dataset_images import BASELINE, GENERATOR
from basicsr.options.load import load_file
from basicsr.reporting.curves import Curves, read_curves
from basicsr.utils.errors import DataError, UserError, first_line

Kind = Literal["training", "test"]

PARENTS: Mapping[str, Kind] = {"results": "test", "experiments": "training"}
"""Where the folders of runs lie, seen from the project's folder."""

GROUND_TRUTH, INPUT = "GT", "LQ"
RESERVED = (GROUND_TRUTH, INPUT, BASELINE)
"""Labels that no run has, as what it is compared with is called so."""

_METRICS = "metrics.json"
UNREADABLE = (OSError, ValueError, AttributeError, KeyError, TypeError)
"""What reading a file of JSON ends in that is absent, damaged or another."""


@dataclass
class SetScores:
    """The numbers of one data set, as ``metrics.json`` has them.

    Attributes:
        protocols: For each metric a line that says how it was measured.
        images: ``{image: {method: {metric: value}}}``; a value is ``None`` where the image could not be measured.
        gt_digests: A digest of the ground truth of each image that has one.
    """

    protocols: dict[str, str] = field(default_factory=dict)
    images: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    gt_digests: dict[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """All methods, the baseline first."""
        found = dict.fromkeys(method for methods in self.images.values() for method in methods)
        return sorted(found, key=GENERATOR.__eq__)


@dataclass
class Run:
    """One training or test.

    Attributes:
        folder: ``experiments/<name>`` or ``results/<name>``.
        kind: Which of them.
        options: The option file that is kept with the run, as plain data; empty if there is none.
        scores: By data set.
        notes: What the folder lacks, a sentence each.
        label: What tables and pictures call it; unlike any other run's.
    """

    folder: Path
    kind: Kind
    options: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, SetScores] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.options.get("name") or self.folder.resolve().name)

    @property
    def scale(self) -> int | None:
        """GT pixels per LQ pixel, if the options say so."""
        scale = self.options.get("scale")
        return scale if isinstance(scale, int) else None

    @cached_property
    def curves(self) -> Curves:
        """Losses, metrics and others over iterations; empty for a test."""
        return read_curves(self.folder) if self.kind == "training" else {}

    def metric_block(self, metric: str) -> Mapping[str, Any]:
        """The options of a metric."""
        block = ((self.options.get("val") or {}).get("metrics") or {}).get(metric)
        return block if isinstance(block, Mapping) else {}

    def evaluation_sets(self) -> dict[str, dict[str, Any]]:
        """The blocks of the data sets that the run was measured on, by the sets' names."""
        phases = ("val",) if self.kind == "training" else ("test", "val")
        blocks = self.options.get("datasets") or {}
        chosen = {key: block for key, block in blocks.items() if block and str(key).split("_")[0] in phases}
        return {str(block.get("name") or key): dict(block) for key, block in sorted(chosen.items())}

    def find_pictures(self) -> dict[tuple[str, str], Path]:
        """The latest picture that the run has kept of each image, by data set and image."""
        folder = self.folder / "visualization"
        files = sorted(folder.rglob("*.png")) if folder.is_dir() else []
        return self._training_pictures(folder, files) if self.kind == "training" else self._test_pictures(folder, files)

    def _test_pictures(self, folder: Path, files: Sequence[Path]) -> dict[tuple[str, str], Path]:
        ending = f"_{(self.options.get('val') or {}).get('suffix') or self.name}"
        found = {}
        for file in files:
            dataset, *parts = file.relative_to(folder).with_suffix("").parts
            if parts and parts[-1].endswith(ending):
                found[dataset, "/".join(parts).removesuffix(ending)] = file
        return found

    def _training_pictures(self, folder: Path, files: Sequence[Path]) -> dict[tuple[str, str], Path]:
        latest: dict[str, tuple[int, Path]] = {}
        for file in files:
            match = re.fullmatch(re.escape(file.parent.name) + r"_(\d+)", file.stem)
            name = file.parent.relative_to(folder).as_posix()
            if match and int(match[1]) >= latest.get(name, (-1, file))[0]:
                latest[name] = int(match[1]), file
        known = {image: dataset for dataset, scores in self.scores.items() for image in scores.images}
        default = next(iter(self.evaluation_sets()), "images")
        return {(known.get(name, default), name): file for name, (_, file) in latest.items()}


def find_run_folders(text: str) -> list[Path]:
    """The folders that a word on a command line stands for: one, or those of a test and a training of that name.

    Raises:
        DataError: If there is none, or it is not the folder of a run.
    """
    path = Path(text)
    folders = [path] if path.is_dir() else [Path(parent, text) for parent in PARENTS if Path(parent, text).is_dir()]
    if not folders:
        places = " or ".join(f"{parent}/{text}" for parent in PARENTS)
        raise DataError(f"{text}: no such folder, and no {places} below {Path.cwd()}")
    for folder in folders:
        if tell_kind(folder) is None:
            raise DataError(
                f"{folder} is not the folder of a run: name experiments/NAME of a training or results/NAME of a test"
            )
    return folders


def tell_kind(folder: Path) -> Kind | None:
    """Whether a folder is that of a training or of a test; ``None`` if of neither."""
    if any(folder.glob("train_*.log")) or (folder / "models").is_dir():
        return "training"
    is_test = any(folder.glob("test_*.log")) or (folder / _METRICS).is_file()
    return "test" if is_test or (folder / "visualization").is_dir() else None


def has_scores(folder: Path) -> bool:
    """Whether a run's folder has numbers."""
    return (folder / _METRICS).is_file()


def read_run(folder: Path) -> Run:
    """Reads a run's folder.

    Raises:
        DataError: If it is not the folder of a run.
    """
    kind = tell_kind(folder)
    if kind is None:
        raise DataError(f"{folder} is not the folder of a run")
    run = Run(folder, kind)
    files = sorted(folder.glob("*.y*ml"), key=lambda file: file.stat().st_mtime)
    try:
        run.options = load_file(files[-1]).data if files else {}
    except UserError as error:
        run.notes.append(f"The option file cannot be read: {first_line(error)}")
    if not files:
        run.notes.append("There is no option file in the folder, so the ground truth cannot be found.")
    _read_scores(run)
    if kind == "training" and not run.curves:
        run.notes.append("There is no log file of a training, so there are no curves.")
    return run


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads several runs and gives them labels that differ."""
    runs = [read_run(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    common = os.path.commonpath([run.folder.resolve().parent for run in runs])
    candidates = (
        lambda run: run.name,
        lambda run: f"{run.name} ({run.kind})",
        lambda run: os.path.relpath(run.folder.resolve(), common),
    )
    for label_of in candidates:
        taken = Counter(label_of(run) for run in runs)
        for run in runs:
            if not run.label and taken[label_of(run)] == 1 and label_of(run) not in RESERVED:
                run.label = label_of(run)
    return runs


def _begin_of(log: Path) -> float:
    """When a log file was begun, by its name, in seconds since the epoch; 0 for one without a time."""
    match = re.search(r"_(\d{8}_\d{6})$", log.stem)
    return time.mktime(time.strptime(match[1], "%Y%m%d_%H%M%S")) if match else 0.0


def read_metrics(file: Path) -> dict[str, SetScores]:
    """The data sets of a ``metrics.json``; raises one of :data:`UNREADABLE` if it is none."""
    content = json.loads(file.read_text(encoding="utf-8"))
    return {
        dataset: SetScores(dict(entry["protocols"]), dict(entry["images"]), dict(entry.get("gt_digests") or {}))
        for dataset, entry in content.items()
    }


def _read_scores(run: Run) -> None:
    file = run.folder / _METRICS
    try:
        run.scores = read_metrics(file)
        begun = max((_begin_of(log) for log in run.folder.glob("train_*.log")), default=0.0)
        if file.stat().st_mtime < begun:
            run.notes.append(f"The training has gone on since its {_METRICS} was written: the numbers are older.")
    except FileNotFoundError:
        is_training = run.kind == "training"
        why = (
            "the training has not come to its end, or was an older version's" if is_training else "nothing was measured"
        )
        run.notes.append(f"There is no {_METRICS}: {why}.")
    except UNREADABLE as error:
        run.notes.append(f"{_METRICS} cannot be read: {first_line(error)}.")
    else:
        if not any(scores.protocols for scores in run.scores.values()):
            run.notes.append("No metric was measured.")


def method_label(run: Run, method: str) -> str:
    """What a method of a run is called beside other runs: the generator has the run's label."""
    return run.label if method == GENERATOR else method
