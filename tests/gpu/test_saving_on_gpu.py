"""Snapshots of a training's state on a CUDA device: taken without waiting for it, and right whatever comes next."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_training_on_gpu import no_waiting

from basicsr.models.saving import BackgroundWriter, Snapshot

pytestmark = pytest.mark.gpu


def make_state() -> dict[str, Any]:
    weight = torch.ones(1 << 20, device="cuda")
    return {"weight": weight, "tied": weight.detach(), "step": torch.tensor(3.0), "best": {"psnr": 30.5}}


def take_in_thread(snapshot: Snapshot) -> Any:
    taken: list[Any] = []
    thread = threading.Thread(target=lambda: taken.append(snapshot.take()))
    thread.start()
    thread.join()
    return taken[0]


def test_a_snapshot_is_copied_on_the_device_without_waiting() -> None:
    state = make_state()
    with no_waiting():
        snapshot = Snapshot(state)
        state["weight"].fill_(torch.nan)
    taken = take_in_thread(snapshot)
    assert taken["weight"].device.type == "cpu" and float(taken["weight"].sum()) == 1 << 20
    assert torch.equal(taken["tied"], taken["weight"])
    assert taken["step"] == 3.0 and taken["best"] == {"psnr": 30.5}


def test_what_the_host_keeps_for_an_optimizer_on_the_device_is_copied_at_once() -> None:
    weight = torch.nn.Parameter(torch.ones(8, device="cuda"))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.Adam([weight], foreach=True)  # counts its steps on the host
    optimizer.step()
    model = type("Model", (SimpleNamespace,), {"__module__": "basicsr.models.sr_model"})()
    model.device = torch.device("cuda")
    writer, written, may_write = BackgroundWriter(model), [], threading.Event()

    def write(state: Any) -> Path:
        assert may_write.wait(20)
        written.append(state)
        return Path("written")

    writer.begin(optimizer.state_dict(), write)
    optimizer.step()
    may_write.set()
    writer.collect(wait=True)
    kept = written[0]["state"][0]
    assert kept["step"] == 1 and kept["exp_avg"].device.type == "cpu"
    assert torch.allclose(kept["exp_avg"], torch.full((8,), 0.1))


def test_a_device_without_room_has_its_state_copied_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7 << 20, 80 << 30))
    before = torch.cuda.memory_allocated()
    snapshot = Snapshot(state)
    assert torch.cuda.memory_allocated() == before
    state["weight"].fill_(torch.nan)
    assert float(take_in_thread(snapshot)["weight"].sum()) == 1 << 20
