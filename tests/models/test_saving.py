"""A save beside the training: what is written is the state of its moment, and what the loop waits for is little."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_run import write_options
from torch import Tensor, nn

from basicsr.engine.loaders import build_training_batches
from basicsr.models import build_model, saving
from basicsr.models.checkpoint import Position, load_checkpoint, save_checkpoint
from basicsr.models.saving import BackgroundWriter, Snapshot, list_tensors, make_writer, map_tensors
from basicsr.options import parse_options
from basicsr.utils.errors import TrainingError


class Training:
    """A network with some steps of Adam behind it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.1)
        self.step()

    def step(self) -> None:
        for parameter in self.net.parameters():
            parameter.grad = torch.ones_like(parameter)
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        return {"net": dict(self.net.state_dict()), "optimizer": self.optimizer.state_dict()}

    def bits(self) -> list[Tensor]:
        return [tensor.clone() for tensor in list_tensors(self.state())]


class Waiting(BackgroundWriter):
    """Tells when a step comes to wait."""

    def __init__(self, *args: Any) -> None:
        self.is_asked = threading.Event()
        super().__init__(*args)

    def hold_step(self, *_: object) -> None:
        self.is_asked.set()
        super().hold_step()


def collect_into(written: list[list[Tensor]]) -> Callable[[Any], Path]:
    def write(state: Any) -> Path:
        written.append([tensor.clone() for tensor in list_tensors(state)])
        return Path("written")

    return write


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_a_step_waits_until_the_optimizers_state_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    training, written = Training(), []
    writer, copy_rest = Waiting([training.optimizer]), Snapshot.copy_rest

    def copy_late(snapshot: Snapshot) -> None:
        assert writer.is_asked.wait(20)
        copy_rest(snapshot)

    monkeypatch.setattr(Snapshot, "copy_rest", copy_late)
    before = training.bits()
    writer.begin(training.state(), collect_into(written))
    training.step()
    assert writer.collect(wait=True) == Path("written")
    assert equal(written[0], before) and not equal(training.bits(), before)


