"""Checks of image files before training, from their headers alone and bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from basicsr.data.data_util import read_lmdb_meta
from basicsr.data.decoding import SampleError, read_image_size
from basicsr.data.listings import name_some

MOST_CHECKED = 2000
SAMPLED = 500

Size = tuple[int, int]
SizeReader = Callable[[str], Size]


def sample_entries(entries: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
    """All entries if there are fewer than 2,000; else 500 evenly spaced ones, the first and last among them."""
    if len(entries) < MOST_CHECKED:
        return entries
    step = (len(entries) - 1) / (SAMPLED - 1)
    return [entries[round(i * step)] for i in range(SAMPLED)]


def open_size_reader(backend: str, root: str) -> SizeReader:
    """A function from an image's path (or key) to its (height, width)."""
    if backend != "lmdb":
        return read_image_size
    return read_lmdb_meta(root).__getitem__


class _Findings:
    """Groups what is wrong by kind, so that a thousand small images make one sentence."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        self._names.setdefault(kind, []).append(name)

    def describe(self, checked: int, total: int) -> list[str]:
        note = f" (checked {checked} of {total} images)" if checked < total else ""
        return [
            f"{len(names)} image{'s' if len(names) > 1 else ''} {kind}: {name_some(names)}{note}"
            for kind, names in self._names.items()
        ]


def check_sizes(
    entries: Sequence[dict[str, str]],
    readers: Mapping[str, SizeReader],
    scale: int | None,
    smallest_gt: int | None,
    exact: bool,
) -> list[str]:
    """Compares the sizes of pairs, and of GT images with the crop.

    Args:
        entries: ``gt_path`` and, for pairs, ``lq_path``.
        readers: A size reader for ``gt`` and for ``lq``.
        scale: GT pixels per LQ pixel; None: do not compare.
        smallest_gt: Side that GT images must have at least; None: any.
        exact: GT must be exactly ``scale`` times LQ; otherwise it may also have the remainder of the division, which is
            cut off when testing.

    Returns:
        What is wrong, grouped, in sentences.
    """
    findings = _Findings()
    checked = sample_entries(entries)
    for entry in checked:
        sizes = _read_sizes(entry, readers, findings)
        gt, lq = sizes.get("gt"), sizes.get("lq")
        if gt and smallest_gt and min(gt) < smallest_gt:
            findings.add(f"smaller than gt_size {smallest_gt}", f"{entry['gt_path']} ({gt[0]}x{gt[1]})")
        if gt and lq and scale and not _fit(gt, lq, scale, exact):
            what = f"whose GT is not {scale} times LQ"
            findings.add(what, f"{entry['gt_path']} ({gt[0]}x{gt[1]}, LQ {lq[0]}x{lq[1]})")
    return findings.describe(len(checked), len(entries))


def _read_sizes(entry: Mapping[str, str], readers: Mapping[str, SizeReader], findings: _Findings) -> dict[str, Size]:
    sizes = {}
    for key, read in readers.items():
        try:
            sizes[key] = read(entry[f"{key}_path"])
        except SampleError as error:
            path, _, what = str(error).rpartition(": ")
            findings.add(f"unusable, {what}", path)
    return sizes


def _fit(gt: Size, lq: Size, scale: int, exact: bool) -> bool:
    if exact:
        return gt == (lq[0] * scale, lq[1] * scale)
    return (gt[0] // scale, gt[1] // scale) == lq
