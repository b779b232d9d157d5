"""Where spectra and critics' accuracy go: the log, TensorBoard, and a file with a line for every validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.evaluation.spectra import FREQUENCY, Spectra, monitor_of
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.dist_util import get_dist_info

FILE = "spectra.jsonl"
DIGITS = 4


def describe_spectra(spectra: Spectra, has_distance: bool = False) -> list[str]:
    """Lines for the log; the distance is left out if it stands among the metrics."""
    lines = []
    if spectra.distance is not None and not has_distance:
        lines.append(f"  # spectral distance: {spectra.distance:.4f} dB")
    for name, accuracy in spectra.critics.items():
        shares = f"{accuracy.real:.1%} on real, {accuracy.generated:.1%} on generated images"
        lines.append(f"  # accuracy of critic {name}: {shares}")
    return lines


def record_spectra(model: Any, dataset: str, spectra: Spectra, current_iter: int, tb_logger: Any = None) -> None:
    """Writes one validation to TensorBoard, and on rank 0 to ``spectra.jsonl`` in the run's folder.

    Args:
        model: The model that was validated.
        dataset: The data set's name.
        spectra: What was found.
        current_iter: The iteration.
        tb_logger: A TensorBoard writer, or ``None``.
    """
    if tb_logger is not None:
        _write_events(model, dataset, spectra, current_iter, tb_logger)
    folder = (model.opt.get("path") or {}).get("experiments_root")
    monitor = monitor_of(model)
    if folder is None or monitor is None or get_dist_info()[0] != 0:
        return
    path = Path(folder) / FILE
    if not monitor.has_written:
        drop_entries(path, current_iter)
        monitor.has_written = True
    append_entry(path, to_entry(dataset, spectra, current_iter))


def _write_events(model: Any, dataset: str, spectra: Spectra, current_iter: int, tb_logger: Any) -> None:
    if spectra.distance is not None:
        tb_logger.add_scalar(f"spectra/{dataset}/distance", spectra.distance, current_iter)
    for name, accuracy in spectra.critics.items():
        tb_logger.add_scalar(f"critics/{dataset}/{name}_accuracy_real", accuracy.real, current_iter)
        tb_logger.add_scalar(f"critics/{dataset}/{name}_accuracy_generated", accuracy.generated, current_iter)
    monitor = monitor_of(model)
    if monitor is not None:
        picture = monitor.draw(dataset, spectra)
        tb_logger.add_image(f"spectra/{dataset}/profile", picture, current_iter, dataformats="HWC")


def to_entry(dataset: str, spectra: Spectra, current_iter: int) -> dict[str, Any]:
    """One validation as plain data."""
    return {
        "iteration": current_iter,
        "dataset": dataset,
        "images": spectra.num_images,
        "distance_db": _plain(spectra.distance),
        "critics": {
            name: {"accuracy_real": a.real, "accuracy_generated": a.generated, "images": a.num_images}
            for name, a in spectra.critics.items()
        },
        "frequency": _plain(FREQUENCY),
        "generated_db": _plain(spectra.generated),
        "gt_db": _plain(spectra.gt),
    }


def _plain(values: np.ndarray | float | None) -> Any:
    """Rounded numbers; what is not finite becomes null."""
    if values is None:
        return None
    if isinstance(values, np.ndarray):
        return [_plain(float(value)) for value in values]
    return round(values, DIGITS) if np.isfinite(values) else None


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Adds a line to a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def drop_entries(path: Path, first_iter: int) -> None:
    """Takes out the lines from an iteration on, which a resumed run writes anew, and any that a crash has torn."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if _iteration_of(line) < first_iter]
    if len(kept) < len(lines):
        atomic_write_text("".join(f"{line}\n" for line in kept), path)


def _iteration_of(line: str) -> float:
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return np.inf
