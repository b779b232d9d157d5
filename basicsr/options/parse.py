"""The command line of training and testing, from ``sys.argv`` to complete options; and options as text and digest."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from basicsr.models.options import DERIVED, PathOptions
from basicsr.models.presets import find_at
from basicsr.options.derive import Launch, count_gpus, derive_options, detect_launch, locate_run
from basicsr.options.imports import import_parts, import_parts_of, list_imports
from basicsr.options.load import apply_overrides, load_file
from basicsr.options.reference import SCHEMA_FILE, list_parts, renew_page, write_part, write_schema
from basicsr.options.schema import RunOptions
from basicsr.options.validate import validate_dataset_file, validate_options
from basicsr.utils.arguments import build_parser
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import UserError
from basicsr.utils.fields import Section, extra_of
from basicsr.utils.frozen import FrozenOptions, freeze, thaw

logger = logging.getLogger("basicsr")


def parse_options(
    root_path: str | os.PathLike[str], is_train: bool = True, argv: Sequence[str] | None = None
) -> tuple[FrozenOptions, argparse.Namespace]:
    """Reads the command line and the option file that it names, validates everything, and fills in what follows.

    Args:
        root_path: The project folder; ``experiments/`` or ``results/`` are made in it.
        is_train: Whether the options are to train with, or to test with.
        argv: The command line's arguments; ``None``: those of this process.

    Returns:
        Read-only options, and the parsed flags, with ``launcher`` resolved and the list ``notices``.

    Raises:
        OptionsError: With all mistakes, and what is missing.
        MissingFilesError: If only data or weights are missing.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(is_train).parse_args(arguments)
    launch = detect_launch(args.launcher)
    args.launcher = launch.launcher

    # Read the file, and load the parts that it imports before it is checked.
    loaded = load_file(args.opt)
    loaded.problems += apply_overrides(loaded, args.force_yml)
    loaded.data["imports"] = [*list_imports(loaded.data), *args.imports]
    parent = find_at(loaded.data, "path.experiments_root")
    run_folder = locate_run(parent, root_path, loaded.data.get("name")) if args.auto_resume else None
    import_parts_of(loaded.data, args.opt, run_folder)

    # One process looks at the files for all of them; if it stops, the launcher stops the others.
    looks = launch.rank == 0
    asked = {"with_files": looks, "fetches": not args.check, "builds": True, "strict": args.strict}
    options, found = validate_options(loaded, is_train=is_train, **asked)
    # What torchrun is given to run the program that the user runs.
    verb = "train" if is_train else "test"
    program = [sys.argv[0] if argv is None and sys.argv[0].endswith(".py") else f"basicsr/{verb}.py"]
    if sys.argv[0] == f"basicsr {verb}":
        program = ["-m", "basicsr", verb]
    command = shlex.join([*program, *arguments])
    num_gpu = count_gpus(options, launch, found, command=command, strict=not args.check)
    found.raise_if_any(args.opt)

    # Add what follows from the options and from how the program was started.
    options = derive_options(options, root_path, launch, num_gpu, debug=args.debug, resumes=args.auto_resume)
    args.notices = [str(notice) for notice in found.notices]
    if launch.rank == 0:
        for notice in args.notices:
            logger.warning("%s: %s", args.opt, notice)
    return options.to_mapping(), args


def load_options(
    path: str | os.PathLike[str],
    *,
    is_train: bool = True,
    overrides: Iterable[str] = (),
    root_path: str | os.PathLike[str] = ".",
    with_files: bool = False,
) -> FrozenOptions:
    """Reads and validates an option file as :func:`parse_options` does, for tools with a command line of their own.

    Args:
        path: The file.
        is_train: Whether it is a training file.
        overrides: Changes such as ``scale=2``; see :func:`basicsr.options.load.apply_overrides`.
        root_path: The project folder.
        with_files: Whether the data and weights that it names must be there.

    Raises:
        OptionsError: With all mistakes.
    """
    loaded = load_file(path)
    loaded.problems += apply_overrides(loaded, overrides)
    import_parts_of(loaded.data, path)
    options, found = validate_options(loaded, is_train=is_train, with_files=with_files)
    launch = Launch()
    num_gpu = count_gpus(options, launch, found, command=f"basicsr/train.py -opt {path}", strict=False)
    found.raise_if_any(str(path), ignore_missing=not with_files)
    return derive_options(options, root_path, launch, num_gpu).to_mapping()


