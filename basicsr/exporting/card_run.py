"""What a training's folder tells for its model card: options, weights, data, scores, curves, pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.analysis.experiments import (
    find_option_file,
    find_weights,
    read_option_file,
    resolve_experiment,
)
from basicsr.exporting.description import describe_weights
from basicsr.metrics import Metric
from basicsr.options.schema import FILE_OPTIONS
from basicsr.reporting.runs import UNREADABLE, SetScores, read_metrics
from basicsr.utils.errors import DataError, UserError, WeightsError
from basicsr.utils.folders import walk_files
from basicsr.utils.images import IMAGE_SUFFIXES
from basicsr.weights import read_entry
from basicsr.weights.files import SUFFIXES


class Listing(NamedTuple):
    """The files that an option of a data set names.

    Attributes:
        option: Such as ``train.dataroot_gt``.
        path: As the option file has it.
        images: Number of images in a folder, of lines in a file; ``None`` if it is not there.
        size: Bytes of all files.
        digest: 16 digits of the SHA-256 of the files' names and sizes, of the content for a single file.
    """

    option: str
    path: str
    images: int | None
    size: int
    digest: str


@dataclass(frozen=True)
class CardRun:
    """A training.

    Attributes:
        folder: ``experiments/<name>``.
        option_file: The option file that is kept with it.
        options: Its content.
        weights: The generator's file.
        entry: Its entry that is used: ``params_ema``, ``params``, or empty.
        num_values: Numbers that its entry holds.
        facts: What :func:`~basicsr.exporting.description.describe_weights` knows of it.
        scores: By data set, those of the training's own validation first.
        picture_folders: Where side-by-side pictures may lie.
    """

    folder: Path
    option_file: Path
    options: Mapping[str, Any]
    weights: Path
    entry: str
    num_values: int
    facts: Mapping[str, str]
    scores: Sequence[tuple[str, SetScores]] = ()
    picture_folders: Sequence[Path] = ()

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.options.get("name") or self.folder.resolve().name)

    def find_pictures(self) -> list[Path]:
        """Side-by-side pictures of LQ, bicubic interpolation, generated image and ground truth."""
        return [file for folder in self.picture_folders for file in sorted(folder.rglob("*_comparison.png"))]

    def list_data(self) -> Iterator[Listing]:
        """What the data sets' options name, as it is on this machine now."""
        for key, block in (self.options.get("datasets") or {}).items():
            for option, value in (block or {}).items():
                for path in value if isinstance(value, list) else [value]:
                    if str(option).startswith(FILE_OPTIONS) and isinstance(path, str):
                        yield list_files(f"{key}.{option}", path)


def read_card_run(what: str, results: Sequence[Path] = ()) -> CardRun:
    """Reads a training's folder.

    Args:
        what: The folder, the run's name, or a weights file in the folder's ``models``.
        results: Folders of tests.

    Raises:
        UserError: If there is no such run, or it has no option file.
        DataError: If a folder of tests has no ``metrics.json``.
        WeightsError: If it has no generator's weights, or they cannot be read.
    """
    given = Path(what).expanduser()
    if given.suffix in SUFFIXES and not given.is_dir():
        if not given.is_file():
            raise WeightsError(
                f"there is no weights file {given}; name a run by folder or name, or weights in its folder"
            )
        if given.absolute().parent.name != "models":
            message = "a card is of a run, and this file lies in no run's folder, experiments/NAME/models"
            raise UserError(f"{given}: {message}")
        folder, weights = given.absolute().parent.parent, given
    else:
        folder = resolve_experiment(what)
        weights = find_weights(folder, "net_g")
    option_file = find_option_file(folder)
    options = read_option_file(option_file)
    state, entry = read_entry(weights, prefer="params_ema")
    # The last validation is one of the latest weights.
    is_latest = weights.stem.endswith("_latest")
    scores = [*_read_own_scores(folder, options).items()] if is_latest else []
    for place in results:
        if not (found := _read_metrics(place / "metrics.json")):
            raise DataError(f"{place} has no metrics of a test (metrics.json); expected a folder such as results/NAME")
        scores += found.items()
    num_values = sum(tensor.numel() for tensor in state.values())
    facts = describe_weights(weights, state, entry)
    folders = [place / "visualization" for place in ([folder] if is_latest else []) + [*results]]
    return CardRun(folder, option_file, options, weights, entry, num_values, facts, scores, folders)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_metrics(file: Path) -> dict[str, SetScores]:
    """The data sets of a ``metrics.json``; none if it is not there or another file."""
    try:
        return read_metrics(file)
    except UNREADABLE:
        return {}


def _read_own_scores(folder: Path, options: Mapping[str, Any]) -> dict[str, SetScores]:
    """The scores of the last validation: ``metrics.json``, else ``summary.json``, with protocols by the options."""
    if found := _read_metrics(folder / "metrics.json"):
        return found
    blocks = (options.get("val") or {}).get("metrics") or {}
    protocols = {name: Metric(block).protocol for name, block in blocks.items() if block}
    datasets = {key: block for key, block in (options.get("datasets") or {}).items() if block}
    names = [str(block.get("name") or key) for key, block in datasets.items() if str(key).startswith("val")]
    images = _read_json(folder / "summary.json")
    for name in names:
        mark = f"{name}/"
        own = {image.removeprefix(mark): images[image] for image in images if len(names) == 1 or image.startswith(mark)}
        if own:
            found[name] = SetScores(protocols, own)
    return found


def list_files(option: str, path: str) -> Listing:
    """Counts and digests the files of a folder by their names and sizes, and a single file by its content."""
    place = Path(path).expanduser()
    if place.is_file():
        content = place.read_bytes()
        return Listing(option, path, len(content.splitlines()), len(content), hashlib.sha256(content).hexdigest()[:16])
    if not place.is_dir():
        return Listing(option, path, None, 0, "")
    digest, images, size = hashlib.sha256(), 0, 0
    for name in sorted(walk_files(place, recursive=True)):
        if not os.path.isfile(place / name):
            continue  # a link to nothing
        length = os.path.getsize(place / name)
        digest.update(f"{name}\t{length}\n".encode())
        images += Path(name).suffix.lower() in IMAGE_SUFFIXES
        size += length
    if place.suffix == ".lmdb" and (keys := place / "meta_info.txt").is_file():
        images = len(keys.read_text(encoding="utf-8").splitlines())
    return Listing(option, path, images, size, digest.hexdigest()[:16])
