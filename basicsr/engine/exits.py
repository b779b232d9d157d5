"""Exit codes of commands, and one message instead of a traceback for what a user can fix.

This module imports nothing that takes time. Entry points import it and their flags alone, and the rest inside of what
:func:`run_to_exit_code` runs, so that Ctrl-C ends them in the same way during the seconds in which torch is loaded.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from basicsr.utils.errors import UserError, explain_machine

INTERRUPTED = 130

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""What asks a command to stop: Ctrl-C, a batch system, a terminal that closes, and a batch system's early warning."""


class Interrupted(Exception):
    """A run that was asked to stop has stopped; what it says tells how to go on."""


def run_to_exit_code(command: Callable[[], int | None]) -> int:
    """Runs a command; defects propagate.

    Returns:
        What the command returns, 0 for ``None``, or its error's code of :data:`basicsr.utils.arguments.EXIT_CODES`.
    """
    # Wherever nothing else handles the others, they do what Ctrl-C does.
    others = [number for number in STOP_SIGNALS if number != signal.SIGINT]
    with handling(others, signal.default_int_handler), _quiet_threads():
        try:
            # What takes seconds and every command needs is loaded first, and an interrupt meanwhile ends the process at
            # once: nothing has begun that had to be put in order, and an exception would not do, as some libraries
            # swallow one that is raised in the middle of an import, and fail later in ways that have nothing to do with
            # it.
            with handling(STOP_SIGNALS, _end_at_once):
                for name in ("torch", "cv2"):
                    importlib.import_module(name)
            return command() or 0
        except (Interrupted, KeyboardInterrupt) as notice:
            from basicsr.utils.dist_util import is_master

            # Ranks stop together, and one speaks for all. A command that can go on where it was stopped raises
            # KeyboardInterrupt again with a text that says so.
            if isinstance(notice, KeyboardInterrupt) or is_master():
                _say(str(notice) or "Interrupted.")
            return INTERRUPTED
        except UserError as error:
            _say(str(error))
            return error.exit_code
        except OSError as error:
            if (explained := explain_machine(error)) is None:
                raise
            _say(str(explained))
            return explained.exit_code


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keeps threads from showing a traceback of a full disk, which TensorBoard raises again where it is called."""
    former = threading.excepthook

    def show(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError) or explain_machine(args.exc_value) is None:
            former(args)

    threading.excepthook = show
    try:
        yield
    finally:
        threading.excepthook = former


def _say(text: str) -> None:
    """Writes the last line, also where the terminal has gone, as after SIGHUP."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def _end_at_once(number: int, frame: FrameType | None) -> None:
    _say("Interrupted.")
    os._exit(INTERRUPTED)


@contextmanager
def handling(numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Handles signals meanwhile; only the main thread may. One that is ignored, as ``nohup`` has it, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)
