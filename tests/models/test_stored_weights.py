"""Saves: weights are stored once, named by their digest and written first, beside the training and as they were."""

from __future__ import annotations

import io
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import write_options

from basicsr.models import build_model, checkpoint
from basicsr.models.checkpoint import Position, find_latest_checkpoint, load_checkpoint, save_checkpoint
from basicsr.models.saving import BackgroundWriter
from basicsr.options import parse_options
from basicsr.utils import atomic
from basicsr.utils.errors import TrainingError, WeightsError

ENTRIES = {"net_g": {"params": "g", "params_ema": "g_ema"}, "net_d": {"params": "d"}}


class Model:
    """Three networks of 1,000 weights, one that no file holds, and an optimizer's state of as much again."""

    def __init__(self, value: float = 1.0) -> None:
        self.networks = {name: {"weight": torch.full((1000,), value)} for name in ("g", "d", "g_ema", "teacher")}

    def training_state(self) -> dict[str, Any]:
        return {"networks": self.networks, "optimizers": {"g": torch.full((1000,), 5.0)}, "pair_pool": {}}

    def own_state(self) -> dict[str, Any]:
        return {}


def save(root: Path, iteration: int, model: Model | None = None, **options: Any) -> Path:
    weights = {root / f"models/{name}_{iteration}.pth": entries for name, entries in ENTRIES.items()}
    position = Position(iteration)
    return save_checkpoint(root / "training_states", model or Model(iteration), position, weights=weights, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_are_stored_once_and_come_back(tmp_path: Path) -> None:
    path = save(tmp_path, 5, Model(2.0))
    content = torch.load(path, weights_only=True)
    assert content["format"] == 2 and list(content["model"]["networks"]) == ["teacher"]
    assert set(torch.load(tmp_path / "models/net_g_5.pth", weights_only=True)) == {"params", "params_ema"}
    tensors = 5 * 4000
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.*")) < 1.6 * tensors
    restored = load_checkpoint(path).model["networks"]
    assert {name: float(state["weight"].mean()) for name, state in restored.items()} == {
        "g": 2.0,
        "g_ema": 2.0,
        "d": 2.0,
        "teacher": 2.0,
    }


def test_a_real_model_s_files_are_those_that_it_exports(tmp_path: Path) -> None:
    file = write_options(tmp_path)
    opt, _ = parse_options(str(tmp_path), True, ["-opt", str(file)])
    model = build_model(opt)
    model.save_networks(1)
    models = Path(opt["path"]["models"])
    exported = {path.name: path.read_bytes() for path in models.iterdir()}
    assert set(exported) == {path.name for path in model.weights_files(1)} == {"net_g_1.pth", "net_d_1.pth"}
    model.save(0, 1)
    assert {path.name: path.read_bytes() for path in models.iterdir()} == exported
    stored = load_checkpoint(Path(opt["path"]["training_states"]) / "1.state")
    assert set(stored.model["networks"]) == {"g", "d", "g_ema"}
    model.load_training_state(stored.model)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("truncated", "net_g_9.pth are damaged or another file: their SHA-256 begins with"),
        ("flipped", "net_g_9.pth are damaged or another file: their SHA-256 begins with"),
        ("other", "net_g_9.pth are damaged or another file: their SHA-256 begins with"),
        ("missing", "lacks its weights net_g_9.pth: the file is neither in"),
    ],
)
def test_weights_that_are_not_what_was_written_are_passed_over_with_their_state(
    damage: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for iteration in (8, 9):
        save(tmp_path, iteration)
    file = tmp_path / "models/net_g_9.pth"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "other":
        file.write_bytes((tmp_path / "models/net_g_8.pth").read_bytes())
    else:
        file.unlink()
    with caplog.at_level(logging.WARNING, "basicsr"):
        found = find_latest_checkpoint(tmp_path / "training_states")
    assert found is not None and found.position.iteration == 8
    assert float(found.model["networks"]["g"]["weight"][0]) == 8.0
    assert says in caplog.text and "9.state" in caplog.text and "trying an older one" in caplog.text
    with pytest.raises(WeightsError, match=r"9\.state.*net_g_9\.pth"):
        load_checkpoint(tmp_path / "training_states/9.state")


def test_a_moved_run_and_copies_beside_the_state_are_found(tmp_path: Path) -> None:
    save(tmp_path / "before", 3)
    moved = (tmp_path / "before").rename(tmp_path / "after")
    assert float(load_checkpoint(moved / "training_states/3.state").model["networks"]["d"]["weight"][0]) == 3.0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = (moved / "training_states/3.state").rename(elsewhere / "3.state")
    with pytest.raises(WeightsError, match=r"net_g_3\.pth: the file is neither in .*models nor beside the checkpoint"):
        load_checkpoint(state)
    for file in (moved / "models").iterdir():
        file.rename(elsewhere / file.name)
    assert float(load_checkpoint(state).model["networks"]["g"]["weight"][0]) == 3.0


@pytest.mark.parametrize(("torn", "left"), [("net_d_5", ["net_g_5.pth"]), ("5.state", ["net_d_5.pth", "net_g_5.pth"])])
def test_the_state_is_written_after_all_that_it_names(
    torn: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse(source: Any, target: Any) -> None:
        if torn in str(target):
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    save(tmp_path, 4)
    monkeypatch.setattr(checkpoint, "SAVE_ATTEMPTS", 1)
    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(TrainingError, match=rf"{torn}.*No space left") as caught:
        save(tmp_path, 5)
    assert caught.value.exit_code == 4
    assert names(tmp_path / "training_states") == ["4.state"]
    assert [name for name in names(tmp_path / "models") if "_5" in name] == left
    found = find_latest_checkpoint(tmp_path / "training_states")
    assert found is not None and found.position.iteration == 4


def test_states_and_critics_go_together_and_generators_stay(tmp_path: Path) -> None:
    for iteration in (2, 4, 6):
        save(tmp_path, iteration, keep=2)
    assert names(tmp_path / "training_states") == ["4.state", "6.state"]
    expected = [f"net_d_{i}.pth" for i in (4, 6)] + [f"net_g_{i}.pth" for i in (2, 4, 6)]
    assert names(tmp_path / "models") == expected


def test_a_state_of_the_former_format_is_read(tmp_path: Path) -> None:
    apart, within = save(tmp_path, 5), save_checkpoint(tmp_path / "old", Model(5.0), Position(5))
    assert torch.load(within, weights_only=True)["format"] == 1
    one, other = (load_checkpoint(path).model for path in (apart, within))
    assert one.keys() == other.keys()
    for name, state in other["networks"].items():
        assert torch.equal(one["networks"][name]["weight"], state["weight"])


def test_what_is_written_beside_is_the_state_of_the_hand_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, writer, changed = Model(1.0), BackgroundWriter(), threading.Event()
    write = atomic.atomic_save

    def wait_then_write(*arguments: Any, **options: Any) -> None:
        assert changed.wait(20)
        write(*arguments, **options)

    monkeypatch.setattr("basicsr.models.stored_weights.atomic_save", wait_then_write)
    save(tmp_path, 7, model, writer=writer)
    assert writer.is_busy and writer.collect(wait=False) is None
    for state in model.networks.values():
        state["weight"].fill_(torch.nan)
    changed.set()
    assert writer.collect(wait=True) == tmp_path / "training_states/7.state"
    assert writer.collect(wait=True) is None and not writer.is_busy
    assert float(load_checkpoint(tmp_path / "training_states/7.state").model["networks"]["g"]["weight"].sum()) == 1000.0


@pytest.mark.parametrize("pool", [{}, {"lq": torch.arange(3)}])
def test_ranks_go_on_beside_a_save_unless_they_have_pools(
    pool: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def send(rank: int) -> memoryview:
        events.append(f"asked {rank}")
        buffer = io.BytesIO()
        torch.save({**pool, "rank": rank}, buffer)
        return buffer.getbuffer()

    def release() -> None:
        events.append("written" if (tmp_path / "training_states/4.state").exists() else "released")

    monkeypatch.setattr(checkpoint, "ask_rank", send)
    monkeypatch.setattr(checkpoint, "release_ranks", release)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (0, 3))
    model, writer = Model(), BackgroundWriter()
    state = model.training_state()
    monkeypatch.setattr(model, "training_state", lambda: {**state, "pair_pool": pool})
    path = save(tmp_path, 4, model, writer=writer)
    assert events == ["asked 1", "asked 2", "written" if pool else "released"]
    assert writer.is_busy == (not pool) and writer.collect(wait=True) == (None if pool else path)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (2, 3))
    assert load_checkpoint(path).model["pair_pool"]["rank"] == 2
