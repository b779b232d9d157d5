"""Files that are whole or absent: written beside their place, flushed, then renamed over it; and digests of files."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

import torch

StrPath = str | os.PathLike[str]
"""A file or folder."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


@contextmanager
def atomic_path(path: StrPath, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renames it to ``path`` when the block ends without an error.

    The block writes the file. It is flushed to disk before the rename, so a power cut leaves either the old file or the
    new one; not ``durable``: it may then be empty. A device or a pipe, such as ``/dev/stdout``, is yielded itself.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        yield target
        return
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


def remove_temporaries(folder: StrPath, passing_over: Collection[str] = ()) -> None:
    """Removes what killed processes have left of :func:`atomic_path`, sub-folders included.

    Args:
        folder: A folder that no other process writes to.
        passing_over: Entries of it that others do write to.
    """
    for path in list(Path(folder).rglob(".*.tmp")):
        if _TEMPORARY.fullmatch(path.name) and path.relative_to(folder).parts[0] not in passing_over:
            path.unlink(missing_ok=True)


def atomic_save(
    obj: object, path: StrPath, parts: Iterable[tuple[str, memoryview]] = (), hasher: Hasher | None = None
) -> None:
    """``torch.save`` that cannot leave a torn file.

    Args:
        obj: What ``torch.load`` gives.
        path: The file.
        parts: Names and contents of further members of the archive, which are asked for one at a time.
        hasher: Is given the file's content as it is written, but for ``parts``.
    """
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            watched = _Watched(file, hasher)
            try:
                torch.save(obj, cast(IO[bytes], watched))
            except RuntimeError:
                if watched.error is not None:
                    raise watched.error from None
                raise
        for name, content in parts:
            with (
                zipfile.ZipFile(temporary, "a") as archive,
                archive.open(part_name(archive, name), "w", force_zip64=True) as member,
            ):
                member.write(content)
            del content  # before the next is made


def part_name(archive: zipfile.ZipFile, name: str) -> str:
    """Where a further member stands in an archive: torch reads none that has anything outside of its one folder."""
    return f"{archive.namelist()[0].partition('/')[0]}/{name}"


class _Watched:
    """A file that keeps the reason why it could not be written, which torch replaces by one of its own."""

    def __init__(self, file: IO[bytes], hasher: Hasher | None = None) -> None:
        self._file = file
        self._hasher = hasher
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self._hasher is not None:
            self._hasher.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def atomic_write_text(text: str, path: StrPath) -> None:
    """Writes UTF-8 text that cannot be torn."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def atomic_write_json(obj: object, path: StrPath) -> None:
    """Writes indented JSON that cannot be torn; non-finite numbers are refused."""
    atomic_write_text(json.dumps(obj, indent=2, allow_nan=False, default=float) + "\n", path)


class Hasher(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: bytes, /) -> object:
        """Takes more of the content."""

    def hexdigest(self) -> str:
        """The digest of all content so far."""


def hash_file(path: StrPath, hasher: Hasher) -> str:
    """Digest of a file's content, which is read in blocks of 1 MiB (:func:`hashlib.file_digest`, for Python 3.10 too).

    Args:
        path: The file.
        hasher: A fresh one, such as ``hashlib.sha256()``.

    Returns:
        Hexadecimal, lower case.

    Raises:
        OSError: If the file cannot be read, or is a pipe or device, reading which could wait for ever.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "is not a file", os.fspath(path))
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
