"""How a command ends: one message instead of a traceback for what a user can mend, and an exit code that says why."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from basicsr.utils.dist_util import is_master
from basicsr.utils.errors import UserError

INTERRUPTED = 130
EXIT_CODES = """exit codes:
  0    done
  1    an error that the message explains, or a defect (with a traceback)
  2    wrong options or command line
  3    data or weights missing, unreadable or unfit
  4    training cannot go on (non-finite losses, memory or disk full)
  130  interrupted (Ctrl-C or SIGTERM); training has saved a checkpoint"""


class Interrupted(Exception):
    """A run that was asked to stop has stopped; what it says tells how to go on."""


def run_to_exit_code(command: Callable[[], None]) -> int:
    """Runs a command and returns its exit code; see :data:`EXIT_CODES`. Defects propagate."""
    with _terminated_like_interrupted():
        try:
            command()
        except UserError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        except Interrupted as notice:
            if is_master():
                sys.stderr.write(f"{notice}\n")
            return INTERRUPTED
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted.\n")
            return INTERRUPTED
    return 0


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Lets SIGTERM do what Ctrl-C does, wherever nothing else handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
