"""The loop: order of calls, what happens when, stopping, and resumed runs that end in the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_fakes import TinyModel, make_batches, make_run

from basicsr.engine import signals
from basicsr.engine.exits import STOP_SIGNALS, Interrupted, run_to_exit_code
from basicsr.engine.signals import shield_workers
from basicsr.engine.trainer import TrainingRun, train
from basicsr.models.checkpoint import Position, load_checkpoint
from basicsr.utils.errors import DataError, TrainingError


@pytest.fixture(autouse=True)
def _no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "MOMENT", 0.0)


def go_on(run: TrainingRun, root: Path, iteration: int) -> TrainingRun:
    """A fresh process's run from a checkpoint."""
    stored = load_checkpoint(root / f"experiments/run/training_states/{iteration}.state")
    resumed = make_run(root, val_freq=run.val.val_freq)
    resumed.model.load_training_state(stored.model)
    resumed.position = stored.position
    return resumed


def test_every_iteration_calls_the_model_in_order(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    train(run)
    assert run.model.calls == ["begin", "feed", "optimize", "rate"] * 10
    assert run.model.seen == list(range(1, 11))
    assert run.model.exported == [4, 8]
    assert sorted(path.name for path in (tmp_path / "experiments/run/training_states").iterdir()) == [
        "10.state",
        "4.state",
        "8.state",
    ]


def test_validation_happens_on_time_but_not_at_the_end(tmp_path: Path) -> None:
    run = make_run(tmp_path, val_freq=5)
    train(run)
    assert run.model.validated == [5]


@pytest.mark.parametrize("iteration", [4, 8])
def test_a_resumed_run_ends_in_the_same_bits(iteration: int, tmp_path: Path) -> None:
    whole = make_run(tmp_path)
    train(whole)
    resumed = go_on(whole, tmp_path, iteration)
    assert resumed.position == Position(iteration, epoch=(iteration - 1) // 3, start=((iteration - 1) % 3 + 1) * 3)
    train(resumed)
    assert resumed.model.seen == list(range(iteration + 1, 11))
    assert resumed.model.bits() == whole.model.bits()


def test_a_checkpoint_that_was_due_for_validation_is_validated_when_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path, val_freq=4)
    train(run)
    resumed = go_on(run, tmp_path, 4)
    train(resumed)
    assert resumed.model.validated == [4, 8]


def test_a_finished_run_is_not_touched(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.position = Position(10)
    train(run)
    assert run.model.calls == []


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_the_iteration_saves_and_stops(number: signal.Signals, tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole")
    train(whole)
    run = make_run(tmp_path)
    step = run.model.optimize_parameters

    def signalled(current_iter: int) -> None:
        if current_iter == 6:
            os.kill(os.getpid(), number)
        step(current_iter)

    run.model.optimize_parameters = signalled
    handlers = [signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)]
    with pytest.raises(Interrupted, match=rf"{number.name} after iteration 6 of 10.*--auto_resume"):
        train(run)
    assert [signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)] == handlers
    assert run.model.seen[-1] == 6
    assert run.model.exported == [4]
    resumed = go_on(run, tmp_path, 6)
    train(resumed)
    assert resumed.model.bits() == whole.model.bits()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_is_ignored_at_the_start_stays_ignored(number: signal.Signals, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    step = run.model.optimize_parameters

    def signalled(current_iter: int) -> None:
        os.kill(os.getpid(), number)
        step(current_iter)

    run.model.optimize_parameters = signalled
    former = signal.signal(number, signal.SIG_IGN)
    try:
        assert run_to_exit_code(lambda: train(run)) == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, former)
    assert run.model.seen[-1] == 10


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    def signalled(current_iter: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    run.model.optimize_parameters = signalled
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert not (tmp_path / "experiments/run/training_states").exists()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_cuts_validation_short(number: signal.Signals, tmp_path: Path) -> None:
    run = make_run(tmp_path, val_freq=3)

    def validation(*_: Any) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")

    run.model.validation = validation
    with pytest.raises(Interrupted, match="after iteration 3"):
        train(run)
    resumed = go_on(run, tmp_path, 3)
    train(resumed)
    assert resumed.model.validated == [3, 6, 9]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_loading_processes_that_die_of_the_same_signal_do_not_lose_the_run(
    number: signal.Signals, tmp_path: Path
) -> None:
    class Breaking:
        def stream(self, position: Position) -> Iterator[tuple[Position, Any]]:
            inner = make_batches().stream(position)
            yield next(inner)
            yield next(inner)
            os.kill(os.getpid(), number)
            raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")

    run = make_run(tmp_path)
    run.batches = Breaking()
    with pytest.raises(Interrupted, match="after iteration 2"):
        train(run)
    assert load_checkpoint(tmp_path / "experiments/run/training_states/2.state").position.iteration == 2


def test_an_error_of_the_loader_is_an_error(tmp_path: Path) -> None:
    class Breaking:
        def stream(self, position: Position) -> Iterator[tuple[Position, Any]]:
            yield next(make_batches().stream(position))
            raise DataError("too many bad images")

    run = make_run(tmp_path)
    run.batches = Breaking()
    with pytest.raises(DataError, match="too many"):
        train(run)


@dataclass
class Report:
    iteration: int
    terms: list[str]
    batch: dict[str, Any]


class Guard:
    """Reports a spoiled iteration when it is asked after it: late, unless told to wait."""

    def __init__(self, model: TinyModel, bad_iteration: int, lag: int = 0) -> None:
        self.model, self.bad, self.lag = model, bad_iteration, lag

    def poll(self, wait: bool = False) -> Report | None:
        if self.model.seen[-1] < self.bad + (0 if wait else self.lag):
            return None
        batch = {"lq": torch.full((2, 1), torch.nan), "gt": torch.ones(2, 1), "gt_path": ["a.png", "b.png"]}
        return Report(self.bad, ["l_pix", "l_g_gan"], batch)


def test_a_nonfinite_loss_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.model.guard = Guard(run.model, bad_iteration=5)
    with pytest.raises(TrainingError, match=r"l_pix, l_g_gan not finite at iteration 5.*a\.png, b\.png"):
        train(run)
    kept = torch.load(tmp_path / "experiments/run/nonfinite/5_rank0.pth", weights_only=True)
    assert kept["iteration"] == 5
    assert kept["terms"] == ["l_pix", "l_g_gan"]
    assert kept["seed"] == 0
    assert kept["batch"]["gt_path"] == ["a.png", "b.png"]
    assert torch.isnan(kept["batch"]["lq"]).all()


def test_spoiled_weights_are_never_saved(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.model.guard = Guard(run.model, bad_iteration=8, lag=2)
    with pytest.raises(TrainingError, match="iteration 8"):
        train(run)
    assert [path.name for path in (tmp_path / "experiments/run/training_states").iterdir()] == ["4.state"]
    assert run.model.exported == [4]


def test_an_epoch_without_a_batch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gives no batch"):
        next(make_batches(count=2, batch_size=3).stream(Position()))


def test_positions_count_epochs_and_samples() -> None:
    stream = make_batches(count=7, batch_size=3).stream(Position())
    assert [next(stream)[0] for _ in range(5)] == [
        Position(1, 0, 3),
        Position(2, 0, 6),
        Position(3, 1, 3),
        Position(4, 1, 6),
        Position(5, 2, 3),
    ]


def test_a_stream_goes_on_where_another_was() -> None:
    whole = make_batches(count=7, batch_size=2, ratio=2.5).stream(Position())
    expected = [next(whole) for _ in range(20)]
    for done in (1, 8, 9, 13):
        rest = make_batches(count=7, batch_size=2, ratio=2.5).stream(expected[done - 1][0])
        for position, batch in expected[done:]:
            resumed_position, resumed = next(rest)
            assert resumed_position == position
            assert torch.equal(resumed["lq"], batch["lq"])


def raise_error(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [(DataError("d"), 3), (TrainingError("t"), 4), (Interrupted("i"), 130), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(lambda: raise_error(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == (str(error) or "Interrupted.")


def test_defects_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_to_exit_code(lambda: raise_error(ZeroDivisionError()))
    assert run_to_exit_code(lambda: None) == 0


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_outside_the_loop_is_an_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert run_to_exit_code(lambda: os.kill(os.getpid(), number)) == 130
    assert signal.getsignal(number) == before


def test_running_out_of_gpu_memory_says_what_to_change(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    def exhaust(current_iter: int) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    run.model.optimize_parameters = exhaust
    with pytest.raises(TrainingError, match="batch_size_per_gpu"):
        train(run)


def test_loading_processes_ignore_the_signals() -> None:
    begun: list[int] = []
    loader = SimpleNamespace(worker_init_fn=begun.append)
    shield_workers(loader)
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        loader.worker_init_fn(1)
        assert begun == [1]
        for number in STOP_SIGNALS:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
