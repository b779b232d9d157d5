"""Meta-info files, and checks of listed image files before training: from their headers alone and bounded in time."""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from basicsr.utils.errors import DataError, Problem
from basicsr.utils.images import Folder, ImageError

MOST_CHECKED = 2000
SAMPLED = 500

Entry = Mapping[str, str]
SizeReader = Callable[[str], tuple[int, int]]

_LINE_WITH_SHAPE = re.compile(r"(?P<path>.*\S)\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\d+)?$")
_MOST_NAMED = 5


class SourceError(DataError):
    """Folders or lists that are missing or do not match.

    Args:
        problems: The mistakes, each at the option that names the folder or list.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))


def name_some(names: Sequence[str]) -> str:
    """The first few names and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class MetaLine(NamedTuple):
    """One line of a meta-info file: ``gt_path``, ``gt_path, lq_path`` or ``gt_path (h,w,c)``."""

    gt: str
    lq: str | None = None
    size: tuple[int, int] | None = None


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
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        parts = [part.strip() for part in line.split(",")]
        if shaped := _LINE_WITH_SHAPE.fullmatch(line):
            lines.append(MetaLine(shaped["path"], size=(int(shaped["h"]), int(shaped["w"]))))
        elif line and len(parts) <= 2 and all(parts):
            lines.append(MetaLine(parts[0], parts[1] if len(parts) == 2 else None))
        elif line:
            expected = "expected 'gt_path', 'gt_path, lq_path' or 'gt_path (h,w,c)'"
            raise DataError(f"{meta_info_file}, line {number}: {expected}, got {line!r}")
    if not lines:
        raise DataError(f"meta-info file {meta_info_file} lists no image")
    return lines


def check_sizes(
    entries: Sequence[Entry], readers: Mapping[str, SizeReader], scale: int | None, smallest_gt: int | None, exact: bool
) -> list[Problem]:
    """Compares the sizes of pairs, and of GT images with the crop.

    Of 2,000 images and more only 500 evenly spaced ones are read, the first and last among them.

    Args:
        entries: ``gt_path``, ``lq_path`` or both.
        readers: From an image's path (or key) to its (height, width), for ``gt`` and for ``lq``.
        scale: GT pixels per LQ pixel; None: do not compare.
        smallest_gt: Side that GT images must have at least; None: any.
        exact: GT must be exactly ``scale`` times LQ; otherwise it may also have the remainder of the division, which is
            cut off when testing.

    Returns:
        What is wrong, grouped by kind, so that a thousand small images make one sentence.
    """
    checked = entries
    if len(entries) >= MOST_CHECKED:
        step = (len(entries) - 1) / (SAMPLED - 1)
        checked = [entries[round(i * step)] for i in range(SAMPLED)]
    divide = operator.truediv if exact else operator.floordiv
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in checked:
        sizes = {}
        for key, read in readers.items():
            try:
                sizes[key] = read(entry[f"{key}_path"])
            except ImageError as error:
                path, _, what = str(error).rpartition(": ")
                found[f"dataroot_{key}", f"unusable, {what}"].append(path)
        gt, lq = sizes.get("gt"), sizes.get("lq")
        if gt and smallest_gt and min(gt) < smallest_gt:
            found["dataroot_gt", f"smaller than gt_size {smallest_gt}"].append(f"{entry['gt_path']} ({gt[0]}x{gt[1]})")
        if gt and lq and scale and lq != tuple(divide(side, scale) for side in gt):
            pair = f"{entry['gt_path']} ({gt[0]}x{gt[1]}, LQ {lq[0]}x{lq[1]})"
            found["dataroot_lq", f"whose GT is not {scale} times LQ"].append(pair)
    note = f" (checked {len(checked)} of {len(entries)} images)" if len(checked) < len(entries) else ""
    return [
        Problem(option, f"{len(names)} image{'s' if len(names) > 1 else ''} {kind}: {name_some(names)}{note}")
        for (option, kind), names in found.items()
    ]
