"""The launcher (``torchrun``) of this process: which one it is, and an end with it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LAUNCHER_PID = "BASICSR_LAUNCHER_PID"
"""Variable in which :mod:`basicsr.engine.launch` names itself; other launchers are taken to be the parent process."""
POLL_S = 1.0


def is_under_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def identify_launch() -> str:
    """Names the launch that this process belongs to, the same after restarts; an empty text without ``torchrun``.

    Launchers on several machines differ; the name that counts is that of rank 0's.
    """
    if not is_under_torchrun():
        return ""
    pid = _launcher_pid()
    return f"{identify_machine()} {pid} {read_start(str(pid))}"


def identify_machine() -> str:
    """Since when the machine is up, and which of its containers this is: where process ids mean the same."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return socket.gethostname()


def read_start(pid: str) -> str:
    """When a process began, in ticks since the machine is up; empty where the system does not say."""
    return (_read_stat(pid) or [""] * 20)[19]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs. One that has ended keeps its id until its parent asks for the result."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return _read_stat(str(pid))[:1] != ["Z"]


def _read_stat(pid: str) -> list[str]:
    """The fields of Linux' ``/proc/<pid>/stat`` from the state on; none on other systems."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def end_with_launcher() -> None:
    """Has this process end within a second of its launcher, which may be killed before it can stop its processes."""
    parent, launcher = os.getppid(), _launcher_pid()
    threading.Thread(target=_watch, args=(parent, launcher), name="launcher", daemon=True).start()


def _launcher_pid() -> int:
    return int(os.environ.get(LAUNCHER_PID) or os.getppid())


def _watch(parent: int, launcher: int) -> None:
    # The parent may be a shell between this process and the launcher.
    while os.getppid() == parent and is_alive(launcher):
        time.sleep(POLL_S)
    with suppress(OSError):
        sys.stderr.write(f"The launcher (process {launcher}) has ended, and with it this process ({os.getpid()}).\n")
    os._exit(1)
