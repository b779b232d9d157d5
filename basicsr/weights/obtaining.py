"""A file of weights that is known by name: where it is published, where it lies here, and how it gets here."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.hub

from basicsr.utils.download_util import Checksum, download_file
from basicsr.utils.errors import WeightsError
from basicsr.weights.files import named_digest

logger = logging.getLogger("basicsr")

PRETRAINED_DIR = Path("experiments/pretrained_models")
"""Where weights are looked for, before torch hub's cache, and downloaded to; relative to the working directory."""

UNVERIFIED = "unverified"


class NotHereError(WeightsError):
    """Known weights are not on this machine; a run that needs them would fetch them."""


@dataclass(frozen=True)
class Published:
    """Weights that are known by name.

    Attributes:
        name: What commands and option files call them.
        network: The block that builds the network; empty for networks that no option file builds.
        licence: As its publisher states it, an SPDX identifier.
        folder: Address of the folder that it is in; empty where no address serves programs.
        source: Whose it is.
        file: The file's name; by default the name with ``.pth``.
        page: Address of a page for browsers that offers it, where there is no other.
        remedy: How to come by it where nobody publishes it.
        purpose: What needs it, where no option names it.
        size: Of the file, in bytes, about; 0 where that is not known.
        is_shared: Other programs look for it in torch hub's cache, so that it is put there.
        evidence: What of this could be compared, and with what.
    """

    name: str
    network: Mapping[str, Any]
    licence: str
    folder: str
    source: str
    file: str = ""
    page: str = ""
    remedy: str = ""
    purpose: str = ""
    size: int = field(default=0, compare=False)
    is_shared: bool = False
    evidence: str = UNVERIFIED

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", self.file or f"{self.name}.pth")

    @property
    def scale(self) -> int | None:
        """The factor of a generator."""
        return self.network.get("upscale") or self.network.get("scale")

    @property
    def url(self) -> str:
        """Where the file is published; empty where that is no address for programs."""
        return f"{self.folder}/{self.file}" if self.folder else ""

    @property
    def digest(self) -> str:
        """The beginning of the file's SHA-256, where its published name ends in that."""
        return named_digest(self.file)

    @property
    def home(self) -> Path:
        """The file, in the folder that it is downloaded to."""
        return list_folders()[self.is_shared] / self.file

    def describe(self, target: Path | None = None) -> str:
        """How to come by the file, as the end of a sentence; ``target`` is where it is wanted."""
        target = target or self.home
        if self.url:
            flag = "" if target == self.home else f" -o {target.parent}"
            return f"`basicsr download {self.name}{flag}` fetches it from {self.url} ({self.licence}) to {target}"
        if self.page:
            return f"published for browsers only, by {self.source} ({self.page}): fetch it there and put it at {target}"
        return self.remedy


def list_folders() -> tuple[Path, Path]:
    """Where published weights lie on a machine: the folder of this package, and torch hub's cache."""
    return PRETRAINED_DIR, Path(torch.hub.get_dir()) / "checkpoints"


def find_local(entry: Published, place: Path | None = None) -> Path | None:
    """Where the file lies on this machine.

    Args:
        entry: The weights.
        place: A file, or a folder that may hold the file, before the usual folders.
    """
    names = [entry.file, str(Path(entry.file).with_suffix(".safetensors"))]
    places = [folder / name for folder in list_folders() for name in names]
    if place:
        places = [place, place / entry.file, *places]
    return next((found for found in places if found.is_file()), None)


def obtain(entry: Published, place: Path | None = None, *, fetches: bool = True, hint: str = "") -> Path:
    """The file of known weights, fetched if it is not on this machine.

    Args:
        entry: The weights.
        place: As for :func:`find_local`.
        fetches: Whether to fetch it.
        hint: The end of the message when all fails.

    Raises:
        NotHereError: If it is not here and not to be fetched.
        WeightsError: If it cannot be fetched. Either says how to come by it.
    """
    if found := find_local(entry, place):
        return found
    if not entry.url:
        raise WeightsError(f"{entry.name} is not on this machine: {entry.name} is {entry.describe()}{hint}")
    if not fetches:
        raise NotHereError(f"the weights of {entry.name} are not on this machine: {entry.describe()}{hint}")
    return fetch(entry, hint=hint)


def fetch(entry: Published, folder: Path | None = None, base_url: str = "", hint: str = "") -> Path:
    """Downloads known weights, unless they lie where they are to go and are what was published; goes on with a part.

    Args:
        entry: The weights.
        folder: Where they are to go; by default to where they are looked for.
        base_url: A mirror: the file is fetched from ``base_url/FILE``.
        hint: The end of the message when that fails.

    Raises:
        WeightsError: If no address is known, the file cannot be fetched, or it is not the one that was published.
    """
    target = folder / entry.file if folder else entry.home
    url = f"{base_url.rstrip('/')}/{entry.file}" if base_url else entry.url
    if not url:
        raise WeightsError(f"{entry.name} is {entry.describe(target)}{hint}")
    if not target.is_file():
        logger.info("%s: published under %s, by %s; fetching %s", entry.name, entry.licence, entry.source, url)
    checksum = Checksum("sha256", entry.digest) if entry.digest else None
    try:
        download_file(url, target.absolute(), checksum, error=WeightsError)
    except WeightsError as error:
        # Where else it would be found.
        other = "" if folder or not entry.is_shared else f" (or {PRETRAINED_DIR / entry.file})"
        raise WeightsError(f"the weights of {entry.name} could not be had: {error}{other}{hint}") from error
    return target


_RUN_WEIGHTS = re.compile(r"(?:^|/)experiments/([^/]+)/models/net_\w+\.pth$")


def name_run(path: Path) -> str:
    """The run whose folder a weights file belongs in, by its path; empty if it is none's."""
    found = _RUN_WEIGHTS.search(path.as_posix())
    return found[1] if found else ""
