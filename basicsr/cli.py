"""The ``basicsr`` command: one sub-command per job."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import basicsr
from basicsr import test, train
from basicsr.utils.arguments import EXIT_CODES

_SCRIPTS = {
    "train": ("Train a model as an option file says.", train.main),
    "test": ("Evaluate a generator on any number of data sets.", test.main),
}
"""Commands that are the same as a script, flags included; ``basicsr COMMAND -h`` lists these."""


def build_parser() -> argparse.ArgumentParser:
    """The command's parser with all sub-commands."""
    from basicsr.cli_analysis import add_commands

    parser = argparse.ArgumentParser(
        prog="basicsr",
        description="Super-resolution training, testing and analysis.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"basicsr {basicsr.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(commands)
    for name, (summary, _) in _SCRIPTS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _SCRIPTS:
        name, *flags = arguments
        sys.argv = [f"basicsr {name}", *flags]  # what usage lines and kept option files show
        return _SCRIPTS[name][1](flags, os.getcwd())

    from basicsr.cli_analysis import run_parsed

    return run_parsed(build_parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
