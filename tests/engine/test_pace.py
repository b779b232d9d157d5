"""A run's time: how much of it is left, and what it waits for, on simulated clocks and in real loops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import make_options, make_run

from basicsr.engine.pace import Pace, describe_shares
from basicsr.engine.trainer import train
from basicsr.engine.waits import ADVICE, Adviser, _read_values


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """A device's queue: each step asks for as many seconds as are set."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.free_at = clock, seconds, 0.0

    def mark(self) -> None:
        self.free_at = max(self.free_at, self.clock.now) + self.seconds
        # Only so much fits into a queue: then the host is held up.
        self.clock.now = max(self.clock.now, self.free_at - 2 * self.seconds)

    def is_empty(self) -> bool:
        return self.clock.now >= self.free_at


Seconds = Callable[[int], float]


def simulate(
    pace: Pace,
    step: Seconds = lambda i: 0.1,
    data: Seconds = lambda i: 0.0,
    validation: Seconds | None = None,
    saving: Seconds | None = None,
    look_at: int = 0,
) -> tuple[float, float]:
    """Passes a whole run; returns the estimated and the true seconds from the log line of iteration ``look_at`` on."""
    clock: Any = pace.clock
    looked = estimate = 0.0
    for i in range(pace.done + 1, pace.total + 1):
        pace.wait()
        clock.now += data(i)
        pace.has_batch()
        clock.now += step(i)
        pace.step_done()
        if i == look_at:
            looked, estimate = clock.now, pace.left()
        for name, seconds in (("saving", saving), ("validation", validation)):
            if seconds and (i % pace.every[name] == 0 or i == pace.total):
                with pace.measure(name):
                    clock.now += seconds(i)
    return estimate, clock.now - looked


def make_pace(total: int = 2000, done: int = 0, queue: float | None = None, **every: int) -> Pace:
    clock = Clock()
    return Pace(total, done, every, Queue(clock, queue) if queue is not None else None, clock)


PROFILES: dict[str, tuple[dict[str, int], dict[str, Seconds]]] = {
    "constant": ({}, {}),
    "slow start": ({}, {"step": lambda i: 5.0 if i <= 15 else 0.1}),
    "slow epochs": ({}, {"data": lambda i: 0.3 if i % 10 == 1 else 0.01}),
    "validation": ({"validation": 13}, {"validation": lambda i: 6.0}),
    "validation that costs more the first time": (
        {"validation": 19},
        {"validation": lambda i: 60.0 if i == 19 else 2.0},
    ),
    "saving": ({"saving": 30}, {"saving": lambda i: 4.0}),
    "all": (
        {"validation": 15, "saving": 10},
        {"step": lambda i: 3.0 if i < 5 else 0.2, "validation": lambda i: 3.0 + (i == 15), "saving": lambda i: 1.0},
    ),
    "no divisor of the whole": ({"validation": 21, "saving": 27}, {"validation": lambda i: 5.0, "saving": lambda i: 2}),
}


@pytest.mark.parametrize("name", PROFILES)
def test_after_a_fiftieth_of_the_run_its_end_is_known_within_5_percent(name: str) -> None:
    every, seconds = PROFILES[name]
    pace = make_pace(**every)
    estimate, actual = simulate(pace, look_at=40, **seconds)
    assert estimate == pytest.approx(actual, rel=0.05)


def test_a_run_that_goes_on_counts_only_what_is_left() -> None:
    pace = make_pace(1000, done=500, validation=100)
    estimate, actual = simulate(pace, validation=lambda i: 7.0, look_at=600)
    # The validation of this iteration is still to come, as the log line is written before it.
    assert estimate == pytest.approx(400 * 0.1) and actual == pytest.approx(400 * 0.1 + 5 * 7)
    pace = make_pace(1000, done=500, validation=100)
    estimate, actual = simulate(pace, validation=lambda i: 7.0, look_at=601)
    assert estimate == pytest.approx(actual) == pytest.approx(399 * 0.1 + 4 * 7)


def test_a_change_of_speed_is_followed_within_a_fiftieth_of_the_run() -> None:
    pace = make_pace(10_000)
    estimate, actual = simulate(pace, step=lambda i: 0.1 if i <= 5000 else 0.3, look_at=5200)
    assert estimate == pytest.approx(actual, rel=1e-6)


def test_the_end_of_a_run_is_now() -> None:
    pace = make_pace(50, validation=20)
    simulate(pace, validation=lambda i: 1.0)
    assert pace.left() == 0
    assert make_pace().left() == 0 and make_pace().shares() == {}