def load_dataset_options(path: str | os.PathLike[str], *, with_files: bool = True) -> FrozenOptions:
    """Reads and validates a file that is one data set's block, such as ``options/DIV2K_valid.yml``.

    Raises:
        OptionsError: With all mistakes, and what is missing.
    """
    options, findings = validate_dataset_file(load_file(path), with_files=with_files)
    findings.raise_if_any(str(path), ignore_missing=not with_files)
    return freeze(options)


def copy_opt_file(
    opt_file: str | os.PathLike[str], experiments_root: str | os.PathLike[str], overrides: Sequence[str] = ()
) -> None:
    """Keeps an option file with a run: a copy under the same name, headed by the time and the command line.

    Args:
        opt_file: The option file.
        experiments_root: The run's folder.
        overrides: What ``--force_yml`` has changed; the copy has these changes, and no comments then.
    """
    text = Path(opt_file).read_text(encoding="utf-8")
    header = f"# Started {time.strftime('%Y-%m-%d %H:%M:%S')} with: {shlex.join(sys.argv)}\n\n"
    if overrides:
        loaded = load_file(opt_file)
        apply_overrides(loaded, overrides)
        text = str(yaml.safe_dump(loaded.data, sort_keys=False, allow_unicode=True, width=120))
        header = header.rstrip("\n") + f"\n# {os.path.abspath(opt_file)} with the changes of --force_yml\n\n"
    atomic_write_text(header + text, Path(experiments_root) / Path(opt_file).name)


def dump_options(opt: Mapping[str, Any]) -> str:
    """Writes options as an option file that gives the same options when it is read again, without what is derived."""
    options = {key: value for key, value in thaw(opt).items() if key not in _list_derived(RunOptions)}
    path = {key: value for key, value in options.get("path", {}).items() if key not in _list_derived(PathOptions)}
    for key in ("experiments_root", "results_root"):
        if path.get(key) and Path(path[key]).name == options.get("name"):
            path[key] = str(Path(path[key]).parent)
    if path:
        options["path"] = path
    return str(yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=120))


def _list_derived(section: type[Section]) -> set[str]:
    return {key for key, item in section.model_fields.items() if extra_of(item, "unused") == DERIVED}


def dict2str(opt: Mapping[str, Any], indent_level: int = 1) -> str:
    """Options as indented ``key: value`` lines for a log; blocks stand in brackets, as BasicSR's logs have them."""
    lines = ["\n"]
    for key, value in opt.items():
        margin = " " * (indent_level * 2)
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key}:[{dict2str(value, indent_level + 1)}{margin}]\n")
        else:
            lines.append(f"{margin}{key}: {value}\n")
    return "".join(lines)


def run_options_command(args: argparse.Namespace) -> int:
    """Prints or writes what the flags ask for; returns the exit code.

    Raises:
        UserError: If a name is unknown or a file cannot be read.
    """
    import_parts(args.imports, args.opt)
    if args.opt:
        import_parts_of(load_file(args.opt).data, args.opt)
    if args.schema:
        sys.stdout.write(write_schema())
    elif args.write:
        page = Path(args.write)
        atomic_write_text(renew_page(page.read_text(encoding="utf-8")), page)
        atomic_write_text(write_schema(only_own=True), SCHEMA_FILE)
    else:
        known = list_parts()
        for name in args.names:
            if name not in known:
                raise UserError(f"there is no part {name} of the options; known: {', '.join(known)}")
        parts = [f"## {name}\n\n{write_part(name, only_own=False)}" for name in args.names or known]
        sys.stdout.write("\n".join(parts))
    return 0
