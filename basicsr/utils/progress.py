"""Progress with a remaining time: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from basicsr.utils.dist_util import is_master

logger = logging.getLogger("basicsr")


def format_seconds(seconds: float) -> str:
    """Whole seconds as ``1 day, 2:03:04`` or ``0:03:04``."""
    return str(datetime.timedelta(seconds=int(max(0.0, seconds))))


class _Bar(tqdm):
    """A bar whose format may hold ``{left}``, the remaining time as somebody else tells it."""

    left: Callable[[], float] | None = None

    @property
    def format_dict(self) -> dict[str, Any]:
        left = "?" if self.left is None else format_seconds(self.left())
        return {**super().format_dict, "left": left}


@dataclass
class Progress(AbstractContextManager["Progress"]):
    """Counts towards a total.

    Attributes:
        total: Steps to do.
        description: What is done.
        initial: Steps that were done before, e.g. in a run that is resumed.
        unit: Name of a step.
        line_interval: Seconds between lines where there is no terminal; ``None`` writes none.
        enabled: ``False`` shows nothing. Ranks other than 0 never show anything.
        in_percent: Show the share that is done, not steps, which say nothing to anyone.
        left: Gives the remaining seconds; ``None``: they are told by the speed so far.
    """

    total: int
    description: str
    initial: int = 0
    unit: str = "it"
    line_interval: float | None = 30.0
    enabled: bool = True
    in_percent: bool = False
    left: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        self.count = self.initial
        self._start = self._last_line = time.monotonic()
        is_shown = self.enabled and is_master()
        # Bars and log lines both go to standard error, in whose place tests and notebooks may have put something else.
        has_terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
        self._interval = self.line_interval if is_shown and not has_terminal else None
        bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}" if self.in_percent else None
        if self.left is not None:
            bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{left}, {rate_fmt}{postfix}]"
        self._bar = _Bar(
            total=self.total,
            initial=self.initial,
            desc=self.description,
            unit=self.unit,
            dynamic_ncols=True,
            leave=False,
            bar_format=bar_format,
            # The rate of all that is done: steps differ in what they cost.
            smoothing=0 if self.in_percent else 0.3,
            disable=not is_shown or not has_terminal,
        )
        self._bar.left = self.left

    def update(self, note: str | None = None, steps: int = 1) -> None:
        """Steps are done.

        Args:
            note: Shown beside the bar from now on.
            steps: How many.
        """
        self.count += steps
        if note is not None:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(steps)
        now = time.monotonic()
        is_due = self._interval is not None and now - self._last_line >= self._interval
        if is_due and self.initial < self.count < self.total:
            self._last_line = now
            left = (now - self._start) / (self.count - self.initial) * (self.total - self.count)
            left = left if self.left is None else self.left()
            share = f"{self.count / self.total:.0%}" if self.in_percent else f"{self.count} of {self.total}"
            logger.info("%s: %s, %s left", self.description, share, format_seconds(left))

    def note(self, text: str) -> None:
        """Shows a text beside the bar."""
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.close()

    def __exit__(self, *_: object) -> None:
        self.close()
