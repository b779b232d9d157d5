"""The ``basicsr`` command: one sub-command per job, as :data:`basicsr.commands.COMMANDS` lists them.

Exit status 3 means that a command finished, but some files could not be used; they are listed.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from functools import partial

from basicsr.commands import COMMANDS, RUNS, build_command_parser, build_parser
from basicsr.engine.exits import INTERRUPTED, run_to_exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in RUNS:
        name, *flags = arguments
        sys.argv = [f"basicsr {name}", *flags]  # what usage lines and kept option files show
        return int(pkgutil.resolve_name(f"basicsr.{COMMANDS[name].run}")(flags, os.getcwd()))
    return run_parsed(build_parser, arguments)


def run_parsed(make_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str] | None) -> int:
    """Parses arguments, does the work, says what went wrong without a traceback.

    Args:
        make_parser: Makes the parser, whose default ``run`` names the function that does the work.
        argv: Arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    # Before anything heavy is loaded: help and a wrong flag are answered at once.
    args = make_parser().parse_args(argv)
    if args.is_light:
        try:
            return int(pkgutil.resolve_name(f"basicsr.{args.run}")(args))
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted.\n")
            return INTERRUPTED

    def work() -> int:
        from basicsr.options.imports import import_parts
        from basicsr.utils.dist_util import init_dist, is_under_torchrun, shut_down_dist, works_here
        from basicsr.utils.logger import get_root_logger

        get_root_logger()
        # Commands that measure images share them among the processes, and so do those that name their shard.
        if "device" in args:
            if is_under_torchrun():
                init_dist("pytorch", "gloo", use_gpu=args.device in ("auto", "cuda"))
        elif "shard" not in args and not works_here():
            return 0
        import_parts(args.imports)
        status = int(pkgutil.resolve_name(f"basicsr.{args.run}")(args))
        # Not after an error: the other processes may wait in the group for this one, until the launcher ends them.
        shut_down_dist()
        return status

    return run_to_exit_code(work)


def run_script(name: str, argv: Sequence[str] | None = None) -> int:
    """Runs a command as one of ``scripts/*.py``.

    Args:
        name: The command's words, of :data:`basicsr.commands.COMMANDS`.
        argv: Arguments; by default those of the process.

    Returns:
        The exit status.
    """
    return run_parsed(partial(build_command_parser, name), argv)


if __name__ == "__main__":
    sys.exit(main())
