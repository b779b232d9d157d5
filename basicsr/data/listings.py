"""Meta-info files, and checks of listed image files before training: from their headers alone and bounded in time."""

from __future__ import annotations

import logging
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from basicsr.utils.errors import DataError, Problem, name_some
from basicsr.utils.images import Folder, ImageError
from basicsr.utils.meta_info import MetaLine, parse_meta_info

MOST_CHECKED = 2000
SAMPLED = 500

Entry = Mapping[str, str]
SizeReader = Callable[[str], tuple[int, int]]


class SourceError(DataError):
    """Folders or lists that are missing or do not match.

    Args:
        problems: The mistakes, each at the option that names the folder or list.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))


def read_meta_info(meta_info_file: Folder) -> list[MetaLine]:
    """Reads a meta-info file; empty lines are skipped.

    Raises:
        DataError: If the file is missing, empty or has a line in another form.
    """
    try:
        # Editors on Windows put a byte-order mark at the start.
        text = Path(meta_info_file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"meta-info file {meta_info_file} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"meta-info file {meta_info_file} cannot be read ({type(error).__name__})") from error
    try:
        lines = list(parse_meta_info(text))
    except DataError as error:
        raise DataError(f"{meta_info_file}, {error}") from None
    if not lines:
        raise DataError(f"meta-info file {meta_info_file} lists no image")
    return lines


def largest_allowed(max_failed_share: float, dataset_len: int) -> int:
    """How many images of a data set may be unusable."""
    return math.floor(max_failed_share * dataset_len)


def leave_out_small(
    entries: Sequence[dict[str, str]], key: str, read: SizeReader, min_size: int
) -> list[dict[str, str]]:
    """The entries whose image ``{key}_path`` has no side below ``min_size``; the others go to the log."""
    kept: list[dict[str, str]] = []
    small: list[dict[str, str]] = []
    for entry in entries:
        try:
            is_small = min(read(entry[f"{key}_path"])) < min_size
        except ImageError:
            # Named and counted by the check, or when it is loaded.
            is_small = False
        (small if is_small else kept).append(entry)
    if small:
        count, names = f"{len(small)} of {len(entries)} images", name_some([entry[f"{key}_path"] for entry in small])
        logging.getLogger("basicsr").warning("%s smaller than min_size %d are left out: %s", count, min_size, names)
    return kept


def check_sizes(
    entries: Sequence[Entry],
    readers: Mapping[str, SizeReader],
    scale: int | None,
    smallest_gt: int | None,
    exact: bool,
    max_failed_share: float = 0,
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
        max_failed_share: Share of the pairs that may be unusable; up to it they are named in the log alone.

    Returns:
        What is wrong, grouped by kind, so that a thousand small images make one sentence.
    """
    checked = entries
    if len(entries) >= MOST_CHECKED:
        step = (len(entries) - 1) / (SAMPLED - 1)
        checked = [entries[round(i * step)] for i in range(SAMPLED)]
    divide = operator.truediv if exact else operator.floordiv
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    bad: set[int] = set()

    def note(number: int, option: str, kind: str, name: str) -> None:
        bad.add(number)
        found[option, kind].append(name)

    for number, entry in enumerate(checked):
        sizes = {}
        for key, read in readers.items():
            try:
                sizes[key] = read(entry[f"{key}_path"])
            except ImageError as error:
                note(number, f"dataroot_{key}", f"unusable, {error.reason}", error.path)
        gt, lq = sizes.get("gt"), sizes.get("lq")
        if gt and smallest_gt and min(gt) < smallest_gt:
            kind = f"smaller than gt_size {smallest_gt} (min_size: {smallest_gt} leaves such images out)"
            note(number, "dataroot_gt", kind, f"{entry['gt_path']} ({gt[0]}x{gt[1]})")
        if gt and lq and scale and lq != tuple(divide(side, scale) for side in gt):
            pair = f"{entry['gt_path']} ({gt[0]}x{gt[1]}, LQ {lq[0]}x{lq[1]})"
            note(number, "dataroot_lq", f"whose GT is not {scale} times LQ", pair)
    share = f" (checked {len(checked)} of {len(entries)} images)" if len(checked) < len(entries) else ""
    problems = [
        Problem(option, f"{len(names)} image{'s' if len(names) > 1 else ''} {kind}: {name_some(names)}{share}")
        for (option, kind), names in found.items()
    ]
    # However large the share is, a set without one good image gives nothing.
    if len(bad) > min(largest_allowed(max_failed_share, len(checked)), len(checked) - 1):
        return problems
    for problem in problems:
        logging.getLogger("basicsr").warning("%s; left out, as max_failed_share %g allows", problem, max_failed_share)
    return []
