"""Requests to stop: signals of a moment are one, validations are left, and codes say whether all was saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_fakes import make_run
from tiny_run import environment

from basicsr.engine import signals
from basicsr.engine.exits import ABORTED, Aborted, Interrupted, run_to_exit_code
from basicsr.engine.launch import describe_stop
from basicsr.engine.trainer import TrainingRun, train
from basicsr.models.checkpoint import list_checkpoints
from basicsr.utils import stopping
from basicsr.utils.errors import TrainingError
from basicsr.utils.stopping import StopNow, ask_to_stop, forget_request, interruptible_together


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def act_in_iteration(run: TrainingRun, iteration: int, action: Callable[[], None]) -> None:
    step = run.model.optimize_parameters

    def acting(current_iter: int) -> None:
        if current_iter == iteration:
            action()
        step(current_iter)

    run.model.optimize_parameters = acting


def test_signals_within_a_moment_are_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        send(signal.SIGTERM, signal.SIGINT)

    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
    run = make_run(tmp_path)
    act_in_iteration(run, 6, lambda: send(signal.SIGTERM, signal.SIGTERM))
    assert run_to_exit_code(lambda: train(run)) == 130
    assert run.saved_at == 6 and len(sleeps) == 1


@pytest.mark.parametrize(("iteration", "code"), [(1, ABORTED), (5, 130), (7, ABORTED)])
def test_a_later_signal_ends_at_once_with_130_only_if_a_checkpoint_has_it_all(
    iteration: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals, "MOMENT", 0.0)
    run = make_run(tmp_path)
    act_in_iteration(run, iteration, lambda: send(signal.SIGTERM, signal.SIGTERM))
    assert run_to_exit_code(lambda: train(run)) == code
    assert len(list_checkpoints(tmp_path / "experiments/run/training_states")) == (iteration > 4)
    said = capsys.readouterr().err.splitlines()[-1]
    kept = "the latest checkpoint is that of iteration 4" if iteration > 4 else "there is no checkpoint yet"
    assert said == ("Interrupted." if code == 130 else f"Aborted within iteration {iteration}: {kept}.")


def test_a_process_leaves_its_share_when_another_was_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "gather_objects", lambda own: [own, True])
    done = []
    with pytest.raises(StopNow), interruptible_together():
        done.append("all of it")
    assert done == ["all of it"]


def test_a_request_is_heard_before_within_and_not_after_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[bool] = []
    monkeypatch.setattr(stopping, "gather_objects", lambda own: gathered.append(own) or [own])
    try:
        with pytest.raises(StopNow), interruptible_together():
            ask_to_stop()
            raise AssertionError("not reached")
        with pytest.raises(StopNow), interruptible_together():
            raise AssertionError("not reached")
        ask_to_stop()
    finally:
        forget_request()
    assert gathered == [True, True]


def fail_while_closing(error: BaseException) -> None:
    try:
        raise error
    finally:
        send(signal.SIGTERM)
        time.sleep(5)


@pytest.mark.parametrize(("error", "code"), [(Interrupted("Stopped."), 130), (TrainingError("The disk is full."), 4)])
def test_a_signal_while_a_run_is_closed_changes_neither_message_nor_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_to_exit_code(lambda: fail_while_closing(error)) == code
    assert capsys.readouterr().err == f"{error}\n"


def test_an_abort_is_a_keyboard_interrupt_to_callers() -> None:
    assert issubclass(Aborted, KeyboardInterrupt)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 130),
        ([0, 0], 0),
        ([130, 130], 130),
        ([0, 130], 130),
        ([130, -signal.SIGTERM], 130),
        ([130, -signal.SIGKILL], ABORTED),
        ([-signal.SIGTERM, -signal.SIGTERM], ABORTED),
        ([ABORTED, 1], ABORTED),
        ([4, 1], 4),
    ],
)
def test_the_launcher_says_130_only_where_all_processes_do(codes: list[int], expected: int) -> None:
    code, text = describe_stop(codes, 600)
    assert code == expected
    assert bool(text) == (code not in (0, 130))


STOPPING = """import os, signal, sys, time
def stop(*_):
    signal.signal(signal.SIGTERM, lambda *_: open(f"{folder}/again{os.environ['RANK']}", "w").close())
    open(f"{folder}/told{os.environ['RANK']}", "a").write("x")
    time.sleep(needed)
    os._exit(130)
folder, needed = sys.argv[1], float(sys.argv[2])
signal.signal(signal.SIGTERM, stop)
open(f"{folder}/ready{os.environ['RANK']}", "w").close()
time.sleep(60)
"""


@pytest.mark.distributed
@pytest.mark.parametrize(("needed", "timeout", "code"), [(3.0, 60, 130), (60.0, 5, ABORTED)])
def test_a_run_has_stop_timeout_to_write_its_checkpoint(needed: float, timeout: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(STOPPING)
    flags = ["--standalone", "--nproc_per_node=2", "--max_restarts=1", f"--stop_timeout={timeout}"]
    command = [sys.executable, "-m", "basicsr.engine.launch", *flags, str(tmp_path / "rank.py"), str(tmp_path)]
    process: subprocess.Popen[Any] = subprocess.Popen(
        [*command, str(needed)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    for name in ("ready", "told"):
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob(f"{name}*"))) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.terminate()
    while process.poll() is None:  # it waits on, tells the processes of these too, and ends in its own time
        process.terminate()
        time.sleep(0.02)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert len(list(tmp_path.glob("again*"))) == 2
    assert "Traceback" not in errors
    assert ("--stop_timeout" in errors) == (code == ABORTED)
