"""Steps as CUDA graphs, on a CPU: a tape of operators takes the place of the device's graphs.

Like a graph, a tape does again what was done on the device when it was made, with the same memory: whatever the host
decided, read or passed as a number meanwhile stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from basicsr.engine.model_copy import copy_model
from basicsr.models import build_model, graphed_step
from basicsr.models.base_model import BaseModel
from basicsr.models.graph_capture import InputTracker, Result
from basicsr.models.graphed_step import MAX_KINDS, WARM_UP, find_obstacle
from basicsr.models.sr_model import SRModel
from basicsr.spectral.fourier import half_spectrum

SWIN = {
    "img_size": 16,
    "patch_size": 4,
    "num_classes": 1,
    "embed_dim": 4,
    "depths": [2],
    "num_heads": [1],
    "window_size": 2,
    "mlp_ratio": 1,
    "drop_path_rate": 0.3,
}
# Rates on a device are of float32; these are exact.
ADAM = {"type": "Adam", "lr": 2**-10, "weight_decay": 2**-8}
SGD = {"type": "SGD", "lr": 2**-8, "momentum": 0.9, "fused": True}
STEPS = {"type": "MultiStepLR", "milestones": [2, 5, 7], "gamma": 0.5}
ITERATIONS = WARM_UP + 5


class Tape(TorchDispatchMode):
    """Notes operators with their operands and results; runs them again into the same results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {id(value) for value in tree_leaves((args, kwargs))}
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        is_empty = func.__name__.split(".")[0] in ("empty", "empty_like", "empty_strided", "new_empty")
        if not is_view and not is_empty:
            made = [value for value in tree_leaves(found) if isinstance(value, Tensor) and id(value) not in given]
            self.calls.append((func, args, kwargs or {}, made))
        return found

    def run(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, made in self.calls:
                again = [value for value in tree_leaves(func(*args, **kwargs)) if isinstance(value, Tensor)]
                for value, former in zip(again[len(again) - len(made) :], made, strict=True):
                    former.copy_(value)


class TapedCapture:
    """Takes the place of :class:`basicsr.models.graph_capture.DeviceCapture`."""

    tapes: list[Tape]

    def __init__(self, device: torch.device) -> None:
        type(self).tapes = []

    def warm_up(self, work: Callable[[], Result]) -> Result:
        return work()

    def record(self, work: Callable[[], Result]) -> Callable[[], Result]:
        with Tape() as tape:
            result = work()
        self.tapes.append(tape)
        has_run = [False]

        def replay() -> Result:
            # Other than a graph, a tape has done the work when it was made.
            if has_run[0]:
                tape.run()
            has_run[0] = True
            return result

        return replay


@pytest.fixture(autouse=True)
def on_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed_step, "DEVICE", "cpu")
    monkeypatch.setattr(graphed_step, "DeviceCapture", TapedCapture)
    TapedCapture.tapes = []


def options(is_graphed: bool, **changes: Any) -> dict[str, Any]:
    train = {
        "total_iter": 100,
        "ema_decay": 0.9,
        "cuda_graph": is_graphed,
        "optim_g": ADAM,
        "optim_d": SGD,
        "optim_spectral_d": {**ADAM, "type": "AdamW"},
        "scheduler": STEPS,
        "pixel_opt": {"type": "L1Loss"},
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
        **changes.pop("train", {}),
    }
    return {
        "model_type": "ESRGANSpecModel",
        "scale": 2,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "network_g": {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2},
        "network_d": {**SWIN, "type": "SwinTransformer"},
        "net_spectral_d": {**SWIN, "type": "SpectralDiscriminator2D", "window": "hann"},
        "train": train,
        **changes,
    }


def build(is_graphed: bool = True, **changes: Any) -> SRModel:
    torch.manual_seed(0)
    model = build_model(options(is_graphed, **changes))
    assert isinstance(model, SRModel)
    return model


def step(model: BaseModel, iteration: int, size: int = 2) -> None:
    gt = torch.rand(size, 3, 16, 16, generator=torch.Generator().manual_seed(iteration))
    model.begin_iteration(iteration)
    model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 2), "gt": gt})
    model.optimize_parameters(iteration)
    model.update_learning_rate(iteration)


def train(model: SRModel, first: int = 1, last: int = ITERATIONS) -> list[dict[str, float]]:
    """Takes steps; returns their losses."""
    losses = []
    for iteration in range(first, last + 1):
        step(model, iteration)
        losses.append(model.get_current_log())
    return losses


def assert_same_state(model: BaseModel, other: BaseModel) -> None:
    """Networks, average, optimizers, schedules: all that a checkpoint holds."""
    one, two = model.training_state(), other.training_state()
    assert one["schedulers"] == two["schedulers"]
    for name, state in one["optimizers"].items():
        assert state["param_groups"] == two["optimizers"][name]["param_groups"]
    leaves, others = tree_leaves(one), tree_leaves(two)
    assert len(leaves) == len(others)
    for value, expected in zip(leaves, others, strict=True):
        if isinstance(value, Tensor):
            assert torch.equal(value, expected)


# --- what a graph does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate_steps": 2, "clip_grad_norm": 0.1},
        {"precision": "bf16", "ema_decay": 0},
        {"precision": "fp16"},
    ],
)
def test_replayed_steps_end_in_the_bits_of_steps_without_graphs(changes: dict[str, Any]) -> None:
    plain, graphed = build(False, train=changes), build(train=changes)
    assert train(graphed) == train(plain)
    assert len(TapedCapture.tapes) == 1
    assert_same_state(graphed, plain)
    assert torch.equal(graphed.output, plain.output)


