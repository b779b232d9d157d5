"""What a resumed model has of its checkpoint, and what of its option file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import write_options

from basicsr.degradation import PairPool
from basicsr.engine.training import seed_networks
from basicsr.models import build_model
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import load_schedule
from basicsr.models.optimizers import load_optimizer
from basicsr.options import load_options
from basicsr.utils.errors import WeightsError

ADAM = {"type": "Adam", "lr": 1e-3}
SGD = {"type": "SGD", "lr": 1e-3}
STEPS = {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_options(tmp_path_factory.mktemp("options"), train={"scheduler": STEPS})


def build(file: Path, **train: Any) -> BaseModel:
    opt = load_options(file, overrides=[f"train:{key}={json.dumps(value)}" for key, value in train.items()])
    seed_networks(opt)
    return build_model(opt)


def step(model: BaseModel, iteration: int) -> None:
    generator = torch.Generator().manual_seed(iteration)
    images = {"lq": torch.rand(2, 3, 8, 8, generator=generator), "gt": torch.rand(2, 3, 32, 32, generator=generator)}
    model.begin_iteration(iteration)
    model.feed_data(images)
    model.optimize_parameters(iteration)
    model.update_learning_rate(iteration, model.settings.warmup_iter)


def train(model: BaseModel, first: int, last: int) -> Mapping[str, Any]:
    for iteration in range(first, last + 1):
        step(model, iteration)
    return model.training_state()


def go_on(file: Path, before: Mapping[str, Any], after: Mapping[str, Any], iterations: int = 3) -> BaseModel:
    """A model of the options ``after`` that goes on with one of the options ``before``."""
    state = train(build(file, **before), 1, iterations)
    model = build(file, **after)
    model.load_training_state(state)
    return model


COSINE = {"type": "CosineAnnealingRestartLR", "periods": [5], "eta_min": 1e-5}


@pytest.mark.parametrize(
    ("optimizer", "schedule", "warmup_iter"),
    [
        (ADAM, STEPS, -1),
        (ADAM, COSINE, 2),
        ({**ADAM, "type": "AdamW"}, COSINE, 6),
        ({**SGD, "momentum": 0.9}, STEPS, 6),
        ({"type": "RMSprop", "lr": 1e-3, "centered": True}, STEPS, -1),
    ],
)
def test_with_unchanged_options_nothing_differs(
    optimizer: dict[str, Any], schedule: dict[str, Any], warmup_iter: int, file: Path
) -> None:
    options = {"optim_g": optimizer, "scheduler": schedule, "warmup_iter": warmup_iter}
    resumed = go_on(file, options, options)
    assert resumed.get_current_learning_rate() != [1e-3]
    whole = build(file, **options)
    expected = train(whole, 1, 5)
    found = train(resumed, 4, 5)
    for name, weights in expected["networks"].items():
        for key, value in weights.items():
            assert torch.equal(found["networks"][name][key], value)
    for ours, theirs in zip(resumed.optimizers, whole.optimizers, strict=True):
        options = [{k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (ours, theirs)]
        assert options[0] == options[1]
    assert found["schedulers"] == expected["schedulers"]


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("betas", [0.9, 0.99], [0.5, 0.9]),
        ("weight_decay", 0.0, 0.1),
        ("eps", 1e-8, 1e-6),
    ],
)
def test_what_the_option_file_says_of_an_optimizer_holds(key: str, before: Any, after: Any, file: Path) -> None:
    model = go_on(file, {"optim_g": {**ADAM, key: before}}, {"optim_g": {**ADAM, key: after}})
    group = model.optimizers[0].param_groups[0]
    assert group[key] == (tuple(after) if isinstance(after, list) else after)
    step(model, 4)


def test_a_changed_learning_rate_holds_at_once_and_later(file: Path) -> None:
    model = go_on(file, {"optim_g": ADAM}, {"optim_g": {**ADAM, "lr": 4e-3}, "warmup_iter": -1})
    assert model.get_current_learning_rate() == [2e-3], "the schedule has halved it"
    step(model, 4)
    assert model.get_current_learning_rate() == [2e-3]
    assert model._get_init_lr()[0] == [4e-3]
    warming = go_on(file, {"optim_g": ADAM}, {"optim_g": ADAM, "warmup_iter": 6})
    assert warming.get_current_learning_rate() == [1e-3 * 3 / 6]


def test_a_changed_schedule_holds_at_once(file: Path) -> None:
    model = go_on(file, {}, {"scheduler": {**STEPS, "gamma": 0.1}})
    assert model.get_current_learning_rate() == [pytest.approx(1e-4)]
    cosine = {"type": "CosineAnnealingRestartLR", "periods": [6]}
    assert go_on(file, {}, {"scheduler": cosine}).get_current_learning_rate() == [pytest.approx(5e-4)]


def test_adam_becomes_adamw_with_its_own_kind_of_decay(file: Path) -> None:
    decay = {**ADAM, "weight_decay": 0.1}
    model = go_on(file, {"optim_g": decay}, {"optim_g": {**decay, "type": "AdamW"}})
    fresh = build(file, optim_g={**decay, "type": "AdamW"}).optimizers[0]
    assert fresh.defaults == model.optimizers[0].defaults
    for key, value in fresh.defaults.items():
        assert key == "lr" or model.optimizers[0].param_groups[0][key] == value


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (ADAM, SGD, r"optimizer of net_g: it is of another type than SGD"),
        (SGD, ADAM, r"optimizer of net_g: it is of another type than Adam"),
        (ADAM, {**ADAM, "amsgrad": True}, r"net_g: it has no max_exp_avg_sq, which its options need"),
        ({"type": "RMSprop"}, {"type": "RMSprop", "centered": True}, "net_g: it has no grad_avg"),
    ],
)
def test_a_state_that_the_optimizer_cannot_use_is_refused_by_name(
    before: dict[str, Any], after: dict[str, Any], says: str, file: Path
) -> None:
    with pytest.raises(WeightsError, match=says):
        go_on(file, {"optim_g": before}, {"optim_g": after}, iterations=1)


def empty_schedule(state: dict[str, Any]) -> None:
    state["schedulers"]["g"] = {}


def cut_optimizer(state: dict[str, Any]) -> None:
    del state["optimizers"]["d"]["param_groups"]


def cut_network(state: dict[str, Any]) -> None:
    state["networks"]["g"].popitem()


def spoil_metrics(state: dict[str, Any]) -> None:
    state["best_metrics"] = 3


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (empty_schedule, "the schedule of net_g"),
        (cut_optimizer, "the optimizer of net_d"),
        (cut_network, "network g"),
        (spoil_metrics, "the best metrics"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(spoil: Any, says: str, file: Path) -> None:
    state = train(build(file), 1, 1)
    spoil(state)
    with pytest.raises(WeightsError, match=says):
        build(file).load_training_state(state)


def test_a_foreign_pool_is_named(file: Path) -> None:
    model = build(file)
    state = model.training_state()
    model.pool = PairPool(4)
    for pool in ({"images": 1}, {"queue_size": 8, "count": 0, "images": {}}):
        with pytest.raises(WeightsError, match=r"the pool of pairs: .*queue_size"):
            model.load_training_state({**state, "pair_pool": pool})


def test_a_pool_follows_the_option_file(file: Path) -> None:
    state = build(file).training_state()
    pooled = {**state, "pair_pool": PairPool(8).state_dict()}
    without, other = build(file), build(file)
    without.load_training_state(pooled)
    assert without.pool is None, "the options have none now"
    other.pool = PairPool(4)
    with pytest.raises(WeightsError, match="queue_size: the state is of a pool of 8, this one 4"):
        other.load_training_state(pooled)


def test_schedules_of_torch_go_on_with_the_rate_of_now() -> None:
    def make(rate: float) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], rate)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    optimizer, schedule = make(1.0)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    for rate in (1.0, 4.0):
        resumed, again = make(rate)
        load_optimizer(resumed, optimizer.state_dict())
        load_schedule(again, schedule.state_dict())
        assert resumed.param_groups[0]["lr"] == again.get_last_lr()[0] == rate / 8
        resumed.step()
        again.step()
        assert resumed.param_groups[0]["lr"] == rate / 16
    chained = torch.optim.lr_scheduler.SequentialLR(optimizer, [schedule], [])
    load_schedule(chained, {**chained.state_dict(), "last_epoch": 7})
    assert chained.last_epoch == 7
