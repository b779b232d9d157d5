"""Folders of images made from folders of images: nothing is overwritten, mixed or out of date."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from basicsr.utils.atomic import atomic_write_text, hash_file
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images

_ENTRY = {"name", "from", "source", "files"}
"""What a line of a :class:`FolderRecord` says of an image."""


def list_sources(
    source: Path, targets: Mapping[str, Path], name_result: Callable[[str], str], recursive: bool = False
) -> list[str]:
    """Lists the images of a folder, once it is sure that their results go where nothing can be lost or mixed.

    Args:
        source: Folder that is read.
        targets: Folders that will be written, by what to call them in messages.
        name_result: Makes the name of an image's (first) result from the image's own.
        recursive: Whether to look into sub-folders.

    Returns:
        Names relative to ``source``, sorted; one at least.

    Raises:
        DataError: If the folder is missing or has no image, a target is one of the other folders, lies in one, holds
            one or holds an image that is read through a link, or results of two images would have one name.
    """
    names = list_images(source, recursive)
    if not names:
        raise DataError(f"{source}: no image in this folder{' or below it' if recursive else ''}")
    # Folders apart from each other; through links a target could be one of the others under another name.
    folders = {name: folder.resolve() for name, folder in {"input folder": source, **targets}.items()}
    for name, other in product(targets, folders):
        target, folder = folders[name], folders[other]
        if name != other and (target.is_relative_to(folder) or folder.is_relative_to(target)):
            relation = "is" if target == folder else "lies in" if target.is_relative_to(folder) else "holds"
            place = f"the {name} {target} {relation} the {other} {folder}"
            raise DataError(f"{place}, so that their images would mix; choose a folder beside it")
    # Photographs that the source only links to may lie in a target.
    linked = {(source / name).resolve().parent: source / name for name in names}
    for name in targets:
        if file := linked.get(folders[name]):
            place = f"the {name} {folders[name]} holds what {file} links to"
            raise DataError(f"{place}, and it could be overwritten; choose another folder")
    # One result a name: photograph.png and photograph.jpg would overwrite each other.
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name_result(name), name)
        if other != name:
            raise DataError(f"{source}: {other} and {name} would both become {name_result(name)}; rename one of them")
    return names


def make_folder(folder: Path) -> None:
    """Makes a folder that can be written to, or raises ``DataError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "is a file, not a folder" if folder.is_file() else f"cannot be made ({error.strerror})"
        raise DataError(f"{folder}: {what}; choose another output folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder}: this folder cannot be written to; change its permissions or choose another")


def describe_source(path: Path) -> dict[str, Any]:
    """What :func:`is_unchanged` compares with: size in bytes, time of the last change, digest."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": hash_file(path, hashlib.sha256())}


def is_unchanged(path: Path, described: Mapping[str, Any]) -> bool:
    """Whether a file holds what it held; it is read only if its time has changed and its size has not."""
    status = path.stat()
    same_time = status.st_mtime_ns == described["mtime_ns"]
    same_size = status.st_size == described["size"]
    return same_size and (same_time or hash_file(path, hashlib.sha256()) == described["sha256"])


def note_change(path: Path) -> None:
    """Says in the log that the results of an image are made again."""
    logging.getLogger("basicsr").info("%s has changed since the last run: made again", path)


def describe_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings that differ, such as ``scale 4, seed 1, not scale 2, seed 0``; empty if none does."""
    different = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    listed = [", ".join(f"{key} {each.get(key)}" for key in different) for each in (found, wanted)]
    return ", not ".join(filter(None, listed))


class FolderRecord:
    """``<folder>_manifest.jsonl``: the settings in the first line, then a line an image once its files are there.

    Lines are appended, so that a run that is killed loses nothing but the images in hand. May be used by threads.

    Args:
        folder: Where results go; made if it is missing.
        settings: What all results depend on, fit for JSON.

    Raises:
        DataError: If the folder cannot be made, or holds images that were made with other settings, or nobody knows
            how.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        make_folder(folder)
        self.folder = folder
        self.path = Path(f"{folder.resolve()}_manifest.jsonl")
        self._lock = threading.Lock()
        # In an empty folder nothing is left of what an earlier record describes.
        lines: list[Any] = []
        if list_images(folder):
            for text in self.path.read_bytes().split(b"\n") if self.path.is_file() else ():
                # What was not written to its end, or is damaged, is left out.
                with suppress(ValueError):
                    lines += [line] if isinstance(line := json.loads(text), dict) else []
            if not lines:
                origin = f"{folder} holds images, but {self.path}, which would say how they were made, is missing"
                raise DataError(f"{origin}; choose another output folder, or empty this one")
        known, *entries = lines or [settings]
        if known != settings:
            made = f"{folder} was made with {describe_difference(known, settings)}"
            raise DataError(f"{made}; choose another output folder, or remove this one to make it again")
        self._entries = {entry["name"]: entry for entry in entries if entry.keys() >= _ENTRY}
        # A line that was being written when the process was killed must not run into the next one.
        atomic_write_text("".join(f"{json.dumps(line)}\n" for line in (known, *self._entries.values())), self.path)

    def holds(self, name: str, source: Path, files: Sequence[Path]) -> bool:
        """Whether the results of an image are all there and it has not changed since.

        Args:
            name: What the results are called after.
            source: The image.
            files: Its results.

        Raises:
            DataError: If results of this name were made from an image of another folder.
        """
        entry = self._entries.get(name)
        if entry is None:
            return False
        if is_unchanged(source, entry["source"]):
            # A power cut leaves an empty file, as writing does not wait for the disk.
            return all(file.is_file() and file.stat().st_size for file in files)
        if entry["from"] != str(source.resolve()):
            clash = f"{source}: {self.folder} already holds results of this name from {entry['from']}"
            raise DataError(f"{clash}; rename one of the images or choose another output folder")
        note_change(source)
        return False

    def add(self, name: str, source: Path, files: Sequence[Path]) -> None:
        """Notes that the results are there, and removes those of an earlier state of the image that are none now."""
        made = [file.name for file in files]
        entry = {"name": name, "from": str(source.resolve()), "source": describe_source(source), "files": made}
        with self._lock:
            for former in set(self._entries.get(name, entry)["files"]).difference(made):
                (self.folder / former).unlink(missing_ok=True)
            self._entries[name] = entry
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(f"{json.dumps(entry)}\n")
