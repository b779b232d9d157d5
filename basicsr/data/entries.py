"""The entries of a data set in one buffer, which loading processes share with the one that they were forked from."""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableSequence
from itertools import pairwise
from typing import Any

import numpy as np


class Entries(MutableSequence[dict[str, str]]):
    """A list of ``{'gt_path': …, 'lq_path': …}``, all with the same keys, kept as bytes.

    Whoever reads an object of a list writes its reference count, and so copies the page that it is on: in time, every
    loading process would have its own copy of a list of a million dicts. Reading this one writes nothing. Changing it
    makes it a list.

    Args:
        entries: What it is to hold.
    """

    def __init__(self, entries: Iterable[dict[str, str]] = ()) -> None:
        listed = list(entries)
        self._list: list[dict[str, str]] | None = None
        self._keys = tuple(listed[0]) if listed else ()
        if any(tuple(entry) != self._keys for entry in listed):
            self._list = listed
            return
        texts = [os.fsencode(entry[key]) for entry in listed for key in self._keys]
        self._bytes = np.frombuffer(b"".join(texts), np.uint8)
        self._ends = np.cumsum([0, *map(len, texts)])
        self._count = len(listed)

    @property
    def nbytes(self) -> int:
        """Memory in bytes, while it is kept as bytes."""
        return self._bytes.nbytes + self._ends.nbytes

    def __len__(self) -> int:
        return self._count if self._list is None else len(self._list)

    def __getitem__(self, index: Any) -> Any:
        if self._list is not None:
            return self._list[index]
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        # An index of its own kind, such as NumPy's, or that of a sampler, counts as the number that it is.
        number = range(self._count)[index]
        first = number * len(self._keys)
        bounds = self._ends[first : first + len(self._keys) + 1].tolist()
        texts = (self._bytes[start:end].tobytes() for start, end in pairwise(bounds))
        return {key: os.fsdecode(text) for key, text in zip(self._keys, texts)}

    def __setitem__(self, index: Any, value: Any) -> None:
        self._unpack()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._unpack()[index]

    def insert(self, index: int, value: dict[str, str]) -> None:
        """Inserts an entry before the one at ``index``."""
        self._unpack().insert(index, value)

    def sort(self, **options: Any) -> None:
        """Sorts as a list does."""
        self._unpack().sort(**options)

    def __add__(self, other: Iterable[dict[str, str]]) -> list[dict[str, str]]:
        return [*self, *other]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, Entries)) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def _unpack(self) -> list[dict[str, str]]:
        if self._list is None:
            self._list = list(self)
            del self._bytes, self._ends
        return self._list
