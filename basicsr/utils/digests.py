"""Digests of files of any size."""

from __future__ import annotations

import os
from typing import Protocol

_BLOCK = 1 << 20


class Hasher(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: bytes, /) -> object:
        """Takes more of the content."""

    def hexdigest(self) -> str:
        """The digest of all content so far."""


def hash_file(path: str | os.PathLike[str], hasher: Hasher) -> str:
    """Digest of a file's content, which is read in blocks.

    Args:
        path: The file.
        hasher: A fresh one, such as ``hashlib.sha256()``.

    Returns:
        Hexadecimal, lower case.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
