"""Files of runs: option files and weights that analyses read, the results that they write and what these came from."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from basicsr.analysis.images import digest_file
from basicsr.evaluation.tables import write_csv, write_json
from basicsr.options.imports import import_parts_of
from basicsr.options.load import yaml_load
from basicsr.utils.dist_util import is_master
from basicsr.utils.errors import UserError, WeightsError
from basicsr.utils.frozen import list_changes

logger = logging.getLogger("basicsr")

SOURCE = "source"
"""Key under which a result's JSON file says what it was computed from."""

_MOST_SHOWN = 3


def read_option_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a YAML option file without validating it, and loads the parts of its author's own that it names.

    Raises:
        OptionsError: If it is missing, or not a YAML mapping without duplicate keys.
    """
    options = yaml_load(Path(path))
    import_parts_of(options, path)
    return options


def resolve_experiment(name: str) -> Path:
    """Finds a run's folder by its path, or by its name in ``experiments/``.

    Raises:
        UserError: If there is neither.
    """
    folders = [Path(name), Path("experiments") / name]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise UserError(f"no such experiment: neither {folders[0]} nor {folders[1]} is a folder")


def list_option_files(experiment: Path) -> list[Path]:
    """The ``*.yml`` and ``*.yaml`` of a run's folder, sorted; none if there is no such folder."""
    return sorted([*experiment.glob("*.yml"), *experiment.glob("*.yaml")])


def find_option_file(experiment: Path) -> Path:
    """The one ``*.yml`` of a run's folder.

    Raises:
        UserError: If there is none, or more than one.
    """
    files = list_option_files(experiment)
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
    endings = {file.stem.removeprefix(f"{stem}_"): file for file in models.glob(f"{stem}_*.pth")}
    iterations = [ending for ending in endings if ending.isdecimal()]
    if not iterations:
        present = ", ".join(sorted(file.name for file in models.glob("*.pth"))) or "none"
        raise WeightsError(f"no weights {stem}.pth, {stem}_latest.pth or {stem}_<iteration>.pth in {models}; {present}")
    return endings[max(iterations, key=int)]


def describe_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """Where a file is, and the digest of its content."""
    return {"path": os.path.abspath(path), "digest": digest_file(path)}


@contextmanager
def writing(base: str | os.PathLike[str]) -> Iterator[None]:
    """Turns failures to write in the block into a :class:`UserError` that names the place."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{base}: results cannot be written there ({error.strerror or error})") from error


def prepare_output(base: str | os.PathLike[str], source: Mapping[str, Any] | None = None) -> None:
    """Makes the folder of ``<base>.*`` and tries to write there, so that a long computation is not in vain.

    Of several ranks the first does, which writes the results.

    Args:
        base: Path of the results without suffix.
        source: What they will be computed from. A warning is logged if ``<base>.json`` came from something else.

    Raises:
        UserError: If nothing can be written there.
    """
    if not is_master():
        return
    with writing(base):
        folder = Path(base).parent
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    path = Path(f"{base}.json")
    if source is None or not path.is_file():
        return
    # Say what differs from the results that will be replaced.
    former = read_record(path, SOURCE)
    if former is None:
        logger.warning("%s will be replaced; it does not say what it was computed from", path)
    elif changes := list(list_changes(former, json.loads(json.dumps(source)))):
        shown = "; ".join(changes[:_MOST_SHOWN]) + (" …" if len(changes) > _MOST_SHOWN else "")
        logger.warning("%s will be replaced, which was computed from something else: %s", path, shown)


def read_record(path: Path, key: str) -> dict[str, Any] | None:
    """What an earlier report says under ``key``; None if there is no such report."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_report(
    base: str | os.PathLike[str], content: Mapping[str, object], header: Sequence[str], rows: Sequence[Sequence[object]]
) -> list[Path]:
    """Writes ``<base>.json`` and ``<base>.csv``; returns their paths.

    Args:
        base: Path without suffix.
        content: Of the JSON file; what the results came from stands under :data:`SOURCE`.
        header: Columns of the CSV file.
        rows: Its rows.
    """
    paths = [Path(f"{base}.json"), Path(f"{base}.csv")]
    write_json(content, paths[0])
    write_csv(header, rows, paths[1])
    return paths
