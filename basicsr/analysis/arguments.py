"""Flags and manners that all analysis commands share; importing this module imports neither PyTorch nor matplotlib."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr.evaluation.figures import FIGURE_FORMATS
from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError, UserError, first_line

if TYPE_CHECKING:
    import torch

    from basicsr.analysis.images import BadFile, Runtime


_KIND_OF_IMAGES = re.compile("hr|gt(mod[0-9]+)?|original", re.IGNORECASE)
_PARTS = ("train", "val", "valid", "test")


def name_data_set(folder: str) -> str:
    """What to call the images of a folder: ``Set5`` for ``Set5/HR``, ``photographs_val`` for ``photographs/val/HR``."""
    path = Path(folder).resolve()
    if not _KIND_OF_IMAGES.fullmatch(path.name) or not path.parent.name:
        return path.name
    parent = path.parent
    return f"{parent.parent.name}_{parent.name}".strip("_") if parent.name in _PARTS else parent.name


def _whole_number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more, got {value}")
    return value


positive_int = partial(_whole_number, least=1)
crop_side = partial(_whole_number, least=2)
"""The side of crops in pixels: one pixel has no detail."""


def add_runtime_arguments(parser: argparse.ArgumentParser, batch_size: int | None = None, batch_help: str = "") -> None:
    """Adds ``--num_workers``, ``--device`` and ``--formats``; ``--batch_size`` and ``--seed`` if there are batches."""
    group = parser.add_argument_group("running")
    if batch_size is not None:
        group.add_argument("--batch_size", type=positive_int, default=batch_size, metavar="N", help=batch_help)
    cores, text = min(4, available_cores()), "processes that decode images; 0: this one"
    group.add_argument("--num_workers", type=partial(_whole_number, least=0), default=cores, metavar="N", help=text)
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 …; auto takes a GPU if there is one")
    add_format_argument(group)
    if batch_size is not None:
        group.add_argument("--seed", type=int, default=23, help="seed of everything that is drawn")


def add_format_argument(parser: argparse._ActionsContainer) -> None:
    """Adds ``--formats``."""
    parser.add_argument("--formats", nargs="+", choices=FIGURE_FORMATS, default=["png", "pdf"], help="figure formats")


def list_given(args: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Flags among ``names`` that the command line gives; their default is None."""
    return [f"--{name}" for name in names if getattr(args, name, None) is not None]


def refuse_without(args: argparse.Namespace, needed: str, *dependents: str) -> None:
    """Raises :class:`UserError` if flags are given that require another, which is not."""
    given = list_given(args, dependents)
    if given and getattr(args, needed, None) is None:
        verb = "requires" if len(given) == 1 else "require"
        raise UserError(f"{', '.join(given)} {verb} --{needed}; give that too, or leave it out")


def split_label(text: str) -> tuple[str, str]:
    """Splits ``[LABEL=]WHAT`` at its first ``=``; an existing path is WHAT as a whole, whatever is in its name.

    Returns:
        The label (empty if there is none) and WHAT.

    Raises:
        UserError: If WHAT is empty, which as a path would mean the current folder.
    """
    label, separator, what = text.partition("=")
    if not separator or os.path.exists(text):
        label, what = "", text
    if not what.strip():
        raise UserError(f"{text!r} names nothing; expected [LABEL=]PATH (the current folder is .)")
    return label, what


def refuse_equal_labels(labels: Sequence[str], what: str, form: str) -> None:
    """Raises :class:`UserError` unless there are labels and all of them differ.

    Args:
        labels: The labels.
        what: What they name, in the plural, for the message.
        form: How a user gives another label, for the message (``LABEL=FILE``).
    """
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"{what} need different names; got {', '.join(labels) or 'none'}. Name them {form}")


def resolve_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: If it does not exist here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used: {first_line(error)}") from error


def read_runtime(args: argparse.Namespace) -> Runtime:
    """What :func:`add_runtime_arguments` asks for that measurements take; without batches, one image at a time."""
    from basicsr.analysis.images import Runtime

    return Runtime(getattr(args, "batch_size", 1), args.num_workers, resolve_device(args.device))


def print_result(text: str) -> None:
    """Writes a result for the user to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_files(paths: Iterable[Path]) -> None:
    """Names the files that were written."""
    print_result("\n".join(f"wrote {path}" for path in paths))


def report_bad_files(bad_files: Sequence[BadFile]) -> int:
    """Logs what could not be used; returns the exit status."""
    if bad_files:
        listed = "\n".join(f"  {file}" for file in bad_files)
        logging.getLogger("basicsr").error("%d could not be used:\n%s", len(bad_files), listed)
    return DataError.exit_code if bad_files else 0