def test_rates_of_the_schedule_reach_a_graph_and_stay_plain_numbers() -> None:
    model = build()
    train(model)
    assert model.get_current_learning_rate() == [2**-13]
    assert [float(rate) for rate in model.graphs._rates] == [2**-13, 2**-11, 2**-13]
    for state in model.training_state()["optimizers"].values():
        assert isinstance(state["param_groups"][0]["lr"], float)
        assert state["param_groups"][0].get("capturable", False) is False


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_a_run_goes_on_with_graphs_or_without(first: bool, second: bool) -> None:
    whole, before, after = build(False), build(first), build(second)
    losses = train(whole)
    train(before, 1, WARM_UP + 2)
    train(after, 1, WARM_UP + 1)  # what it has captured is of no use any more
    after.load_training_state(before.training_state())
    assert train(after, WARM_UP + 3) == losses[WARM_UP + 2 :]
    assert_same_state(after, whole)


def test_each_turn_and_each_size_has_a_graph_of_its_own() -> None:
    changes = {"net_d_iters": 2, "net_d_init_iters": 1}
    plain, graphed = build(False, train=changes), build(train=changes)
    for iteration in range(1, 4 * WARM_UP + 1):
        size = 2 if iteration % 5 else 3
        for model in (plain, graphed):
            step(model, iteration, size)
        assert graphed.get_current_log() == plain.get_current_log()
    assert len(TapedCapture.tapes) == 2
    assert_same_state(graphed, plain)


def test_kinds_beyond_the_limit_run_without_a_graph() -> None:
    plain, graphed = build(False), build()
    for iteration in range(1, MAX_KINDS + 3):
        for model in (plain, graphed):
            step(model, iteration, iteration)
    for iteration in range(20, 20 + WARM_UP + 2):
        for model in (plain, graphed):
            step(model, iteration, MAX_KINDS + 1)
            step(model, iteration, MAX_KINDS)
    assert len(TapedCapture.tapes) == 1
    assert_same_state(graphed, plain)


def test_a_capture_that_fails_is_named_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, model = (build(is_graphed, train={"precision": "fp16"}) for is_graphed in (False, True))

    def record(self: TapedCapture, work: Callable[[], Result]) -> Callable[[], Result]:
        # What a step leaves on the host that ends between scaling and stepping.
        model.scaler.unscale_(model.optimizer_g)
        model.optimizer_g.grad_scale = torch.full((), 2.0)  # type: ignore[attr-defined]
        raise RuntimeError("not permitted while capturing\nand more")

    monkeypatch.setattr(TapedCapture, "record", record)
    assert train(model) == train(plain)
    assert_same_state(model, plain)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "train.cuda_graph: steps run without graphs from here: RuntimeError: not permitted while capturing"
    ]


def test_copies_of_a_model_have_no_graphs() -> None:
    model = build()
    train(model)
    copied = copy_model(model, 2)
    train(copied, ITERATIONS + 1)
    assert len(TapedCapture.tapes) == 1 and not copied.graphs.asked and model.graphs.asked


def test_what_a_graph_reads_is_found_and_what_it_makes_is_not() -> None:
    weight, images = (torch.rand(shape, device="meta") for shape in ((4, 4), (1, 3, 6, 6)))
    half_spectrum(images, "hann")
    with InputTracker() as tracker:
        made = images * 2
        half_spectrum(made, "hann").abs().sum() + weight.sum()
        weight.add_(1)
    inputs = tracker.inputs()
    assert any(value is weight for value in inputs) and any(value is images for value in inputs)
    assert not any(value is made for value in inputs)
    assert any(value.shape == (6, 6) for value in inputs), "the window is in a cache, which may drop it"


# --- what runs without ------------------------------------------------------------------------------------------------


class OwnTeaching(SRModel):
    def teach_generator(self, *args: Any) -> dict[str, Tensor]:
        return super().teach_generator(*args)


WASSERSTEIN = {"model_type": "ESRGANSimpleGatedDegradationWSpecModel", "queue_size": 2, "gt_size": 16}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": {"on_nonfinite": "skip"}}, "train.on_nonfinite: skip reads the losses within the step"),
        ({"train": {"diffaug": True}}, "train.diffaug draws on the host"),
        (
            {"train": {"activation_checkpointing": True}},
            "train.activation_checkpointing reads the state of random draws",
        ),
        (
            {"train": {"optim_g": {**ADAM, "fused": False}}},
            "the optimizer of net_g, Adam, steps by more than one kernel",
        ),
        (
            {"train": {"optim_d": {"type": "RMSprop", "lr": 1e-3}}},
            "the optimizer of net_d, RMSprop, steps by more than",
        ),
        (
            {**WASSERSTEIN, "train": {"gan_opt": {"type": "GANLoss", "gan_type": "wgan"}}},
            "WassersteinObjective draws the points of its gradient penalty on the host",
        ),
    ],
)
def test_what_cannot_be_captured_is_named(
    changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = build(**changes)
    for iteration in (1, 2):
        model.begin_iteration(iteration)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"train.cuda_graph: the step runs without a graph: {reason}")


def test_a_step_of_another_package_is_named() -> None:
    assert find_obstacle(OwnTeaching(options(True))) == "OwnTeaching has a method teach_generator of its own"


def test_several_processes_and_a_run_without_a_gpu_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    assert find_obstacle(model) == ""
    model.options = model.options.model_copy(update={"dist": True})
    assert find_obstacle(model) == "several processes train together"
    monkeypatch.undo()
    assert find_obstacle(model).startswith("graphs need a CUDA device")


def test_a_run_without_a_gpu_trains_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    plain, asked = build(False), build()
    assert train(asked) == train(plain)
    assert not TapedCapture.tapes
    assert_same_state(asked, plain)
