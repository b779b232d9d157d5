"""One list of pictures and videos for several GPUs: a process for each, one progress, one list of what went wrong."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from basicsr.upscaling.inputs import Job
from basicsr.upscaling.pipeline import Outcome, Pipeline, area_of, leave_out_existing, show_progress
from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import UserError
from basicsr.utils.progress import Progress

logger = logging.getLogger("basicsr")

STOP_S = 60.0
"""Seconds that processes have to finish the files that they are writing."""


def list_devices(gpus: str) -> list[str]:
    """The devices that ``--gpus`` names: ``all``, or a number of them.

    Raises:
        UserError: If there are not so many.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = there if gpus == "all" else int(gpus)
    if not 0 < number <= there:
        raise UserError(f"--gpus {gpus}: this machine has {there or 'no'} GPU{'s' * (there > 1)} that PyTorch can use")
    return [f"cuda:{index}" for index in range(number)]


def deal(jobs: Sequence[Job], areas: Sequence[int], count: int) -> list[list[Job]]:
    """Divides work into portions that ``count`` processes take one after the other, so that all finish together.

    Each portion is half of an even share of what is left, down to single files (Polychronopoulos and Kuck, "Guided
    Self-Scheduling", IEEE Transactions on Computers C-36, 1987). All processes work on each video.
    """
    videos = [job for job in jobs if job.is_video]
    portions = [[replace(job, share=(index, count))] for job in videos for index in range(count)]
    # Large ones first: the last ones even out what is left.
    pictures = deque(sorted(((a, j) for a, j in zip(areas, jobs) if not j.is_video), key=lambda entry: -entry[0]))
    left = sum(area for area, _ in pictures)
    while pictures:
        goal, taken = left / (2 * count), 0
        portion: list[Job] = []
        while pictures and (not portion or taken + pictures[0][0] <= goal):
            area, job = pictures.popleft()
            portion.append(job)
            taken += area
        portions.append(portion)
        left -= taken
    return portions


