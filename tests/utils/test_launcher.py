"""Processes know which launch they belong to, and end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from tiny_run import environment

from basicsr.utils.launcher import LAUNCHER_PID, end_with_launcher, identify_launch, is_alive

WORKER = f"import time; from {end_with_launcher.__module__} import *; end_with_launcher(); time.sleep(60)"


def test_a_process_that_has_ended_is_not_alive_although_nobody_has_asked_for_its_result() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
        process.kill()
        deadline = time.monotonic() + 20
        while is_alive(process.pid):
            assert time.monotonic() < deadline
        os.kill(process.pid, 0)  # the id is still taken
    assert not is_alive(process.pid)


def test_a_process_ends_with_its_launcher_although_a_wrapper_stands_between_them() -> None:
    with subprocess.Popen(["sleep", "60"]) as launcher:
        variables = {**environment(), LAUNCHER_PID: str(launcher.pid)}
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=variables, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=1)
        launcher.kill()
        _, errors = worker.communicate(timeout=20)
    assert worker.returncode == 1
    assert errors.startswith(f"The launcher (process {launcher.pid}) has ended")


def test_a_launch_is_told_by_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", LAUNCHER_PID):
        monkeypatch.delenv(name, raising=False)
    assert identify_launch() == ""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    launched_by_parent = identify_launch()
    monkeypatch.setenv(LAUNCHER_PID, str(os.getppid()))
    assert identify_launch() == launched_by_parent
    monkeypatch.setenv(LAUNCHER_PID, str(os.getpid()))
    assert identify_launch() != launched_by_parent
