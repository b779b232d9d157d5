"""Lists the images of folders and reads meta-info files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basicsr.data.decoding import IMAGE_SUFFIXES
from basicsr.utils.errors import DataError

Folder = str | os.PathLike[str]


class SourceError(DataError):
    """Folders or lists that are missing or do not match.

    Args:
        problems: What is wrong, a sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


def refuse_missing(folders: Mapping[str, Folder | None], list_file: Folder | None = None) -> None:
    """Raises ``SourceError`` that names every folder (by its option) and the list file that are not there."""
    problems = [
        f"{option} {folder}: {'is a file, not a folder' if os.path.exists(folder) else 'no such folder'}"
        for option, folder in folders.items()
        if folder is not None and not os.path.isdir(folder)
    ]
    if list_file is not None and not os.path.isfile(list_file):
        problems.append(
            f"meta-info file {list_file}: no such file (scripts/data_preparation/generate_meta_info.py makes one)"
        )
    if problems:
        raise SourceError(problems)


_LINE_WITH_SHAPE = re.compile(r"(?P<path>.*\S)\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\d+)?$")
_MOST_NAMED = 5


def name_some(names: Sequence[str]) -> str:
    """The first few names and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def list_images(folder: Folder, recursive: bool = False) -> list[str]:
    """Sorted paths of the image files in a folder, relative to it; hidden files are left out.

    Raises:
        DataError: If there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "no such folder"
        raise DataError(f"{root}: {what}")
    found: list[str] = []
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")] if recursive else []
        base = Path(parent).relative_to(root)
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                found.append((base / name).as_posix())
    return sorted(found)


@dataclass(frozen=True)
class MetaLine:
    """One line of a meta-info file: ``gt_path``, ``gt_path, lq_path`` or ``gt_path (h,w,c)``."""

    gt: str
    lq: str | None = None
    size: tuple[int, int] | None = None


def parse_meta_line(line: str) -> MetaLine:
    """Parses one line.

    Raises:
        ValueError: If it has none of the three forms.
    """
    shaped = _LINE_WITH_SHAPE.fullmatch(line)
    if shaped:
        return MetaLine(shaped["path"], size=(int(shaped["h"]), int(shaped["w"])))
    parts = [part.strip() for part in line.split(",")]
    if len(parts) > 2 or not all(parts):
        raise ValueError("expected 'gt_path', 'gt_path, lq_path' or 'gt_path (h,w,c)'")
    return MetaLine(parts[0], parts[1] if len(parts) == 2 else None)


def read_meta_info(meta_info_file: Folder) -> list[MetaLine]:
    """Reads a meta-info file; empty lines are skipped.

    Raises:
        DataError: If the file is missing, empty or has a line in another form.
    """
    try:
        text = Path(meta_info_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"meta-info file {meta_info_file} cannot be read ({type(error).__name__})") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            lines.append(parse_meta_line(line.strip()))
        except ValueError as error:
            raise DataError(f"{meta_info_file}, line {number}: {error}, got {line.strip()!r}") from None
    if not lines:
        raise DataError(f"meta-info file {meta_info_file} lists no image")
    return lines
