"""Exit codes of commands, and one message instead of a traceback for what a user can fix.

This module imports nothing that takes time. Entry points import it and their flags alone, and the rest inside of what
:func:`run_to_exit_code` runs, so that Ctrl-C ends them in the same way during the seconds in which torch is loaded.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from basicsr.utils.errors import REPEAT, TrainingError, UserError, explain_machine, first_line, is_out_of_memory

INTERRUPTED = 130
"""Stopped, and all that was trained is in a checkpoint."""

ABORTED = 143
"""Ended by a signal before that."""

LOST = 1
"""As of a defect: of the processes of a run it is the other one whose code counts."""

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""What asks a command to stop: Ctrl-C, a batch system, a terminal that closes, and a batch system's early warning."""


class Interrupted(Exception):
    """A run that was asked to stop has stopped; what it says tells how to go on."""


class Aborted(KeyboardInterrupt):
    """A run was ended by a signal, and what it has done since the latest checkpoint is lost."""

    exit_code = ABORTED


def run_to_exit_code(command: Callable[[], int | None], again: str = REPEAT) -> int:
    """Runs a command; defects propagate.

    Args:
        command: What to run.
        again: What a user does to go on, once a full disk or the like that ended it has been dealt with.

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
            code = command() or 0
        except (Exception, KeyboardInterrupt) as error:
            # A launcher stops all processes when one has failed; this one is about to say why it ends by itself. That
            # loading processes end is nothing new either.
            with handling((*STOP_SIGNALS, signal.SIGCHLD), _pass_over):
                ended = _end(error, again)
            if ended is None:
                raise
            code = ended
    if code and "TORCHELASTIC_RUN_ID" in os.environ:
        # A launcher that stops all processes must not change the code that it goes by.
        ignore_signals()
    return code


def ignore_signals() -> None:
    """Ignores the signals that stop a process until its end, so that its exit code stays what it is."""
    handle(STOP_SIGNALS, signal.SIG_IGN)


def _end(error: BaseException, again: str) -> int | None:
    """Says in a line or more why a command ends, once for all processes; returns its code, ``None`` for a defect."""
    from basicsr.engine.peers import PeerLost, await_launcher, describe_lost_peer, speaks_for_all
    from basicsr.utils.dist_util import is_master

    code: int | None
    # A signal that comes while a run is closed is no reason of its own.
    former, is_told = error.__context__, isinstance(error, (KeyboardInterrupt, PeerLost))
    if isinstance(error, KeyboardInterrupt) and isinstance(former, (Interrupted, UserError, RuntimeError)):
        error = former if describe_lost_peer(former) or not isinstance(former, RuntimeError) else error
    if (lost := describe_lost_peer(error)) is not None:
        _say(lost)
        if not is_told:
            with handling(STOP_SIGNALS, signal.default_int_handler):
                await_launcher()
        return LOST
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        code, text = getattr(error, "exit_code", INTERRUPTED), str(error) or "Interrupted."
        # Ranks stop together, and one speaks for all.
        is_said = is_master() if isinstance(error, Interrupted) else speaks_for_all(text)
    elif (explained := _explain(error, again)) is not None:
        code, text = explained.exit_code, str(explained)
        is_said = speaks_for_all(text)
    else:
        return None
    if is_said:
        _say(text)
    return code


def _explain(error: BaseException, again: str) -> UserError | None:
    """The error in words, if it is one that a user can do something about."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and (explained := explain_machine(error, again)) is not None:
        return explained
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UserError(f"{error.filename}: {error.strerror}; no file or folder can have this name")
    if is_out_of_memory(error):
        return TrainingError(f"out of memory ({first_line(error)}): use smaller batches, images, tiles or networks")
    # Its end is reported wherever the main process is at that moment.
    loader = sys.modules.get("basicsr.data.loader")
    return loader.explain_dead_worker(error) if loader is not None else None


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


def _pass_over(number: int, frame: FrameType | None) -> None: ...


def _end_at_once(number: int, frame: FrameType | None) -> None:
    if os.environ.get("RANK", "0") == "0":
        _say("Interrupted.")
    os._exit(INTERRUPTED)


Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


def handle(numbers: Iterable[signal.Signals], handler: Handler) -> dict[signal.Signals, Any]:
    """Handles signals from now on; only the main thread may. One that is ignored, as ``nohup`` has it, stays ignored.

    Returns:
        What has handled each of them.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


@contextmanager
def handling(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Handles signals meanwhile, as :func:`handle` does."""
    former = handle(numbers, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)
