"""What steps share that make folders of images from folders of images: nothing is overwritten, mixed or out of date."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basicsr.utils.atomic import hash_file
from basicsr.utils.errors import DataError


def refuse_mixing(
    sources: Mapping[str, str | Path], targets: Mapping[str, str | Path], files: Iterable[Path] = ()
) -> None:
    """Checks that results go where no originals and no other results are.

    Args:
        sources: Folders that are read, by what to call them in the message.
        targets: Folders that will be written.
        files: What is read; links to files in a target folder are refused too.

    Raises:
        DataError: If a target is one of the other folders, lies in it or holds it.
    """
    folders = {name: Path(folder).resolve() for name, folder in {**sources, **targets}.items()}
    for name in targets:
        for other, folder in folders.items():
            if other == name:
                continue
            target = folders[name]
            if target == folder or folder in target.parents or target in folder.parents:
                relation = "is" if target == folder else "lies in" if folder in target.parents else "holds"
                raise DataError(
                    f"the {name} {target} {relation} the {other} {folder}, so that their images would mix; "
                    "choose a folder beside it"
                )
    linked = {file.resolve().parent: file for file in files}
    for name in targets:
        if folders[name] in linked:
            raise DataError(
                f"the {name} {folders[name]} holds what {linked[folders[name]]} links to, and it could be overwritten; "
                "choose another folder"
            )


def refuse_clashes(folder: str | Path, names: Sequence[str], name_result: Callable[[str], str]) -> None:
    """Raises ``DataError`` if two files of a folder would give results of one name."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name_result(name), name)
        if other != name:
            raise DataError(f"{folder}: {other} and {name} would both become {name_result(name)}; rename one of them")


def make_folder(folder: str | Path) -> None:
    """Makes a folder that can be written to, or raises ``DataError``."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "is a file, not a folder" if path.is_file() else f"cannot be made ({error.strerror})"
        raise DataError(f"{path}: {what}; choose another output folder") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise DataError(f"{path}: this folder cannot be written to; change its permissions or choose another")


def describe_source(path: Path) -> dict[str, Any]:
    """What :func:`is_unchanged` compares with: size in bytes, time of the last change, digest."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": hash_file(path, hashlib.sha256())}


def is_unchanged(path: Path, described: Mapping[str, Any]) -> bool:
    """Whether a file holds what it held; it is read only if its time has changed and its size has not."""
    status = path.stat()
    if status.st_size != described["size"]:
        return False
    return status.st_mtime_ns == described["mtime_ns"] or hash_file(path, hashlib.sha256()) == described["sha256"]
