"""A save beside the training: what is written is the state of its moment, and what the loop waits for is little."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import write_options
from torch import Tensor, nn

from basicsr.degradation import PairPool
from basicsr.engine.loaders import build_training_batches
from basicsr.models import build_model
from basicsr.models.checkpoint import Position, load_checkpoint, save_checkpoint
from basicsr.models.saving import BackgroundWriter, Snapshot, StepGate, list_steady, list_tensors, map_tensors
from basicsr.options import parse_options
from basicsr.utils.batch import Batch
from basicsr.utils.errors import TrainingError
from basicsr.weights import live_state


class Training:
    """A network and its average with some steps of Adam behind them, as a model of this package has them."""

    __module__ = "basicsr.models.training"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.device, self.step_gate = torch.device("cpu"), StepGate()
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
        self.nets, self.average = {"g": net}, copy.deepcopy(net)
        self.optimizers, self.pool = [torch.optim.Adam(net.parameters(), lr=0.1)], PairPool(4)
        for _ in range(2):
            self.step()

    def step(self) -> None:
        images = torch.rand(2, 3, 8, 8)
        self.step_gate.wait_for_pool()
        self.pool.exchange(Batch(images, images[..., :2]), torch.Generator())
        self.nets["g"](images).square().mean().backward()
        self.step_gate.wait()
        self.optimizers[0].step()
        for average, weight in zip(self.average.parameters(), self.nets["g"].parameters(), strict=True):
            average.data.lerp_(weight.data, 0.5)

    def state(self) -> dict[str, Any]:
        nets = {"g": live_state(self.nets["g"]), "g_ema": live_state(self.average)}
        return {"networks": nets, "optimizer": self.optimizers[0].state_dict(), "pair_pool": self.pool.state_dict()}

    def bits(self) -> list[Tensor]:
        return [tensor.clone() for tensor in list_tensors(self.state())]


@pytest.fixture
def copy_when_asked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Has the rest of a state, and its pool, copied only when a step waits for it; the event tells that one does."""
    is_asked, wait, copy_rest = threading.Event(), StepGate.wait, Snapshot.copy_rest
    is_pool_asked, wait_for_pool, copy_some = threading.Event(), StepGate.wait_for_pool, Snapshot.copy_some

    def ask(gate: StepGate) -> None:
        is_asked.set()
        wait(gate)

    def copy_late(snapshot: Snapshot) -> None:
        assert is_asked.wait(20)
        copy_rest(snapshot)

    def ask_for_pool(gate: StepGate) -> None:
        is_pool_asked.set()
        wait_for_pool(gate)

    def copy_pool_late(snapshot: Snapshot, tensors: list[Tensor]) -> None:
        assert not tensors or is_pool_asked.wait(20)
        copy_some(snapshot, tensors)

    monkeypatch.setattr(StepGate, "wait_for_pool", ask_for_pool)
    monkeypatch.setattr(Snapshot, "copy_some", copy_pool_late)
    monkeypatch.setattr(StepGate, "wait", ask)
    monkeypatch.setattr(Snapshot, "copy_rest", copy_late)
    return is_asked


def collect_into(written: list[list[Tensor]]) -> Callable[[Any], Path]:
    def write(state: Any) -> Path:
        written.append([tensor.clone() for tensor in list_tensors(state)])
        return Path("written")

    return write


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_a_step_waits_until_what_it_changes_is_copied(copy_when_asked: threading.Event) -> None:
    training, written = Training(), []
    writer = BackgroundWriter(training)
    before = training.bits()
    copy_when_asked.clear()
    writer.begin(training.state(), collect_into(written))
    training.step()
    assert writer.collect(wait=True) == Path("written")
    assert equal(written[0], before)
    assert not equal(training.bits(), before)


