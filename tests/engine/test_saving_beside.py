"""The loop goes on while a checkpoint is written: one at a time, with its errors, and waited for where a run ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import make_run

from basicsr.engine import signals
from basicsr.engine.exits import run_to_exit_code
from basicsr.engine.trainer import TrainingRun, train
from basicsr.models import checkpoint
from basicsr.models.checkpoint import find_latest_checkpoint, load_checkpoint
from basicsr.utils.errors import DataError, TrainingError


@pytest.fixture
def hold_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the file of an iteration written only once a condition holds."""
    write = checkpoint.atomic_save

    def hold(iteration: int, until: threading.Event) -> None:
        def held(obj: object, path: Path, *rest: Any) -> None:
            if path.stem == str(iteration):
                assert until.wait(20)
            write(obj, path, *rest)

        monkeypatch.setattr(checkpoint, "atomic_save", held)

    return hold


def act(run: TrainingRun, iteration: int, action: Callable[[], object]) -> None:
    """Does something in an iteration, before its step."""
    step = run.model.optimize_parameters

    def acting(current_iter: int) -> None:
        if current_iter == iteration:
            action()
        step(current_iter)

    run.model.optimize_parameters = acting


def test_iterations_pass_while_a_checkpoint_is_written_and_it_is_that_of_its_own(
    tmp_path: Path, hold_writes: Callable[..., None]
) -> None:
    whole = make_run(tmp_path / "whole")
    train(whole)
    run, passed, saved = make_run(tmp_path), threading.Event(), []
    hold_writes(4, passed)
    act(run, 7, lambda: (saved.append(run.saved_at), passed.set()))
    train(run)
    assert saved == [0] and run.saved_at == 10
    states = tmp_path / "experiments/run/training_states"
    resumed = make_run(tmp_path)
    stored = load_checkpoint(states / "4.state")
    resumed.model.load_training_state(stored.model)
    resumed.position = stored.position
    train(resumed)
    assert resumed.model.bits() == whole.model.bits()


def test_a_second_save_waits_for_the_first(tmp_path: Path, hold_writes: Callable[..., None]) -> None:
    run, passed = make_run(tmp_path), threading.Event()
    hold_writes(4, passed)
    act(run, 8, lambda: threading.Timer(0.2, passed.set).start())
    train(run)
    assert run.model.exported == [4, 8]
    assert len(list((tmp_path / "experiments/run/training_states").iterdir())) == 3


def test_an_error_of_the_writer_ends_the_run_with_code_4_and_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace, run = os.replace, make_run(tmp_path)

    def refuse(source: Any, target: Any) -> None:
        if Path(target).name == "8.state":
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(checkpoint.time, "sleep", lambda _: None)
    monkeypatch.setattr(os, "replace", refuse)
    assert run_to_exit_code(lambda: train(run)) == 4
    assert "8.state, even after three attempts: " in capsys.readouterr().err
    found = find_latest_checkpoint(tmp_path / "experiments/run/training_states")
    assert found is not None and found.position.iteration == run.saved_at == 4


@pytest.mark.parametrize("error", [DataError("no images"), TrainingError("a loss"), ZeroDivisionError("a defect")])
def test_a_run_that_ends_in_an_error_leaves_whole_what_it_was_writing(
    error: Exception, tmp_path: Path, hold_writes: Callable[..., None]
) -> None:
    run, passed = make_run(tmp_path), threading.Event()
    hold_writes(4, passed)

    def fail() -> None:
        threading.Timer(0.2, passed.set).start()
        raise error

    act(run, 6, fail)
    with pytest.raises(type(error), match=str(error)):
        train(run)
    assert run.saved_at == 4 and not run.writer.is_busy
    assert load_checkpoint(tmp_path / "experiments/run/training_states/4.state").position.iteration == 4


@pytest.mark.parametrize(("again", "code", "saved_at"), [(False, 130, 5), (True, 143, 4)])
def test_a_run_that_is_stopped_waits_for_what_it_was_writing(
    again: bool,
    code: int,
    saved_at: int,
    tmp_path: Path,
    hold_writes: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "MOMENT", 0.0)
    run, passed = make_run(tmp_path), threading.Event()
    hold_writes(4, passed)

    def stop() -> None:
        threading.Timer(0.2, passed.set).start()
        os.kill(os.getpid(), signal.SIGTERM)
        if again:
            os.kill(os.getpid(), signal.SIGTERM)

    act(run, 6 if again else 5, stop)
    assert run_to_exit_code(lambda: train(run)) == code
    assert run.saved_at == saved_at
    assert find_latest_checkpoint(tmp_path / "experiments/run/training_states").position.iteration == saved_at
