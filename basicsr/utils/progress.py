"""Progress with a remaining time: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from basicsr.utils.dist_util import is_master

T = TypeVar("T")

logger = logging.getLogger("basicsr")


def format_seconds(seconds: float) -> str:
    """Whole seconds as ``1 day, 2:03:04`` or ``0:03:04``."""
    return str(datetime.timedelta(seconds=int(max(0.0, seconds))))


def has_terminal() -> bool:
    """Whether standard error, where bars and log lines go, is a terminal."""
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class Progress:
    """Counts towards a total.

    Args:
        total: Steps to do.
        description: What is done.
        initial: Steps that were done before, e.g. in a run that is resumed.
        unit: Name of a step.
        line_interval: Seconds between lines where there is no terminal; ``None`` writes none.
        enabled: ``False`` shows nothing. Ranks other than 0 never show anything.
    """

    def __init__(
        self,
        total: int,
        description: str,
        initial: int = 0,
        unit: str = "it",
        line_interval: float | None = 30.0,
        enabled: bool = True,
    ) -> None:
        self.total = total
        self.count = self._initial = initial
        self._description = description
        self._interval = line_interval
        self._start = self._last_line = time.monotonic()
        shown = enabled and is_master()
        self._writes_lines = shown and not has_terminal() and line_interval is not None
        self._bar = (
            tqdm(
                total=total,
                initial=initial,
                desc=description,
                unit=unit,
                dynamic_ncols=True,
                file=sys.stderr,
                leave=False,
            )
            if shown and has_terminal()
            else None
        )

    def update(self, note: str | None = None) -> None:
        """One step is done.

        Args:
            note: Shown beside the bar from now on.
        """
        self.count += 1
        if self._bar is not None:
            if note is not None:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
        elif self._writes_lines and self._interval is not None:
            now = time.monotonic()
            if now - self._last_line >= self._interval and self.count < self.total:
                self._last_line = now
                left = format_seconds(self.seconds_left())
                logger.info("%s: %d of %d, %s left", self._description, self.count, self.total, left)

    def note(self, text: str) -> None:
        """Shows a text beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def seconds_left(self) -> float:
        """Remaining time at the mean speed so far."""
        done = self.count - self._initial
        return (time.monotonic() - self._start) / done * (self.total - self.count) if done else 0.0

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def track(items: Iterable[T], total: int, description: str, unit: str = "image", enabled: bool = True) -> Iterator[T]:
    """Yields ``items`` and shows how far it is."""
    with Progress(total, description, unit=unit, enabled=enabled) as progress:
        for item in items:
            yield item
            progress.update()
