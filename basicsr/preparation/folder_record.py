"""What a folder of prepared images was made with and from, so that a second run goes on, makes again or refuses."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basicsr.preparation.output_folders import describe_source, is_unchanged
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images


class FolderRecord:
    """``<folder>_manifest.jsonl``: the settings in the first line, then a line an image once its files are there.

    Lines are appended, so that a run that is killed loses nothing but the images in hand. May be used by threads.

    Args:
        folder: Where results go; an existing folder.
        settings: What all results depend on, fit for JSON.

    Raises:
        DataError: If the folder holds images that were made with other settings, or nobody knows how.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.path = Path(f"{folder.resolve()}_manifest.jsonl")
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, Any]] = {}
        known = self._read()
        if not list_images(folder):
            self._entries = {}
        elif known is None:
            raise DataError(
                f"{folder} holds images, but {self.path}, which would say how they were made, is missing; "
                "choose another output folder, or empty this one"
            )
        elif known != settings:
            different = [key for key in {**known, **settings} if known.get(key) != settings.get(key)]
            raise DataError(
                f"{folder} was made with {_format(known, different)}, not {_format(settings, different)}; "
                "choose another output folder, or remove this one to make it again"
            )
        # A line that was being written when the process was killed must not run into the next one.
        lines = [settings, *self._entries.values()]
        atomic_write_text("".join(f"{json.dumps(line)}\n" for line in lines), self.path)

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
        if not is_unchanged(source, entry["source"]):
            if entry["from"] != str(source.resolve()):
                raise DataError(
                    f"{source}: {self.folder} already holds results of this name from {entry['from']}; "
                    "rename one of the images or choose another output folder"
                )
            logging.getLogger("basicsr").info("%s has changed since the last run: made again", source)
            return False
        # A power cut can leave empty files, as nobody waited for the disk.
        return all(file.is_file() and file.stat().st_size for file in files)

    def add(self, name: str, source: Path, files: Sequence[Path]) -> None:
        """Notes that the results are there, and removes those of an earlier state of the image that are none now."""
        entry = {
            "name": name,
            "from": str(source.resolve()),
            "source": describe_source(source),
            "files": [file.name for file in files],
        }
        with self._lock:
            former = self._entries.get(name, {"files": []})
            for stale in set(former["files"]).difference(entry["files"]):
                (self.folder / stale).unlink(missing_ok=True)
            self._entries[name] = entry
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(f"{json.dumps(entry)}\n")

    def _read(self) -> dict[str, Any] | None:
        """Reads the entries and returns the settings; None if there are none."""
        try:
            first, *others = self.path.read_text(encoding="utf-8").split("\n")
            settings: dict[str, Any] = json.loads(first)
        except (FileNotFoundError, ValueError):
            return None
        for line in others:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            self._entries[entry["name"]] = entry
        return settings


def _format(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {settings.get(key)}" for key in keys)