def test_a_real_models_checkpoint_is_the_state_before_the_step_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt, _ = parse_options(str(tmp_path), True, ["-opt", str(write_options(tmp_path))])
    model = build_model(opt)
    _, batch = next(build_training_batches(opt).stream(Position()))

    def step(iteration: int) -> None:
        model.begin_iteration(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        model.update_learning_rate(iteration)

    is_asked, hold_step, copy_rest = threading.Event(), BackgroundWriter.hold_step, Snapshot.copy_rest

    def ask(writer: BackgroundWriter, *_: object) -> None:
        is_asked.set()
        hold_step(writer)

    def copy_late(snapshot: Snapshot) -> None:
        assert is_asked.wait(20)
        copy_rest(snapshot)

    monkeypatch.setattr(BackgroundWriter, "hold_step", ask)
    writer = make_writer(model)
    step(1)
    before = copy.deepcopy(model.training_state())
    monkeypatch.setattr(Snapshot, "copy_rest", copy_late)
    is_asked.clear()
    weights = model.weights_files(1)
    path = save_checkpoint(tmp_path, model, Position(1), weights=weights, writer=writer)
    step(2)
    writer.collect(wait=True)
    saved = load_checkpoint(path).model
    pool = saved.pop("pair_pool"), before.pop("pair_pool")
    assert pool == ({}, {}) and saved.keys() == before.keys()
    for name, entry in before.items():
        assert without_tensors(saved[name]) == without_tensors(entry)
        assert equal(list_tensors(in_order(saved[name])), list_tensors(in_order(entry)))


def in_order(value: Any) -> Any:
    """The same with every dict in the order of its keys."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(entry) for entry in value] if isinstance(value, list) else value


def without_tensors(value: Any) -> Any:
    """The same with nothing in place of tensors."""
    return map_tensors(value, lambda tensor: None)


def test_networks_are_copied_at_once_and_so_is_all_else_without_known_optimizers() -> None:
    for optimizers in (True, False):
        training, written, changed = Training(), [], threading.Event()
        writer = BackgroundWriter([training.optimizer] if optimizers else [])
        write = collect_into(written)

        def write_late(state: Any, write: Any = write, changed: Any = changed) -> Path:
            assert changed.wait(20)
            return write(state)

        before = training.bits()
        writer.begin(training.state(), write_late)
        spoilt = list_tensors(training.state()["net"] if optimizers else training.state())
        for tensor in spoilt:
            tensor.fill_(torch.nan)
        changed.set()
        writer.collect(wait=True)
        assert equal(written[0], before)


def test_a_save_has_the_memory_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    training, made, places = Training(), [], []
    new_like = saving.new_like
    monkeypatch.setattr(saving, "new_like", lambda tensor: made.append(tensor) or new_like(tensor))
    writer = BackgroundWriter([training.optimizer])
    num_weights = len(training.net.state_dict())
    writer.prepare(training.state())
    assert writer.collect(wait=True) is None and len(made) == num_weights
    for _ in range(3):
        made.clear()
        training.step()
        before, written = training.bits(), []

        def write(state: Any, written: Any = written) -> Path:
            places.append(sorted(tensor.data_ptr() for tensor in list_tensors(state["net"])))
            return collect_into(written)(state)

        writer.begin(training.state(), write)
        writer.collect(wait=True)
        assert equal(written[0], before) and not made
    assert places[0] == places[1] == places[2]


def test_memory_that_a_state_needs_no_more_is_let_go() -> None:
    buffers, weight = saving.Buffers(), torch.ones(8)
    first = Snapshot({"a": weight, "b": torch.ones(9)}, buffers)
    place = first.take()["b"].data_ptr()
    first.give_back()
    second = Snapshot({"a": weight}, buffers)
    second.give_back()
    kept = [tensor.data_ptr() for tensors in buffers._free.values() for tensor in tensors]
    assert len(kept) == 1 and place not in kept


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
        torch.view_as_complex(torch.arange(8.0).reshape(4, 2)).conj(),
    ],
)
def test_every_layout_is_copied_as_a_clone_has_it(tensor: Tensor) -> None:
    buffers = saving.Buffers()
    for _ in range(2):
        snapshot = Snapshot([tensor], buffers)
        (copied,) = snapshot.take()
        assert copied.dtype == tensor.dtype and copied.layout == tensor.layout
        assert torch.equal(copied.to_dense(), tensor.to_dense())
        if tensor.layout == torch.strided:
            assert (copied.stride() == tensor.clone().stride() and copied.data_ptr() != tensor.data_ptr()) or not len(
                copied
            )
        snapshot.give_back()


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


@pytest.mark.parametrize("place", ["copying", "thread"])
def test_no_step_waits_for_a_copy_that_failed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    writer = BackgroundWriter([training.optimizer])

    def fail(*_: Any) -> None:
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(
            Snapshot if place == "copying" else threading.Thread, "copy_rest" if place == "copying" else "start", fail
        )
        with pytest.raises(RuntimeError, match="no room"):
            writer.begin(training.state(), collect_into([]))
            writer.collect(wait=True)
    training.step()
    written: list[list[Tensor]] = []
    before = training.bits()
    writer.begin(training.state(), collect_into(written))
    writer.collect(wait=True)
    assert equal(written[0], before)


@pytest.mark.parametrize(
    ("module", "optimizer", "is_later"),
    [
        ("basicsr.models.sr_model", "torch.optim.adam", True),
        ("theirs", "torch.optim.adam", False),
        ("basicsr", "theirs", False),
    ],
)
def test_code_of_other_people_may_change_an_optimizers_state_at_any_moment(
    module: str, optimizer: str, is_later: bool
) -> None:
    model = type("Model", (SimpleNamespace,), {"__module__": module})()
    kind = type("Adam", (torch.optim.Adam,), {"__module__": optimizer})
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    model.device, model.optimizers = torch.device("cpu"), [kind([weight])]
    model.optimizers[0].step()
    assert bool(make_writer(model)._list_later()) == is_later