def test_a_real_models_checkpoint_is_the_state_before_the_step_beside_it(
    copy_when_asked: threading.Event, tmp_path: Path
) -> None:
    opt, _ = parse_options(str(tmp_path), True, ["-opt", str(write_options(tmp_path))])
    model = build_model(opt)
    _, batch = next(build_training_batches(opt).stream(Position()))
    writer, weights = BackgroundWriter(model), model.weights_files(1)
    for iteration in (1, 2):
        model.begin_iteration(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        model.update_learning_rate(iteration)
        if iteration == 1:
            before = copy.deepcopy(model.training_state())
            copy_when_asked.clear()
            path = save_checkpoint(tmp_path, model, Position(1), weights=weights, writer=writer)
    writer.collect(wait=True)
    saved = load_checkpoint(path).model
    assert saved.pop("pair_pool") == before.pop("pair_pool") == {} and saved.keys() == before.keys()
    for name, entry in before.items():
        assert without_tensors(saved[name]) == without_tensors(entry)
        assert equal(list_tensors(in_order(saved[name])), list_tensors(in_order(entry)))


def test_the_pool_changes_behind_the_gate(tmp_path: Path) -> None:
    opt, _ = parse_options(str(tmp_path), True, ["-opt", str(write_options(tmp_path))])
    model = build_model(opt)
    images = torch.rand(2, 3, 8, 8)
    model.pool, model.degradation = PairPool(2), lambda batch, generator: Batch(images, images)
    assert list_steady(model)[1] == []
    model.step_gate.close()
    thread = threading.Thread(target=model.degrade, args=({"gt": images}, None))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and len(model.pool) == 0
    model.step_gate.open_pool()
    thread.join(20)
    assert len(model.pool) == 2 and len(list_steady(model)[1]) == 2


def in_order(value: Any) -> Any:
    """The same with every dict in the order of its keys."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(entry) for entry in value] if isinstance(value, list) else value


def without_tensors(value: Any) -> Any:
    """The same with nothing in place of tensors."""
    return map_tensors(value, lambda tensor: None)


def test_all_else_is_copied_at_once(copy_when_asked: threading.Event) -> None:
    training, written = Training(), []
    state = {**training.state(), "best": {"psnr": [30.5]}}
    before = [tensor.clone() for tensor in list_tensors(state)]
    copy_when_asked.clear()
    writer = BackgroundWriter(training)
    writer.begin(state, lambda state: collect_into(written)(state) and Path(str(state["best"]["psnr"])))
    state["best"]["psnr"].append(31.0)
    training.nets["g"](torch.rand(2, 3, 8, 8))  # moves the running statistics
    training.optimizers[0].param_groups[0]["lr"] = 0.5
    training.step()
    assert writer.collect(wait=True) == Path("[30.5]")
    assert equal(written[0], before)


class Foreign(Training):
    __module__ = "theirs"


class ForeignObjective(Training):
    __module__ = Training.__module__
    objective = Foreign()


class OnDevice(Training):
    __module__ = Training.__module__

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cuda")


class ForeignNetwork(Training):
    __module__ = Training.__module__

    def __init__(self) -> None:
        super().__init__()
        self.nets["g"][0].__class__ = type("Theirs", (nn.Conv2d,), {"__module__": "theirs"})


@pytest.mark.parametrize(
    ("kind", "num_later"),
    [
        (Training, (4 + 4 + 4, 2)),
        (ForeignNetwork, (4 + 4, 2)),
        (Foreign, (0, 0)),
        (ForeignObjective, (0, 0)),
        (OnDevice, (0, 0)),
    ],
)
def test_what_code_of_other_people_may_change_is_not_left_for_later(
    kind: type[Training], num_later: tuple[int, int]
) -> None:
    training, written, changed = kind(), [], threading.Event()
    assert tuple(map(len, list_steady(training))) == num_later
    before, writer = training.bits(), BackgroundWriter(training)

    def write(state: Any) -> Path:
        assert changed.wait(20)
        return collect_into(written)(state)

    writer.begin(training.state(), write)
    training.step_gate.wait()
    for tensor in list_tensors(training.state()):
        tensor.fill_(7)
    changed.set()
    writer.collect(wait=True)
    assert equal(written[0], before)


def test_a_snapshot_copies_every_tensor_once_and_all_else() -> None:
    weight = torch.arange(6.0)
    state = {"a": weight, "tied": weight.detach(), "b": [weight[:3], (1, {"best": 0.5})], "none": None}
    taken = Snapshot(state).take()
    state["b"][1][1]["best"] = 0.7
    weight.zero_()
    assert taken["a"] is taken["tied"] and torch.equal(taken["a"], torch.arange(6.0))
    assert torch.equal(taken["b"][0], torch.arange(3.0)) and taken["b"][1] == (1, {"best": 0.5})


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.arange(6.0).expand(4, 6),
        torch.arange(12)[::3],
        torch.tensor(3, dtype=torch.int64),
        torch.zeros(0, 3),
        torch.arange(4.0).to(torch.bfloat16),
        torch.eye(3).to_sparse(),
        torch.view_as_complex(torch.arange(8.0).reshape(4, 2)),
    ],
)
def test_every_layout_is_copied_in_the_order_of_dimensions(tensor: Tensor) -> None:
    for later in ([], [tensor]):
        copied, tied = Snapshot([tensor, tensor.detach()], later).take()
        assert copied.dtype == tensor.dtype and copied.layout == tensor.layout
        assert torch.equal(copied.to_dense(), tensor.to_dense()) and torch.equal(tied.to_dense(), tensor.to_dense())
        if tensor.layout == torch.strided:
            assert copied.is_contiguous() and copied is tied
            assert copied.data_ptr() != tensor.data_ptr() or tensor.numel() == 0


def test_an_error_of_the_writer_is_raised_once_where_it_is_asked_for() -> None:
    def fail(state: Any) -> Path:
        raise TrainingError("the disk is full")

    writer = BackgroundWriter()
    writer.begin({}, fail)
    with pytest.raises(RuntimeError, match="has not been collected"):
        writer.begin({}, fail)
    with pytest.raises(TrainingError, match="disk is full"):
        writer.collect(wait=True)
    assert writer.collect(wait=True) is None


@pytest.mark.parametrize(("kind", "method"), [(Snapshot, "copy_rest"), (threading.Thread, "start")])
def test_no_step_waits_for_a_copy_that_failed(kind: type, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training, written = Training(), []
    writer = BackgroundWriter(training)

    def fail(*_: Any) -> None:
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(kind, method, fail)
        with pytest.raises(RuntimeError, match="no room"):
            writer.begin(training.state(), collect_into(written))
            writer.collect(wait=True)
    training.step()
    before = training.bits()
    writer.begin(training.state(), collect_into(written))
    writer.collect(wait=True)
    assert equal(written[0], before)


def test_a_copy_of_a_model_waits_for_no_checkpoint() -> None:
    training = Training()
    training.step_gate.close()
    copy.deepcopy(training).step_gate.wait()
