"""Steps as CUDA graphs: the bits of the same steps without, whatever changes from one iteration to the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_training_on_gpu import SWIN, no_waiting
from torch import Tensor
from torch.utils._pytree import tree_leaves

from basicsr.models import build_model, graphed_step
from basicsr.models.graphed_step import WARM_UP
from basicsr.models.sr_model import SRModel
from basicsr.utils.seeding import choose_algorithms

pytestmark = pytest.mark.gpu

ADAM = {"type": "Adam", "lr": 1e-3}
CRITIC = {**SWIN, "drop_path_rate": 0.3}
LAST = WARM_UP + 6


@pytest.fixture(autouse=True)
def equal_bits(full_precision: None) -> Iterator[None]:
    choose_algorithms(deterministic=True)
    yield
    choose_algorithms(deterministic=False)


def build(monkeypatch: pytest.MonkeyPatch, *, never: bool = False, **train: Any) -> SRModel:
    """A small DualFormer model with graphs, or one on its way there for good."""
    monkeypatch.setattr(graphed_step, "WARM_UP", 10**6 if never else WARM_UP)
    torch.manual_seed(0)
    model = build_model(
        {
            "model_type": "ESRGANSpecModel",
            "scale": 4,
            "num_gpu": 1,
            "is_train": True,
            "path": {},
            "network_g": {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
            "network_d": CRITIC,
            "net_spectral_d": {**CRITIC, "type": "SpectralDiscriminator2D", "version": "swin", "window": "hann"},
            "train": {
                "total_iter": 100,
                "cuda_graph": True,
                "ema_decay": 0.9,
                "optim_g": ADAM,
                "optim_d": {"type": "SGD", "lr": 1e-2, "momentum": 0.9, "fused": True},
                "optim_spectral_d": ADAM,
                "scheduler": {"type": "MultiStepLR", "milestones": [2, WARM_UP + 2, WARM_UP + 4], "gamma": 0.3},
                "pixel_opt": {"type": "L1Loss"},
                "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
                **train,
            },
        }
    )
    assert isinstance(model, SRModel)
    return model


def step(model: SRModel, iteration: int, size: int = 4) -> dict[str, float]:
    gt = torch.rand(size, 3, 32, 32, generator=torch.Generator().manual_seed(iteration))
    model.begin_iteration(iteration)
    model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 4), "gt": gt})
    model.optimize_parameters(iteration)
    model.update_learning_rate(iteration)
    return model.get_current_log()


def train(model: SRModel, first: int = 1, last: int = LAST, sizes: tuple[int, ...] = (4,)) -> list[dict[str, float]]:
    return [step(model, iteration, sizes[iteration % len(sizes)]) for iteration in range(first, last + 1)]


def assert_same_state(model: SRModel, other: SRModel) -> None:
    leaves, others = tree_leaves(model.training_state()), tree_leaves(other.training_state())
    assert len(leaves) == len(others)
    for value, expected in zip(leaves, others, strict=True):
        assert torch.equal(value, expected) if isinstance(value, Tensor) else value == expected


@pytest.mark.parametrize(
    ("changes", "sizes", "graphs"),
    [
        ({}, (4,), 1),
        ({"precision": "bf16", "channels_last": True}, (4,), 1),
        ({"precision": "fp16", "clip_grad_norm": 0.5, "optim_d": ADAM}, (4,), 1),
        ({"accumulate_steps": 2}, (4,), 1),
        ({"net_d_iters": 2}, (4,), 2),
        ({}, (4, 2), 2),
    ],
)
def test_replayed_steps_end_in_the_bits_of_steps_without_graphs(
    changes: dict[str, Any], sizes: tuple[int, ...], graphs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = graphs * LAST
    plain = build(monkeypatch, never=True, **changes)
    expected = train(plain, 1, last, sizes)
    model = build(monkeypatch, **changes)
    assert train(model, 1, last, sizes) == expected
    assert (plain.graphs.count(), model.graphs.count()) == (0, graphs)
    assert_same_state(model, plain)


def test_a_run_goes_on_with_graphs_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(monkeypatch)
    expected = train(before)
    state = {}
    for cut in (2, WARM_UP + 2):
        first, second = build(monkeypatch), build(monkeypatch)
        train(first, 1, cut)
        train(second, 1, WARM_UP + 1)
        state = first.training_state()
        second.load_training_state(state)
        assert train(second, cut + 1) == expected[cut:]
        assert_same_state(second, before)
    plain = build(monkeypatch, cuda_graph=False)
    plain.load_training_state(state)
    step(plain, WARM_UP + 3)


def test_the_host_does_not_wait_for_a_replayed_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(monkeypatch)
    train(model)
    gt = torch.rand(4, 3, 32, 32, device="cuda")
    with no_waiting():
        model.begin_iteration(LAST + 1)
        model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 4), "gt": gt})
        model.optimize_parameters(LAST + 1)
        model.update_learning_rate(LAST + 1)
    assert model.graphs.count() == 1


@pytest.mark.parametrize("is_read", [True, False])
def test_a_capture_that_fails_is_named_and_the_run_goes_on(
    is_read: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = build(monkeypatch, never=True, precision="fp16", optim_d=ADAM)
    expected = train(plain)
    model = build(monkeypatch, precision="fp16", optim_d=ADAM)
    apply = model.apply

    def read(*args: Any) -> Any:
        found = apply(*args)
        if torch.cuda.is_current_stream_capturing():
            float(next(iter(found.values()))) if is_read else torch.rand(2).to("cuda")
        return found

    monkeypatch.setattr(model, "apply", read)
    assert train(model) == expected
    assert model.graphs.count() == 0
    assert_same_state(model, plain)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("steps run without graphs from here" in warning for warning in warnings) == 1
    fresh = build(monkeypatch, precision="fp16", optim_d=ADAM)
    assert train(fresh) == expected and fresh.graphs.count() == 1, "a capture that fails leaves nothing behind"


def test_networks_are_validated_and_saved_as_a_replay_has_left_them(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [build(monkeypatch, never=never) for never in (True, False)]
    for model in models:
        monkeypatch.setattr(graphed_step, "WARM_UP", 10**6 if model is models[0] else WARM_UP)
        for iteration in range(1, LAST + 1):
            step(model, iteration)
            model.feed_data({"lq": torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(iteration))})
            model.test()
    assert torch.equal(models[0].output, models[1].output)
    assert_same_state(*models)