BOTTLENECKS: dict[str, tuple[str, Pace, dict[str, Seconds]]] = {
    "slow files on the CPU": ("data", make_pace(), {"data": lambda i: 0.2}),
    "one slow batch in ten": ("data", make_pace(), {"data": lambda i: 5.0 if i % 10 == 0 else 0.0}),
    "large networks on the CPU": ("computation", make_pace(), {"data": lambda i: 0.05}),
    "slow files before a GPU": ("data", make_pace(queue=0.05), {"data": lambda i: 0.2, "step": lambda i: 0.01}),
    "many small operations": ("host", make_pace(queue=0.03), {"data": lambda i: 0.04}),
    "large networks on a GPU": ("device", make_pace(queue=0.3), {"step": lambda i: 0.05}),
    "files as slow as a GPU that is never idle": (
        "device",
        make_pace(queue=0.3),
        {"data": lambda i: 0.2, "step": lambda i: 0.05},
    ),
    "frequent validation": ("validation", make_pace(validation=10), {"validation": lambda i: 2.0}),
    "frequent saving": ("saving", make_pace(saving=10, validation=50), {"saving": lambda i: 3.0}),
    "rare but very long validation": (
        "validation",
        make_pace(validation=100, queue=0.1),
        {"step": lambda i: 0.02, "validation": lambda i: 60.0},
    ),
}


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_a_planted_bottleneck_is_named(name: str) -> None:
    cause, pace, seconds = BOTTLENECKS[name]
    pace.total = 205
    simulate(pace, **seconds)
    shares = pace.shares()
    assert next(iter(shares)) == cause and sum(shares.values()) == pytest.approx(1)
    assert pace.is_known(cause)


def test_shares_are_those_of_the_time() -> None:
    pace = make_pace(100, validation=10, saving=20)
    simulate(pace, data=lambda i: 0.1, step=lambda i: 0.2, validation=lambda i: 1.0, saving=lambda i: 2.0)
    expected = {"computation": 0.4, "data": 0.2, "validation": 0.2, "saving": 0.2}
    assert pace.shares() == {cause: pytest.approx(share) for cause, share in expected.items()}
    assert describe_shares({"computation": 0.8, "data": 0.15, "saving": 0.05}) == "computation 80%, data 15%"


def test_advice_comes_once_per_cause_and_names_what_is_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adviser = Adviser(make_options(tmp_path, val_freq=10))
    pace = make_pace(20, validation=10, saving=20)
    with caplog.at_level(logging.INFO, "basicsr"):
        simulate(pace, validation=lambda i: 3.0, data=lambda i: 0.11)
        first, second = adviser.describe(pace), adviser.describe(pace)
    assert first == second == "validation 59%, data 22%, computation 20%"
    told = [message for message in caplog.messages if "would help" in message]
    assert len(told) == 2
    assert "59% of the time is validation" in told[0] and "val.val_freq (10)" in told[0]
    assert "num_worker_per_gpu (0), set prefetch_mode: cpu" in told[1]


@pytest.mark.parametrize(
    ("changes", "told", "untold"),
    [
        ({}, ["train.compile: auto (False), or a GPU", "train.precision: bf16", "train.cuda_graph: true, "], []),
        ({"compile": "auto"}, ["batch_size_per_gpu, or a GPU", "train.compile: all (auto)"], ["train.compile: auto"]),
        ({"compile": "all", "precision": "bf16", "cuda_graph": True}, [], ["compile", "precision", "cuda_graph"]),
    ],
)
def test_what_is_set_already_is_not_advised(
    changes: dict[str, Any], told: list[str], untold: list[str], tmp_path: Path
) -> None:
    values = _read_values(make_options(tmp_path, **changes))
    text = "; ".join(ADVICE[cause].format(**values) for cause in ("host", "device", "computation"))
    assert all(part in text for part in told) and not any(part in text for part in untold)


def test_a_first_validation_alone_is_no_reason_for_advice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pace = make_pace(19, validation=20)
    with caplog.at_level(logging.INFO, "basicsr"):
        simulate(pace, validation=lambda i: 30.0)
        Adviser(make_options(tmp_path)).describe(pace)
    assert caplog.messages == []


def slow(run: Any, cause: str) -> None:
    """Makes one part of a real run take all the time that passes on its clock; no other part saves anything."""
    clock = Clock()
    start = run.start_pace

    def start_pace() -> Pace:
        pace = start()
        return Pace(pace.total, pace.done, pace.every, None, clock)

    run.start_pace = start_pace
    owner, name = {
        "data": (run.batches.loader.dataset, "__getitem__"),
        "computation": (run.model, "optimize_parameters"),
        "validation": (run.model, "validation"),
        "saving": (run.model, "training_state"),
    }[cause]
    plain = getattr(owner, name)

    def slowed(*args: Any) -> Any:
        clock.now += 0.3
        return plain(*args)

    if cause != "saving":
        run.save = lambda *_, **__: None
    if cause == "data":
        owner.__class__ = type("SlowNumbers", (type(owner),), {"__getitem__": lambda self, index: slowed(index)})
    else:
        setattr(owner, name, slowed)


@pytest.mark.parametrize("cause", ["data", "computation", "validation", "saving"])
def test_a_real_loop_names_what_it_waits_for(cause: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(tmp_path, val_freq=1 if cause == "validation" else 100)
    run.val_loaders = [object()]
    slow(run, cause)
    with caplog.at_level(logging.INFO, "basicsr"):
        train(run)
    line = [message for message in caplog.messages if "time (data)" in message][-1]
    assert f"] [{cause} 100%] " in line and "l_pix: " in line
