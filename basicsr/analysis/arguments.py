"""Options and manners that all analysis commands share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from basicsr.analysis.experiments import read_option_file
from basicsr.analysis.images import BadFile
from basicsr.analysis.plots import FIGURE_FORMATS
from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError, UserError

EXIT_SOME_FAILED = DataError.exit_code
"""Exit status of a command that finished, but could not use some of its files."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, except empty ones, and keeps the line breaks of a description."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def add_runtime_arguments(
    parser: argparse.ArgumentParser,
    *,
    batch_size: int | None = None,
    batch_help: str = "",
    seed: int | None = None,
) -> None:
    """Adds ``--num_workers``, ``--device`` and ``--formats``; ``--batch_size``, ``--seed`` if they have a default."""
    group = parser.add_argument_group("running")
    if batch_size is not None:
        group.add_argument("--batch_size", type=positive_int, default=batch_size, metavar="N", help=batch_help)
    group.add_argument(
        "--num_workers",
        type=non_negative_int,
        default=min(4, available_cores()),
        metavar="N",
        help="processes that decode images; 0: this one",
    )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 …; auto takes a GPU if there is one")
    add_format_argument(group)
    if seed is not None:
        group.add_argument("--seed", type=int, default=seed, help="seed of everything that is drawn")


def add_format_argument(parser: argparse._ActionsContainer) -> None:
    """Adds ``--formats``."""
    parser.add_argument(
        "--formats", nargs="+", choices=FIGURE_FORMATS, default=["png", "pdf"], help="file formats of figures"
    )


def positive_int(text: str) -> int:
    """An argument that is a whole number, 1 or more."""
    return _whole_number(text, 1)


def non_negative_int(text: str) -> int:
    """An argument that is a whole number, 0 or more."""
    return _whole_number(text, 0)


def crop_side(text: str) -> int:
    """An argument that is the side of crops in pixels, 2 or more: one pixel has no detail."""
    return _whole_number(text, 2)


def _whole_number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more, got {value}")
    return value


def list_given(args: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Flags among ``names`` that the command line gives; their default is None."""
    return [f"--{name}" for name in names if getattr(args, name, None) is not None]


def refuse_without(args: argparse.Namespace, needed: str, *dependents: str) -> None:
    """Raises :class:`UserError` if flags are given that mean nothing without another, which is not."""
    given = list_given(args, dependents)
    if given and getattr(args, needed, None) is None:
        raise UserError(f"{', '.join(given)} means nothing without --{needed}; give that too, or leave it out")


def resolve_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: If it does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def read_optional_options(path: str | None) -> Mapping[str, Any] | None:
    """An option file as a mapping, or None without one."""
    return None if path is None else read_option_file(path)


def say(text: str) -> None:
    """Writes a result for the user to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_files(paths: Iterable[Path]) -> None:
    """Says which files were written."""
    say("\n".join(f"wrote {path}" for path in paths))


def report_bad_files(bad_files: Iterable[BadFile]) -> int:
    """Logs what could not be used; returns the exit status."""
    bad = list(bad_files)
    if not bad:
        return 0
    listed = "\n".join(f"  {file}" for file in bad)
    logging.getLogger("basicsr").error("%d could not be used:\n%s", len(bad), listed)
    return EXIT_SOME_FAILED
