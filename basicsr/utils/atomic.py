"""Files that are whole or absent: written beside their place, flushed, then renamed over it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch


@contextmanager
def atomic_path(path: str | os.PathLike[str], durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renames it to ``path`` when the block ends without an error.

    The block writes the file. It is flushed to disk before the rename, so a power cut leaves either the old file or the
    new one; not ``durable``: it may then be empty.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not made here, so that it gets the permissions of any new file; asking for the umask is unsafe with threads.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: str | os.PathLike[str], mode: str, write: Callable[[IO[Any]], object]) -> None:
    with atomic_path(path) as temporary, open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
        write(file)


def atomic_save(obj: object, path: str | os.PathLike[str]) -> None:
    """``torch.save`` that cannot leave a torn file."""
    _write(path, "wb", lambda file: torch.save(obj, file))


def atomic_write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Writes UTF-8 text that cannot be torn."""
    _write(path, "w", lambda file: file.write(text))


def atomic_write_json(obj: object, path: str | os.PathLike[str]) -> None:
    """Writes indented JSON that cannot be torn; non-finite numbers are refused."""
    atomic_write_text(json.dumps(obj, indent=2, allow_nan=False, default=float) + "\n", path)
