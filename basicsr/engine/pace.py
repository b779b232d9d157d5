"""Where a run's time goes: what is left of it, and what the run waits for, known without waiting for the device."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

WORTH_NAMING = 0.15
"""Smallest share of the time that is named."""

MIN_WINDOW = 100
WINDOW_SHARE = 0.02
"""Speed is that of the latest iterations: so many, or this share of the whole run if that is more."""

EVENTS_KEPT = 5


class DeviceQueue:
    """Tells whether a GPU has done all that it was asked for, by an event that is never waited for.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event = torch.cuda.Event()

    def mark(self) -> None:
        """Puts a mark behind all that has been asked for."""
        self._event.record(torch.cuda.current_stream(self._device))

    def is_empty(self) -> bool:
        """Whether the device has come past the mark, and so has nothing to do."""
        return bool(self._event.query())


class _Totals(NamedTuple):
    """Seconds since the run began, without validation and saving, and the parts of it that are known by name."""

    all: float = 0.0
    waiting: float = 0.0  # for batches
    data: float = 0.0  # the same, but only while a GPU had nothing else to do
    device: float = 0.0

    def plus(self, seconds: float, waiting: float, is_device_busy: bool) -> _Totals:
        """The totals after another iteration."""
        data, device = (0.0, seconds) if is_device_busy else (waiting, 0.0)
        return _Totals(self.all + seconds, self.waiting + waiting, self.data + data, self.device + device)


@dataclass
class Pace:
    """Times a loop of iterations with rarer events between them, such as validations.

    One iteration is :meth:`wait`, :meth:`has_batch`, :meth:`step_done` and whatever comes before the next :meth:`wait`.

    Attributes:
        total: Iterations of the whole run.
        done: Iterations that are done, those of earlier processes included.
        every: Number of iterations between two events, by name. The last iteration has one of each too.
        queue: What the device has to do; ``None`` where computing is done by the host itself.
        clock: Seconds, from any zero.
    """

    total: int
    done: int
    every: Mapping[str, int]
    queue: DeviceQueue | None = None
    clock: Callable[[], float] = time.perf_counter
    _events: dict[str, deque[float]] = field(default_factory=dict, init=False)
    _event_counts: Counter[str] = field(default_factory=Counter, init=False)
    _last_event: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._totals = deque([_Totals()], maxlen=1 + max(MIN_WINDOW, int(WINDOW_SHARE * self.total)))
        self._count = 0
        self._apart = self._waiting = 0.0
        self._is_device_busy = False
        self._ended = self._asked = self.clock()

    def wait(self) -> None:
        """The loop asks for a batch."""
        self._asked = self.clock()

    def has_batch(self) -> None:
        """The batch has come."""
        self._waiting = self.clock() - self._asked
        # A device that still computes does not wait for this batch, nor for the host.
        self._is_device_busy = self.queue is not None and self._count > 0 and not self.queue.is_empty()

    def step_done(self) -> None:
        """The step is taken; a device may still be computing it."""
        if self.queue is not None:
            self.queue.mark()
        now = self.clock()
        seconds = now - self._ended - self._apart
        self._totals.append(self._totals[-1].plus(seconds, self._waiting, self._is_device_busy))
        self._ended, self._apart = now, 0.0
        self._count += 1
        self.done += 1

    @contextmanager
    def measure(self, event: str) -> Iterator[None]:
        """Times an event; it is no part of an iteration."""
        began = self.clock()
        yield
        seconds = self.clock() - began
        self._apart += seconds
        known = self._events.setdefault(event, deque(maxlen=EVENTS_KEPT))
        # What only the first one costs (imports, choice of algorithms) is forgotten with the second.
        if self._event_counts[event] == 1:
            known.clear()
        known.append(seconds)
        self._event_counts[event] += 1
        self._last_event[event] = self.done

    def times(self) -> tuple[float, float]:
        """Mean seconds of an iteration, and of them those in which the host waited for its batch."""
        mean = self._mean()
        return mean.all, mean.waiting

    def left(self) -> float:
        """Seconds until the end of the run, remaining events included once one of their kind has been measured."""
        seconds = self._mean().all * (self.total - self.done)
        for event in self._events:
            if self._last_event[event] == self.total:
                continue
            # The event of this iteration may be still to come.
            past = self.done if self._last_event[event] == self.done else self.done - 1
            frequency = self.every[event]
            seconds += self._cost(event) * (-(-self.total // frequency) - past // frequency)
        return seconds

    def shares(self) -> dict[str, float]:
        """Shares of the time in which the run waits for each of its causes, largest first; empty before an iteration.

        ``data``: for batches. ``device``: the device computes. ``host``: the device has nothing to do, as the host has
        not yet asked. ``computation``: the latter two where the host itself computes. Then the events by their names.
        """
        mean = self._mean()
        rest = mean.all - mean.data - mean.device
        seconds = {"data": mean.data, "computation": rest}
        if self.queue is not None:
            seconds = {"data": mean.data, "host": rest, "device": mean.device}
        seconds |= {event: self._cost(event) / self.every[event] for event in self._events}
        whole = sum(seconds.values())
        ordered = sorted(seconds, key=lambda cause: -seconds[cause])
        return {cause: seconds[cause] / whole for cause in ordered} if whole > 0 else {}

    def is_known(self, cause: str) -> bool:
        """Whether a share is based on more than beginnings: ten iterations, or two events."""
        return self._event_counts[cause] > 1 if cause in self.every else self._count >= 10

    def _mean(self) -> _Totals:
        """Means of an iteration, over the latest. The first half of few is left out: a run is slow to begin."""
        count = min(max(1, self._count // 2), self._count, len(self._totals) - 1)
        if count == 0:
            return _Totals()
        earlier, latest = self._totals[-1 - count], self._totals[-1]
        return _Totals(*((b - a) / count for a, b in zip(earlier, latest, strict=True)))

    def _cost(self, event: str) -> float:
        return sum(self._events[event]) / len(self._events[event])


def describe_shares(shares: Mapping[str, float]) -> str:
    """The shares that are worth it, as ``data 62%, computation 35%``."""
    return ", ".join(f"{cause} {share:.0%}" for cause, share in shares.items() if share >= WORTH_NAMING)
