"""Lines of meta-info files, ``gt_path``, ``gt_path, lq_path`` or ``path (h,w,c) level``; every file name survives.

A line that would not be read back as what it says, because of a comma, a line break or a blank at the end, has its
paths in quotes, as JSON has them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from basicsr.utils.errors import DataError

_SHAPED = re.compile(r"(?P<path>.*\S)\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\d+)?$")
_SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")


class MetaLine(NamedTuple):
    """One line of a meta-info file: ``gt_path``, ``gt_path, lq_path`` or ``gt_path (h,w,c)``."""

    gt: str
    lq: str | None = None
    size: tuple[int, int] | None = None


def parse_meta_info(text: str) -> Iterator[MetaLine]:
    """Reads the text of a meta-info file; empty lines are skipped.

    Raises:
        DataError: For a line of another form; the message begins with its number.
    """
    # Not splitlines(), which knows more line ends than file names may lack.
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if "\0" in line:
            raise DataError(f"line {number}: holds a NUL character; the list must be UTF-8 text")
        if line and (parsed := _parse_line(line)) is None:
            expected = "expected 'gt_path', 'gt_path, lq_path' or 'gt_path (h,w,c)'"
            raise DataError(f"line {number}: {expected}, got {line!r}; put paths that hold commas in quotes")
        if line and parsed is not None:
            yield parsed


def _parse_line(line: str) -> MetaLine | None:
    size = None
    if shaped := _SHAPED.fullmatch(line):
        line, size = shaped["path"], (int(shaped["h"]), int(shaped["w"]))
    paths = _parse_quoted(line)
    if paths is None:
        paths = [line] if size else _split_pair(line)
    if not 1 <= len(paths) <= (1 if size else 2) or not all(paths):
        return None
    return MetaLine(paths[0], paths[1] if len(paths) == 2 else None, size)


def _parse_quoted(line: str) -> list[str] | None:
    """Paths in quotes; None if the line is something else, such as a name that begins with a quotation mark."""
    if not line.startswith('"'):
        return None
    try:
        values = json.loads(f"[{line}]")
    except ValueError:
        return None
    return values if all(isinstance(value, str) for value in values) else None


def _split_pair(line: str) -> list[str]:
    """One path or two; a comma separates paths if what stands before it ends like a file."""
    parts = line.split(",")
    heads = [",".join(parts[:count]).strip() for count in range(1, len(parts))]
    cuts = [count for count, head in enumerate(heads, 1) if _SUFFIX.search(head)]
    if len(cuts) == 1:
        return [heads[cuts[0] - 1], ",".join(parts[cuts[0] :]).strip()]
    if not cuts and _SUFFIX.search(line):
        return [line]
    return [part.strip() for part in parts]


def format_meta_line(paths: Sequence[str], shape: Sequence[int] | None = None, level: int | None = None) -> str:
    """The line, without its end, of a file (and its partner), or of a file with its (height, width, channels)."""
    tail = f" ({','.join(map(str, shape))})" if shape else ""
    tail += "" if level is None else f" {level}"
    line = ", ".join(paths) + tail
    size = (shape[0], shape[1]) if shape else None
    meant = MetaLine(paths[0], paths[1] if len(paths) == 2 else None, size)
    try:
        # Reading a file makes one line end of all kinds.
        text = os.fsencode(line).decode("utf-8").replace("\r", "\n")
        if list(parse_meta_info(text)) == [meant]:
            return line
    except (UnicodeDecodeError, DataError):
        pass
    return ", ".join(map(json.dumps, paths)) + tail