class _Wire:
    """What a process says to the one that started it: progress, log lines, and what became of files."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def say(self, kind: str, *content: object) -> None:
        with self._lock:
            self._connection.send((kind, *content))


class _ToldProgress(Progress):
    def __init__(self, total: int, wire: _Wire) -> None:
        super().__init__(total, "", enabled=False)
        self._wire = wire

    def update(self, note: str | None = None, steps: int = 1) -> None:
        self.count += steps
        self._wire.say("steps", note, steps)


class _LogToWire(logging.Handler):
    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._wire.say("log", record.levelno, record.getMessage())


def _work(connection: Connection, make_pipeline: Callable[..., Pipeline], device: str, threads: int) -> None:
    """What a process does: portions of jobs, one after the other, until there are no more."""
    import torch

    # A terminal sends Ctrl-C to all processes; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wire = _Wire(connection)
    logger.handlers[:] = [_LogToWire(wire)]
    logger.propagate = False
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
            pipeline = make_pipeline(device=device)
            pipeline.on_settled = partial(wire.say, "settled")
            wire.say("ready")
            while jobs := connection.recv():
                pipeline.run(jobs, partial(_ToldProgress, wire=wire))
                wire.say("ready")
    except UserError as error:
        wire.say("failed", error)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends


class Team:
    """Processes that share jobs.

    Args:
        make_pipeline: Makes the pipeline of a process, for its ``device``; picklable.
        devices: One for each process.
        skip_existing: Leave out what has a result already.
    """

    def __init__(
        self, make_pipeline: Callable[..., Pipeline], devices: Sequence[str], skip_existing: bool = False
    ) -> None:
        self.make_pipeline, self.devices, self.skip_existing = make_pipeline, devices, skip_existing
        self.outcome = Outcome()
        self._portions: deque[list[Job]] = deque()
        self._at_work: dict[Any, list[Job]] = {}
        self._shares: dict[Job, int] = {}

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Enlarges everything.

        Raises:
            UserError: If a process cannot begin, or the disk is full, or the like.
            KeyboardInterrupt: If it is interrupted; results are whole or absent.
        """
        todo = leave_out_existing(jobs) if self.skip_existing else list(jobs)
        self.outcome.skipped = len(jobs) - len(todo)
        areas = [area_of(job) for job in todo]
        self._portions.extend(deal(todo, areas, len(self.devices)))
        self._shares = {job: len(self.devices) for job in todo if job.is_video}
        context, processes = multiprocessing.get_context("spawn"), {}
        threads = max(1, available_cores() // len(self.devices))
        try:
            for device in self.devices[: len(self._portions)]:
                own, other = context.Pipe()
                arguments = (other, self.make_pipeline, device, threads)
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                other.close()
                processes[own] = process
            with show_progress(max(1, sum(areas))) as progress:
                self._lead(processes, progress)
        finally:
            self._stop(processes)
        for job in (job for portion in self._portions for job in portion):
            self.outcome.note(job, "was not begun: all processes have ended", False)
        return self.outcome

    def _lead(self, processes: Mapping[Any, Any], progress: Progress) -> None:
        """Gives every process work and hears what it says, until all is done."""
        idle: deque[Any] = deque()
        open_ones = set(processes)
        while open_ones:
            for connection in wait(list(open_ones)):
                try:
                    self._hear(connection, progress, idle)
                except (EOFError, OSError):
                    open_ones.discard(connection)
                    with suppress(ValueError):
                        idle.remove(connection)
                    self._note_lost(connection, processes[connection])
            while idle and self._portions:
                connection = idle.popleft()
                self._at_work[connection] = self._portions.popleft()
                with suppress(ConnectionError):
                    connection.send(self._at_work[connection])
            if not self._portions and not any(self._at_work.values()):
                return

    def _hear(self, connection: Any, progress: Progress, idle: deque[Any]) -> None:
        kind, *content = connection.recv()
        if kind == "steps":
            progress.update(content[0], min(content[1], progress.total - progress.count))
        elif kind == "log":
            logger.log(*content)
        elif kind == "settled":
            job, reason, is_written = content
            self._at_work[connection] = [one for one in self._at_work.get(connection, []) if one != job]
            self._settle(job, reason, is_written)
        elif kind == "failed":
            raise content[0]
        else:
            self._at_work[connection] = []
            idle.append(connection)

    def _settle(self, job: Job, reason: str, is_written: bool) -> None:
        """Notes what became of a file; when all shares of a video are made, they are to be joined."""
        if job.share[1] > 1:
            whole = replace(job, share=(0, 1))
            self._shares[whole] -= 1
            if not self._shares[whole]:
                self._portions.append([whole])
        else:
            self.outcome.note(job, reason, is_written)

    def _note_lost(self, connection: Any, process: Any) -> None:
        process.join(STOP_S)
        jobs = self._at_work.pop(connection, [])
        if not jobs:
            logger.error("a process ended (code %s); the others do its work", process.exitcode)
        for job in jobs:
            reason = f"its process ended (code {process.exitcode}) while it was enlarged"
            logger.error("%s: %s", job.name, reason)
            self._settle(job, reason, False)

    def _stop(self, processes: Mapping[Any, Any]) -> None:
        """Ends the processes, which finish the files that they are writing."""
        for connection, process in processes.items():
            with suppress(OSError):
                connection.send([])
            if any(self._at_work.values()):
                process.terminate()
        open_ones: list[Any] = list(processes)
        while open_ones and (found := cast(list[Any], wait(open_ones, STOP_S))):
            for one in found:
                try:
                    kind, *content = one.recv()
                    if kind == "settled":
                        self._settle(*content)
                except Exception:  # it has ended, perhaps in the middle of a word
                    open_ones.remove(one)
        for process in processes.values():
            process.join(0 if open_ones else STOP_S)
            if process.is_alive():
                process.kill()
