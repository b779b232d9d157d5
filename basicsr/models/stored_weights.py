"""Weights that a checkpoint names instead of holding: files beside it, known by their SHA-256.

A ``.state`` lists them under ``weights``: ``file``, relative to its own folder, ``sha256`` of the content, and
``entries``, the networks of the state by the file's keys. They are written before the ``.state`` and read with it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from basicsr.utils.atomic import atomic_save, hash_file
from basicsr.utils.errors import WeightsError, first_line
from basicsr.weights import read_file

Reference = Mapping[str, Any]
"""An entry of the list."""


def write_stored(networks: Mapping[str, Any], file: Path, entries: Mapping[str, str], folder: Path) -> Reference:
    """Writes the weights of some networks.

    Args:
        networks: State dicts by name, on the CPU.
        file: Where to.
        entries: Names of the networks by the file's keys.
        folder: That of the checkpoint that will name the file.
    """
    hasher = hashlib.sha256()
    atomic_save({key: networks[name] for key, name in entries.items()}, file, hasher=hasher)
    return {"file": os.path.relpath(file, folder), "sha256": hasher.hexdigest(), "entries": dict(entries)}


def read_stored(references: Sequence[Reference], path: Path) -> dict[str, Any]:
    """The state dicts, by network, that a checkpoint names.

    Args:
        references: The checkpoint's list.
        path: The checkpoint; the files lie where they were written, as seen from its folder, or beside it.

    Raises:
        WeightsError: If one is missing, damaged or another file.
    """
    networks: dict[str, Any] = {}
    for reference in references:
        content = read_file(_locate(reference, path))
        networks |= {name: content[key] for key, name in reference["entries"].items()}
    return networks


def _locate(reference: Reference, path: Path) -> Path:
    """The file that has the digest."""
    name = Path(reference["file"]).name
    places = [Path(os.path.normpath(path.parent / reference["file"])), path.parent / name]
    found = [place for place in dict.fromkeys(places) if place.is_file()]
    if not found:
        raise WeightsError(
            f"the checkpoint {path} lacks its weights {name}: the file is neither in {places[0].parent} nor beside "
            "the checkpoint; copy it there from where the checkpoint was written"
        )
    try:
        digests = {place: hash_file(place, hashlib.sha256()) for place in found}
    except OSError as error:
        raise WeightsError(f"the checkpoint {path}: its weights cannot be read: {first_line(error)}") from error
    for place, digest in digests.items():
        if digest == reference["sha256"]:
            return place
    raise WeightsError(
        f"the checkpoint {path}: its weights {found[0]} are damaged or another file: their SHA-256 begins with "
        f"{digests[found[0]][:12]}, and the checkpoint says {reference['sha256'][:12]}"
    )


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint, then the critics' weights that it names; the generator's stay, for whoever uses them."""
    try:
        references = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("weights", [])
    except Exception:
        references = []  # it is damaged
    path.unlink(missing_ok=True)
    for reference in references:
        file = Path(os.path.normpath(path.parent / reference["file"]))
        if "g" not in reference["entries"].values() and file.name.endswith(f"_{path.stem}.pth"):
            file.unlink(missing_ok=True)
