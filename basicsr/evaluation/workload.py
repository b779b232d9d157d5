"""The progress of measuring data sets: one bar whose share is that of LQ pixels, and which moves with every tile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from basicsr.evaluation.dataset_images import name_of
from basicsr.utils.images import ImageError, read_image_size
from basicsr.utils.progress import Progress

UNKNOWN = 10**6
"""Pixels that an image counts for whose size no file header tells."""


@lru_cache(maxsize=2**16)
def _count_pixels(path: str) -> int:
    try:
        height, width = read_image_size(path)
    except ImageError:
        # A key of a database, or a file that will be left out.
        return UNKNOWN
    return height * width


def _weigh_images(dataloader: object) -> list[int]:
    """The pixels of each image of a data set, in the order of its files."""
    dataset: Any = getattr(dataloader, "dataset", None)
    entries = getattr(dataset, "paths", None) or ()
    files = [e.get("lq_path") or e.get("gt_path") if isinstance(e, Mapping) else e for e in entries]
    count = len(dataset) if dataset is not None else 0
    return [_count_pixels(str(file)) for file in files] if len(files) == count else [UNKNOWN] * count


class Workload(AbstractContextManager["Workload"]):
    """What is to be done, and how much of it is done: generating and measuring, by the baseline too.

    Args:
        dataloaders: The data sets, in their order.
        title: Shown before the bar.
        share: This rank, and among how many the images of each set are shared.
        enabled: ``False`` shows nothing.
    """

    def __init__(
        self, dataloaders: Iterable[object], title: str, share: tuple[int, int] = (0, 1), enabled: bool = True
    ) -> None:
        rank, world_size = share
        self._weights = {id(loader): _weigh_images(loader) for loader in dataloaders}
        self._ends: dict[int, int] = {}
        total = 0
        for key, weights in self._weights.items():
            total += sum(weights[rank::world_size])
            self._ends[key] = total
        self.progress = Progress(total, title, enabled=enabled, in_percent=True)
        self._image_start, self._weight, self._note = 0, 0, ""

    def begin_image(self, dataloader: object, index: int, name: str) -> None:
        """The image at a place of a data set's list of files comes next."""
        weights = self._weights.get(id(dataloader), [])
        self._weight = weights[index] if index < len(weights) else 0
        self._image_start = self.progress.count
        self._note = f"{name_of(dataloader)}: {name}"
        self.progress.note(self._note)

    def end_tile(self, done: int, total: int) -> None:
        """So many tiles of the image are done; the last step, measuring, counts as another one."""
        self._advance(self._image_start + self._weight * done // (total + 1), f", tile {done} of {total}")

    def end_image(self) -> None:
        """The image is done."""
        self._advance(self._image_start + self._weight)

    def end_set(self, dataloader: object) -> None:
        """A data set is done, and images of it that were left out count no more."""
        self._advance(self._ends.get(id(dataloader), 0))

    def _advance(self, count: int, detail: str = "") -> None:
        if count > self.progress.count:
            self.progress.update(self._note + detail, count - self.progress.count)

    def __exit__(self, *_: object) -> None:
        self.progress.close()
