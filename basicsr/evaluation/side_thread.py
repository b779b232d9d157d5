"""A thread beside the generator: what is done with finished images, such as writing them, waits in a short queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

MAX_WAITING = 4
"""Images that wait for the thread at most."""

MAX_BYTES = 2**26
"""Bytes of pictures that wait for it; a larger one is waited for, so that there is never a second beside it."""


class SideThread(AbstractContextManager["SideThread"]):
    """Runs work one after the other; all of it is done when the block ends.

    An error of the work is raised where the next work is handed over, or at the block's end. If the block ends by an
    exception, work that has not begun is dropped, and what has begun is ended.

    Args:
        is_idle: Do each work where it is handed over: where all cores compute, one more thread holds them all up.
    """

    def __init__(self, is_idle: bool = False) -> None:
        self.is_idle = is_idle
        self._pool = ThreadPoolExecutor(1, "images")
        self._waiting: deque[tuple[Future[Any], int]] = deque()

    def submit(self, size: int, work: Callable[[], T]) -> Future[T]:
        """Hands over work that holds a picture of so many bytes; waits while there is no room."""
        if self.is_idle:
            done: Future[T] = Future()
            done.set_result(work())
            return done
        while self._waiting and (self._waiting[0][0].done() or not self._has_room(size)):
            self._end_oldest()
        future = self._pool.submit(work)
        self._waiting.append((future, size))
        if size > MAX_BYTES:
            self._end_oldest()
        return future

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < MAX_WAITING and size + sum(held for _, held in self._waiting) <= MAX_BYTES

    def _end_oldest(self) -> None:
        self._waiting[0][0].result()
        self._waiting.popleft()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while kind is None and self._waiting:
                self._end_oldest()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
