"""Work that a request to stop cuts short: where it is marked, and where the request is noted.

One process leaves such work at any point. Several leave their shares of it together, so that none waits for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from basicsr.utils.dist_util import gather_objects


class StopNow(Exception):
    """Raised where a run that was asked to stop has nothing begun: all that is done can be saved."""


class _Request:
    is_made = False
    may_interrupt = False


_request = _Request()


def ask_to_stop() -> None:
    """Notes the request, for a signal's handler; raises :class:`StopNow` where the work in hand can be left."""
    _request.is_made = True
    if _request.may_interrupt:
        raise StopNow


def forget_request() -> None:
    """Takes the request back: it is dealt with, or another run begins."""
    _request.is_made = _request.may_interrupt = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Marks work that changes nothing and that this process can leave at any point, by :class:`StopNow`.

    No other process may wait for it meanwhile.
    """
    former = _request.may_interrupt
    try:
        # In this order: a request comes before the first line, or is heard from the second on.
        _request.may_interrupt = True
        if _request.is_made:
            raise StopNow
        yield
    finally:
        _request.may_interrupt = former


@contextmanager
def interruptible_together() -> Iterator[None]:
    """Marks this rank's share of such work, which has no collective operation in it; all ranks must enter it.

    If any of them was asked to stop, :class:`StopNow` is raised on all of them once each has left its share.
    """
    is_stopped = False
    try:
        with interruptible():
            yield
    except StopNow:
        is_stopped = True
    if any(gather_objects(is_stopped)):
        raise StopNow
