"""Images of one size that pass through the generator together, in the data set's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MAX_IMAGES = 32
MAX_LQ_PIXELS = 2**17
"""LQ pixels that pass through a GPU together: what one image of DIV2K has at x4, and enough to keep it busy."""

MAX_PIXELS = 2**20
"""Larger generated images pass alone, whatever the options say."""


@dataclass
class Entry:
    """One image of a data set on its way to the generator.

    Attributes:
        index: Its place in the data set.
        name: Its name there.
        batch: The loader's batch of this one image.
    """

    index: int
    name: str
    batch: Mapping[str, Any]

    @property
    def lq(self) -> Tensor:
        """(1, C, h, w) in [0, 1], or of uint8 or uint16."""
        lq: Tensor = self.batch["lq"]
        return lq


def count_together(lq: Tensor, scale: int, most: int | None, device: torch.device | None) -> int:
    """How many images of this size may pass together.

    Args:
        lq: One of them, (1, C, h, w).
        scale: Output pixels per input pixel.
        most: How many the options allow; ``None``: as many as keep a GPU busy, on the CPU one.
        device: Where the generator is.
    """
    pixels = lq.shape[-2] * lq.shape[-1]
    if pixels * scale**2 > MAX_PIXELS:
        return 1
    if most is None:
        most = min(MAX_IMAGES, MAX_LQ_PIXELS // pixels) if device is not None and device.type == "cuda" else 1
    return most


def group_entries(entries: Iterable[Entry], count: Callable[[Tensor], int]) -> Iterator[list[Entry]]:
    """Groups neighbours whose LQ have one shape and type, at most ``count(lq)`` each."""
    group: list[Entry] = []
    for entry in entries:
        if group and (entry.lq.shape != group[0].lq.shape or entry.lq.dtype != group[0].lq.dtype):
            yield group
            group = []
        group.append(entry)
        if len(group) >= count(entry.lq):
            yield group
            group = []
        del entry  # not kept while the next is loaded
    if group:
        yield group


def join_batches(group: Sequence[Entry]) -> Mapping[str, Any]:
    """The batch of a group: its LQ images and their paths."""
    if len(group) == 1:
        return group[0].batch
    paths = [path for entry in group for path in entry.batch.get("lq_path", ())]
    joined = {"lq": torch.cat([entry.lq for entry in group]), **({"lq_path": paths} if paths else {})}
    return pin(joined) if group[0].lq.is_pinned() else joined


def pin(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch in page-locked memory, from which copies to a GPU do not wait for what it has to do before."""
    return {key: value.pin_memory() if isinstance(value, Tensor) else value for key, value in batch.items()}
