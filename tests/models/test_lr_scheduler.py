"""Learning rates over iterations."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import load_case

from basicsr.models.lr_scheduler import set_learning_rates
from basicsr.utils.errors import ArgumentError, UserError
from basicsr.utils.registry import SCHEDULER_REGISTRY

CASE = load_case("data_lr")
CALLS = CASE.config["calls"]


def _optimizer(*rates: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=1.0)


def build_scheduler(optimizer: torch.optim.Optimizer, opt: dict[str, Any]) -> torch.optim.lr_scheduler.LRScheduler:
    constructor, arguments = SCHEDULER_REGISTRY.resolve(opt)
    scheduler: torch.optim.lr_scheduler.LRScheduler = constructor(optimizer, **arguments)
    return scheduler


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def _run(opt: dict[str, Any], steps: int, *base: float, warmup: int = -1, **switches: bool) -> list[list[float]]:
    optimizer = _optimizer(*base)
    scheduler = build_scheduler(optimizer, opt)
    rates = [_rates(optimizer)]
    for iteration in range(1, steps + 1):
        set_learning_rates(scheduler, iteration, warmup, **switches)
        rates.append(_rates(optimizer))
    return rates


@pytest.mark.parametrize("name", [name for name in CALLS if "base_lrs" in CALLS[name]])
def test_golden_schedules(name: str) -> None:
    call = CALLS[name]
    opt = {"type": call["scheduler"], **call["kwargs"]}
    CASE.check(np.array(_run(opt, 60, *call["base_lrs"])), name)


@pytest.mark.parametrize("name", [name for name in CALLS if "warmup_iter" in CALLS[name]])
def test_golden_warmup(name: str) -> None:
    """The original's rate stays short of nominal after the warm-up; ours does so only when it is asked to."""
    call = CALLS[name]
    opt = {"type": call["scheduler"], "milestones": call["milestones"], "gamma": call["gamma"]}
    warmup = call["warmup_iter"]
    published = _run(opt, 40, call["lr"], warmup=warmup, keep_warmup_shortfall=True)
    CASE.check(np.array(published), name)
    ours = np.array(_run(opt, 40, call["lr"], warmup=warmup))
    warm = max(warmup, 1)
    np.testing.assert_allclose(ours[:warm], published[:warm], rtol=1e-12)
    np.testing.assert_allclose(ours[warm:] * (warm - 1 or 1) / warm, published[warm:], rtol=1e-12)


def test_warmup_ends_at_the_nominal_rate() -> None:
    rates = _run({"type": "MultiStepLR", "milestones": [8], "gamma": 0.5}, 10, 1.0, warmup=4)
    np.testing.assert_allclose(np.ravel(rates), [1, 0.25, 0.5, 0.75, 1, 1, 1, 1, 0.5, 0.5, 0.5])


def test_warmup_does_not_disturb_a_chained_schedule_of_torch() -> None:
    optimizer, reference = _optimizer(1.0), _optimizer(1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    expected = torch.optim.lr_scheduler.ExponentialLR(reference, 0.9)
    for iteration in range(1, 8):
        optimizer.step()
        set_learning_rates(scheduler, iteration, 4)
        reference.step()
        expected.step()
        if iteration >= 4:
            assert _rates(optimizer) == pytest.approx(_rates(reference))


@pytest.mark.filterwarnings("error")
def test_an_optimizer_that_waits_for_its_turn_is_no_cause_for_a_warning() -> None:
    assert _run({"type": "MultiStepLR", "milestones": [2], "gamma": 0.5}, 3, 1.0)[-1] == [0.5]


def test_cosine_stays_at_its_end() -> None:
    opt = {"type": "CosineAnnealingRestartLR", "periods": [4, 4], "restart_weights": [1, 0.5], "eta_min": 0.01}
    rates = np.ravel(_run(opt, 20, 1.0))
    assert rates[5] > rates[4] and rates[8] == pytest.approx(0.01)
    np.testing.assert_allclose(rates[8:], 0.01)


def test_one_restart_weight_serves_all_periods() -> None:
    opt = {"type": "CosineAnnealingRestartLR", "periods": [3, 3]}
    rates = np.ravel(_run(opt, 6, 1.0))
    np.testing.assert_allclose(rates[1:4], rates[4:7])


@pytest.mark.parametrize(
    "opt",
    [
        {
            "type": "MultiStepRestartLR",
            "milestones": [3, 9],
            "gamma": 0.5,
            "restarts": [0, 6],
            "restart_weights": [1, 0.5],
        },
        {"type": "CosineAnnealingRestartLR", "periods": [5, 7]},
    ],
)
@pytest.mark.parametrize("stop", [2, 5, 8])
def test_a_restored_schedule_goes_on_as_if_it_had_not_stopped(opt: dict[str, Any], stop: int) -> None:
    expected = _run(opt, 12, 1.0, 0.1, warmup=4)
    optimizer = _optimizer(1.0, 0.1)
    scheduler = build_scheduler(optimizer, opt)
    for iteration in range(1, stop + 1):
        set_learning_rates(scheduler, iteration, 4)
    file = io.BytesIO()
    torch.save({"o": optimizer.state_dict(), "s": scheduler.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    optimizer = _optimizer(1.0, 0.1)
    scheduler = build_scheduler(optimizer, opt)
    optimizer.load_state_dict(state["o"])
    scheduler.load_state_dict(state["s"])
    assert _rates(optimizer) == expected[stop]
    for iteration in range(stop + 1, 13):
        set_learning_rates(scheduler, iteration, 4)
        assert _rates(optimizer) == expected[iteration]


def test_milestones_come_from_the_options_when_a_run_goes_on() -> None:
    state = build_scheduler(_optimizer(1.0), {"type": "MultiStepLR", "milestones": [5]}).state_dict()
    scheduler = build_scheduler(_optimizer(1.0), {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5})
    scheduler.load_state_dict({**state, "milestones": [5]})
    scheduler.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5]


@pytest.mark.parametrize(
    "opt",
    [
        {"type": "MultiStepLR", "milestones": [1], "restarts": [0, 5], "restart_weights": [1]},
        {"type": "CosineAnnealingRestartLR", "periods": []},
        {"type": "CosineAnnealingRestartLR", "periods": [5, 0]},
        {"type": "CosineAnnealingRestartLR", "periods": [5, 5, 5], "restart_weights": [1, 1]},
    ],
)
def test_impossible_schedules_are_refused(opt: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"restart|period") as raised:
        build_scheduler(_optimizer(1.0), opt)
    assert raised.value.argument == list(opt)[-1]


def test_unknown_schedules_are_named() -> None:
    with pytest.raises(UserError, match="MultiStepLR"):
        build_scheduler(_optimizer(1.0), {"type": "MultiStepsLR"})
    with pytest.raises(UserError, match="type"):
        build_scheduler(_optimizer(1.0), {"milestones": [1]})
