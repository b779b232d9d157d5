"""Cases in processes that are forked off a warm one: what one breaks reaches no other, and none waits for imports."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from basicsr.utils.arguments import EXIT_CODES

MEMORY = 6 << 30
"""Bytes that a case may take beyond what its parent holds: one that wants more must say so, not harm the machine."""
TRACEBACK = "Traceback (most recent call last)"
DOCUMENTED = {int(word) for word in re.findall(r"^ +(\d+) ", EXIT_CODES, re.MULTILINE)}


@dataclass(frozen=True)
class Case:
    """One thing to try.

    Attributes:
        label: What is tried, with all that it takes to find the case again.
        work: Does it in a process of its own, and returns the exit code.
        kill: Seconds after which the process and its children get a signal, and which; ``None``: they are let be.
    """

    label: str
    work: Callable[[], int]
    kill: tuple[float, signal.Signals] | None = None


@dataclass(frozen=True)
class End:
    """How a case ended.

    Attributes:
        case: The case.
        code: Its exit code; negative: the signal that ended it; ``None``: it did not end in time.
        text: All that it wrote.
    """

    case: Case
    code: int | None
    text: str

    @property
    def fault(self) -> str:
        """Why no user should see this end; empty where it is a result or a message."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        last = lines[-1][:300] if lines else "(nothing written)"
        if self.code is None:
            return f"did not end in time: {last}"
        if TRACEBACK in self.text:
            return f"traceback: {last}"
        if self.code not in DOCUMENTED:
            return f"exit code {self.code}: {last}"
        return "no message" if self.code and not lines else ""


def run_cases(cases: Sequence[Case], folder: Path, timeout: float, at_once: int = 0) -> Iterator[End]:
    """Runs cases, some at once, each in a new folder under ``folder`` that is its working directory.

    Args:
        cases: What to run.
        folder: Where their folders ``0``, ``1``, … and what they write, ``0.txt``, … go.
        timeout: Seconds that one may take.
        at_once: How many run at the same time; 0: as many as there are cores.
    """
    at_once = at_once or len(os.sched_getaffinity(0))
    waiting, running = list(enumerate(cases)), {}
    folder.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        while waiting and len(running) < at_once:
            number, case = waiting.pop(0)
            log = folder / f"{number}.txt"
            running[_fork(case, folder / str(number), log)] = (case, log, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            case, log, _ = running.pop(pid)
            _kill_group(pid, signal.SIGKILL)  # what it may have left behind
            yield End(case, os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))
            continue
        now = time.monotonic()
        for pid, (case, log, begun) in list(running.items()):
            if case.kill is not None and now - begun > case.kill[0]:
                _kill_group(pid, case.kill[1])
                running[pid] = (Case(case.label, case.work), log, begun)
            elif now - begun > timeout:
                _kill_group(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                running.pop(pid)
                yield End(case, None, log.read_text(errors="replace"))
        time.sleep(0.002)


def _fork(case: Case, folder: Path, log: Path) -> int:
    folder.mkdir(exist_ok=True)
    log.touch()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        # Not pytest's own streams, which its parent goes on to use.
        for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND)):
            os.dup2(os.open(os.devnull if number == 0 else log, mode), number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "wr"[not number]) for number in range(3))
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
        os.chdir(folder)
        code = case.work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _kill_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
