"""Folders that are listed, and the folders that runs write to."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.atomic import StrPath
from basicsr.utils.dist_util import master_only
from basicsr.utils.errors import UserError

SCORE_FOLDERS = ("score", "iqa")
"""Parts of ``results/<name>`` that no test makes: scores by the discriminators of the run of that name."""


def walk_files(folder: StrPath, recursive: bool = False, strict: bool = False) -> Iterator[str]:
    """Yields the paths of all but folders in a folder, sorted, its own first; hidden ones are left out.

    Args:
        folder: What the paths are relative to.
        recursive: Whether to go into sub-folders; links are followed, but not back to a folder that leads to them.
        strict: Whether a folder that cannot be read is an error (``OSError``); otherwise it is passed over.
    """
    yield from _walk(os.fspath(folder), "", recursive, strict, ())


def _walk(folder: str, inner: str, recursive: bool, strict: bool, above: tuple[str, ...]) -> Iterator[str]:
    here = os.path.join(folder, inner)
    try:
        with os.scandir(here) as scanned:
            entries = sorted((entry for entry in scanned if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError:
        if strict:
            raise
        return
    folders = []
    for entry in entries:
        if entry.is_dir():
            folders.append(entry)
        else:
            yield os.path.join(inner, entry.name)
    above = (*above, os.path.realpath(here)) if recursive else above
    for entry in folders if recursive else ():
        if os.path.realpath(entry.path) in above:
            logging.getLogger("basicsr").warning("%s leads back to a folder that it is in: left out", entry.path)
        else:
            yield from _walk(folder, os.path.join(inner, entry.name), recursive, strict, above)


def scandir(
    dir_path: StrPath, suffix: str | tuple[str, ...] | None = None, recursive: bool = False, full_path: bool = False
) -> Iterator[str]:
    """Yields the files of a folder in sorted order; hidden files and folders are left out.

    Args:
        dir_path: The folder.
        suffix: Endings of the files that are wanted.
        recursive: Whether to go into sub-folders; a folder's own files come first.
        full_path: Yield paths that start with ``dir_path`` instead of paths relative to it.

    Raises:
        TypeError: If ``suffix`` is neither text nor a tuple of texts.
        OSError: If the folder cannot be read.
    """
    if suffix is not None and not isinstance(suffix, (str, tuple)):
        raise TypeError(f"suffix must be text or a tuple of texts, got {type(suffix).__name__}")
    endings = "" if suffix is None else suffix
    names = (name for name in walk_files(dir_path, recursive, strict=True) if name.endswith(endings))
    # A link to nothing and what is no file, such as a pipe, are left out.
    files = (name for name in names if os.path.isfile(os.path.join(dir_path, name)))
    return (os.path.join(dir_path, name) for name in files) if full_path else files


def get_time_str() -> str:
    """The local time as ``20260131_235959``, for names of files."""
    return time.strftime("%Y%m%d_%H%M%S", time.localtime())


def archive(path: StrPath, keep: Collection[str] = ()) -> Path | None:
    """Renames a file or folder to ``…_archived_<time>``, never over another.

    Args:
        path: The file or folder.
        keep: Entries of the folder that stay where they are.

    Returns:
        The new path, or ``None`` if there was nothing to rename.

    Raises:
        UserError: If the path ends in ``.`` or ``..`` and so stands for a folder that others are in.
    """
    old = Path(path)
    if old.name in ("", ".."):
        raise UserError(f"{path} is not moved away: name the folder itself")
    staying = [name for name in keep if (old / name).exists()]
    if not old.exists() or (staying and len(staying) == len(os.listdir(old))):
        return None
    stem = f"{old.name}_archived_{get_time_str()}"
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    new = next(path for path in map(old.with_name, names) if not path.exists())
    old.rename(new)
    for name in staying:
        old.mkdir(exist_ok=True)
        (new / name).rename(old / name)
    return new


def mkdir_and_rename(path: StrPath, keep: Collection[str] = ()) -> Path | None:
    """Makes a folder, empty but for the entries to ``keep``; one that is there already is renamed first.

    Returns:
        What the old folder is called now, or ``None``.
    """
    archived = archive(path, keep)
    os.makedirs(path, exist_ok=bool(keep))
    return archived


@master_only
def make_exp_dirs(opt: Mapping[str, Any]) -> Path | None:
    """Makes the folders of a run afresh: those of a training under ``path``, or ``results_root`` of a test.

    A folder that is there from an earlier run is renamed; :data:`SCORE_FOLDERS` stay in that of a test.

    Returns:
        What the old folder is called now, or ``None``.
    """
    path = opt["path"]
    kind, keep = ("experiments_root", ()) if opt["is_train"] else ("results_root", SCORE_FOLDERS)
    archived = mkdir_and_rename(path[kind], keep)
    # Those of the options that a run of this kind has.
    for name in filter(path.get, ("models", "training_states", "visualization", "log")):
        os.makedirs(path[name], exist_ok=True)
    return archived


def sizeof_fmt(size: float, suffix: str = "B") -> str:
    """A number of bytes as ``3.2 MB``, in steps of 1024."""
    for unit in ("", "K", "M", "G", "T", "P", "E", "Z"):
        if abs(size) < 1024:
            return f"{size:3.1f} {unit}{suffix}"
        size /= 1024
    return f"{size:3.1f} Y{suffix}"
