"""What a run left behind: its option file and its weights."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from basicsr.options.load import load_file
from basicsr.utils.errors import OptionsError, UserError, WeightsError


def read_option_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a YAML option file without validating it.

    Raises:
        OptionsError: If it is missing, or not a YAML mapping without duplicate keys.
    """
    loaded = load_file(path)
    if loaded.problems:
        raise OptionsError(loaded.problems, str(path))
    return loaded.data


def resolve_experiment(name: str | os.PathLike[str], root: str | os.PathLike[str] = "experiments") -> Path:
    """Finds a run's folder by its name or path.

    Raises:
        UserError: If there is neither.
    """
    for folder in (Path(name), Path(root) / name):
        if folder.is_dir():
            return folder
    raise UserError(f"no such experiment: neither {Path(name)} nor {Path(root) / name} is a folder")


def find_option_file(experiment: Path) -> Path:
    """The one ``*.yml`` of a run's folder.

    Raises:
        UserError: If there is none, or more than one.
    """
    files = sorted([*experiment.glob("*.yml"), *experiment.glob("*.yaml")])
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise UserError(f"expected one option file (*.yml) in {experiment}; found {found}. Name it with --opt")
    return files[0]


def find_weights(experiment: Path, load_name: str) -> Path:
    """The weights file ``models/<load_name>.pth``, else its ``_latest``, else the one of the highest iteration.

    Args:
        experiment: A run's folder.
        load_name: ``net_d``, ``net_spectral_d``, ``net_d_5000`` …; a ``.pth`` at the end is allowed.

    Raises:
        WeightsError: If there is none.
    """
    models = experiment / "models"
    stem = load_name.removesuffix(".pth")
    for candidate in (models / f"{stem}.pth", models / f"{stem}_latest.pth"):
        if candidate.is_file():
            return candidate
    numbered = {
        int(match.group(1)): file
        for file in models.glob(f"{stem}_*.pth")
        if (match := re.fullmatch(re.escape(stem) + r"_(\d+)", file.stem))
    }
    if not numbered:
        present = ", ".join(sorted(file.name for file in models.glob("*.pth"))) or "none"
        raise WeightsError(f"no weights {stem}.pth, {stem}_latest.pth or {stem}_<iteration>.pth in {models}; {present}")
    return numbered[max(numbered)]


def find_run_option_file(weights: Path) -> Path | None:
    """The option file of the run that a weights file in ``<run>/models`` belongs to, if it can be told."""
    folder = weights.absolute().parent
    files = sorted(folder.parent.glob("*.yml")) if folder.name == "models" else []
    return files[0] if len(files) == 1 else None
