"""Parts of one's own: files and packages that register classes, loaded before options are checked."""

from __future__ import annotations

import filecmp
import importlib
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.errors import UserError

FOLDER = "imports"
"""Folder of a run that keeps copies of what it imported."""


def list_imports(data: Mapping[str, Any]) -> list[str]:
    """The names under ``imports`` in an option file that has not been validated yet; wrong ones are passed over."""
    names = data.get("imports") or []
    return [name for name in ([names] if isinstance(names, str) else names) if isinstance(name, str)]


def import_parts(
    names: Iterable[str],
    opt_file: str | os.PathLike[str] | None = None,
    run_folder: str | os.PathLike[str] | None = None,
) -> None:
    """Loads modules, each once.

    Args:
        names: Files (``my_parts.py``), folders of packages or importable names. A file is looked for beside the option
            file, in its ``imports`` folder, where a run keeps copies, and in the working directory.
        opt_file: The option file.
        run_folder: Folder of the run that goes on, whose copies are taken where the files themselves are gone.

    Raises:
        UserError: If there is no such file or package, or loading it fails; the message says why.
    """
    folders = _list_folders(opt_file)
    if run_folder is not None:
        folders.append(Path(run_folder).resolve() / FOLDER)
    for name in dict.fromkeys(names):
        source = _find(name, folders)
        if source is None and (name.endswith(".py") or os.sep in name):
            looked = ", ".join(map(str, dict.fromkeys(folders)))
            raise UserError(f"imports: there is no {name} in {looked}; put it there or change the name")
        module_name = name if source is None else source.stem
        if source is not None:
            # Another module of that name would be taken for it; a copy of the same content is as good.
            if module_name in sys.modules:
                content = source / "__init__.py" if source.is_dir() else source
                loaded = getattr(sys.modules[module_name], "__file__", None)
                if loaded is None or not os.path.isfile(loaded) or not filecmp.cmp(loaded, content, shallow=False):
                    raise UserError(f"imports: {name} has the name of a loaded module, {module_name}; rename the file")
            # By its plain name from a folder on the path, so that loading processes find it too.
            if str(source.parent) not in sys.path:
                sys.path.insert(0, str(source.parent))
        try:
            importlib.import_module(module_name)
        except Exception as error:
            # Whatever the user's code raises: the message must name the file, not this package.
            raise UserError(f"imports: {source or name} cannot be loaded: {type(error).__name__}: {error}") from error


def import_parts_of(
    data: Mapping[str, Any], opt_file: str | os.PathLike[str], run_folder: str | os.PathLike[str] | None = None
) -> None:
    """Loads what an option file names under ``imports`` and what lies beside it as copies; see :func:`import_parts`."""
    kept = sorted((Path(opt_file).resolve().parent / FOLDER).glob("*"))
    copies = [str(path) for path in kept if path.suffix == ".py" or (path / "__init__.py").is_file()]
    import_parts([*list_imports(data), *copies], opt_file, run_folder)


def keep_imports(names: Iterable[str], opt_file: str | os.PathLike[str], run_folder: str | os.PathLike[str]) -> None:
    """Copies imported files and packages into a run's folder; installed packages stay where they are."""
    for name in dict.fromkeys(names):
        source = _find(name, _list_folders(opt_file))
        if source is None:
            continue
        target = Path(run_folder) / FOLDER / source.name
        if target.resolve() == source.resolve():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def _list_folders(opt_file: str | os.PathLike[str] | None) -> list[Path]:
    beside = [Path(opt_file).resolve().parent] if opt_file is not None else []
    return [*beside, *(folder / FOLDER for folder in beside), Path.cwd()]


def _find(name: str, folders: Iterable[Path]) -> Path | None:
    """A file, or the folder of a package; ``None`` for what only an import can find."""
    path = Path(name).expanduser()
    for candidate in [path] if path.is_absolute() else [folder / path for folder in folders]:
        if candidate.is_file() or (candidate / "__init__.py").is_file():
            return candidate
    return None
