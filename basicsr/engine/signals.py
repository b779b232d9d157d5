"""Requests to stop a run: a Ctrl-C or signal of its kind ends it after the iteration, a later one at once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from basicsr.engine.exits import STOP_SIGNALS, handling
from basicsr.utils.batch import start_copy_to_host
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.logger import get_root_logger
from basicsr.utils.stopping import ask_to_stop, forget_request

MOMENT = 2.0
"""Seconds within which signals are one request: a batch system sends them to a launcher and to its processes, to which
the launcher passes its own on."""


class StopRequest:
    """Catches the signals while it is entered.

    Attributes:
        signal_name: Name of the first signal; empty as long as this process was not asked to stop.
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._handling = ExitStack()
        self._process = os.getpid()
        self._one_until = 0.0
        self._asked: tuple[torch.Tensor, torch.cuda.Event | None] | None = None

    def __enter__(self) -> StopRequest:
        forget_request()
        self._handling.callback(forget_request)
        self._handling.enter_context(handling(STOP_SIGNALS, self._handle))
        return self

    def __exit__(self, *_: object) -> None:
        self._handling.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loading process that was forked: it goes on until this one has saved
        if time.monotonic() < self._one_until:
            return
        if self.signal_name:
            raise KeyboardInterrupt
        self._one_until = time.monotonic() + MOMENT
        self.signal_name = signal.Signals(number).name
        # Loading processes may have been hit by the same signal; that must not break the iteration in hand.
        self._handling.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, _ignore))
        get_root_logger().warning("%s: stopping, with a checkpoint; press again to abort.", self.signal_name)
        # What comes meanwhile is handled now: later, a long native call could hold it up until it seems to be another.
        time.sleep(MOMENT / 2)
        ask_to_stop()

    def agreed(self, device: torch.device) -> bool:
        """Whether all ranks stop now, as any of them was asked to; to be called once an iteration by all.

        On GPUs the answer is that of the call before, so that the host waits for no iteration but the last one.
        """
        if get_dist_info()[1] == 1:
            return bool(self.signal_name)
        flag = torch.full((), int(bool(self.signal_name)), device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        former, self._asked = self._asked, start_copy_to_host(flag)
        if device.type != "cuda":
            return bool(flag)
        if former is None or former[1] is None:
            return False
        former[1].synchronize()
        return bool(former[0])


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler that lets system calls return; ``SIG_IGN`` would also keep exit states from being collected."""


def shield_workers(loader: DataLoader[Any]) -> None:
    """Lets a loader's processes outlive the signals, which terminals and launchers send to whole groups of processes.

    They end when the loader does, with this process, or when they find it gone.
    """
    loader.worker_init_fn = partial(_begin_worker, then=loader.worker_init_fn, ending=_ending())


@cache
def _ending() -> Event:
    """Set when this process ends, before ``multiprocessing`` tells what is left of its children to do so."""
    event = multiprocessing.Event()
    atexit.register(event.set)
    return event


def _begin_worker(worker_id: int, then: Callable[[int], None] | None, ending: Event) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, partial(_end_with_parent, ending))
    if then is not None:
        then(worker_id)


def _end_with_parent(ending: Event, number: int, frame: FrameType | None) -> None:
    if ending.is_set():
        os._exit(0)
