"""How a command ends: one message instead of a traceback for what a user can mend, and an exit code that says why.

This module imports nothing that takes time. Entry points import it alone, and the rest inside of what
:func:`run_to_exit_code` runs, so that Ctrl-C ends them in the same way during the seconds in which torch is loaded.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
_SLOW_LIBRARIES = ("torch", "cv2")
EXIT_CODES = """exit codes:
  0    done
  1    an error that the message explains, or a defect (with a traceback)
  2    wrong options or command line
  3    data or weights missing, unreadable or unfit
  4    training cannot go on (non-finite losses, memory or disk full)
  130  interrupted (Ctrl-C or SIGTERM); training has saved a checkpoint"""


class Interrupted(Exception):
    """A run that was asked to stop has stopped; what it says tells how to go on."""


def run_to_exit_code(command: Callable[[], int | None]) -> int:
    """Runs a command and returns what it returns, 0 for None, or its error's :data:`EXIT_CODES`. Defects propagate."""
    with _terminated_like_interrupted():
        try:
            _load_libraries()
            return command() or 0
        except Interrupted as notice:
            from basicsr.utils.dist_util import is_master

            if is_master():
                sys.stderr.write(f"{notice}\n")
            return INTERRUPTED
        except KeyboardInterrupt as interrupt:
            # A command that can go on where it was stopped raises it anew with a text that says so.
            sys.stderr.write(f"{str(interrupt) or 'Interrupted.'}\n")
            return INTERRUPTED
        except ValueError as error:
            # A user's error can only come from code that has imported its module.
            errors = sys.modules.get("basicsr.utils.errors")
            if errors is None or not isinstance(error, errors.UserError):
                raise
            sys.stderr.write(f"{error}\n")
            return int(error.exit_code)


def _load_libraries() -> None:
    """Loads what takes seconds and every command needs, ending the process at once if it is interrupted meanwhile.

    Nothing has begun that had to be put in order, and an exception would not do: raised in the middle of an import,
    some libraries swallow it and fail later in ways that have nothing to do with it.
    """
    if all(name in sys.modules for name in _SLOW_LIBRARIES):
        return
    with _handling((signal.SIGINT, signal.SIGTERM), _end_at_once):
        for name in _SLOW_LIBRARIES:
            importlib.import_module(name)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    sys.stderr.write("Interrupted.\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def _terminated_like_interrupted() -> AbstractContextManager[None]:
    """Lets SIGTERM do what Ctrl-C does, wherever nothing else handles it."""
    return _handling((signal.SIGTERM,), signal.default_int_handler)


@contextmanager
def _handling(numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Handles signals meanwhile; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)
