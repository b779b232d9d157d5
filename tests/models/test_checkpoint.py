"""Checkpoints: whole or absent, found again, damaged ones passed over, one state per rank."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.models import checkpoint
from basicsr.models.checkpoint import (
    Position,
    find_latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from basicsr.utils.errors import TrainingError, WeightsError


class Model:
    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def training_state(self) -> dict[str, Any]:
        weights = {"weight": torch.full((1000,), self.value)}
        return {"networks": {"g": weights}, "pair_pool": {"lq": torch.arange(3)}, "best_metrics": {"a": {"b": 1.5}}}


def test_round_trip(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, Model(2.0), Position(120, 3, 16), "digest")
    assert path.name == "120.state"
    restored = load_checkpoint(path)
    assert restored.position == Position(120, 3, 16)
    assert restored.options_digest == "digest"
    assert torch.equal(restored.model["networks"]["g"]["weight"], torch.full((1000,), 2.0))
    assert torch.equal(restored.model["pair_pool"]["lq"], torch.arange(3))
    assert restored.model["best_metrics"] == {"a": {"b": 1.5}}
    content = torch.load(path, weights_only=True)
    assert (content["format"], content["iter"], content["epoch"]) == (1, 120, 3)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_damaged_newest_is_passed_over_with_a_notice(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for iteration in (8, 9, 100):
        save_checkpoint(tmp_path, Model(), Position(iteration))
    newest = tmp_path / "100.state"
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    elif damage == "empty":
        content = bytearray()
    newest.write_bytes(content)
    if damage == "other":
        torch.save({"epoch": 1, "iter": 100, "optimizers": []}, newest)
    with caplog.at_level(logging.WARNING, "basicsr"):
        found = find_latest_checkpoint(tmp_path)
    assert found is not None and found.path == tmp_path / "9.state"
    assert "100.state" in caplog.text
    with pytest.raises(WeightsError, match=r"100\.state"):
        load_checkpoint(newest)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room, then go on with --auto_resume"),
        (errno.EFBIG, "raise the limit"),
        (errno.EROFS, "make it"),
    ],
)
def test_a_failing_write_leaves_the_old_file_and_no_other_and_says_what_to_do(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint.time, "sleep", lambda _: None)
    path = save_checkpoint(tmp_path, Model(1.0), Position(5))
    before = path.read_bytes()

    def torn(obj: object, file: Any) -> None:
        file.write(b"half of")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(torch, "save", torn)
    message = rf"5\.state, even after three attempts: .*{os.strerror(number)}; {re.escape(remedy)}"
    with pytest.raises(TrainingError, match=message) as caught:
        save_checkpoint(tmp_path, Model(2.0), Position(5))
    assert caught.value.exit_code == 4
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_works_at_the_third_try_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.time, "sleep", lambda _: None)
    attempts: list[int] = []
    real_save = torch.save

    def flaky(obj: object, file: Any) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError(5, "Input/output error")
        real_save(obj, file)

    monkeypatch.setattr(torch, "save", flaky)
    assert load_checkpoint(save_checkpoint(tmp_path, Model(), Position(7))).position.iteration == 7


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for iteration in (2, 10, 9, 30):
        save_checkpoint(tmp_path, Model(), Position(iteration), keep=2)
    (tmp_path / "notes.state").write_text("not a checkpoint")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["30.state", "10.state"]
    assert (tmp_path / "notes.state").exists()


def test_nothing_to_find(tmp_path: Path) -> None:
    assert find_latest_checkpoint(tmp_path / "missing") is None
    with pytest.raises(WeightsError, match=r"path\.resume_state"):
        load_checkpoint(tmp_path / "3.state")


def fake_other_ranks(monkeypatch: pytest.MonkeyPatch, world_size: int) -> list[weakref.ref[memoryview]]:
    """Gives rank 0 others with states of their own; returns what they have sent."""
    sent: list[weakref.ref[memoryview]] = []

    def send(rank: int) -> memoryview:
        assert not [ref for ref in sent if ref() is not None], "two states are in memory"
        buffer = io.BytesIO()
        torch.save({"lq": torch.tensor(rank)}, buffer)
        content = buffer.getbuffer()
        sent.append(weakref.ref(content))
        return content

    monkeypatch.setattr(checkpoint, "ask_rank", send)
    monkeypatch.setattr(checkpoint, "release_ranks", lambda: None)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (0, world_size))
    return sent


def test_the_states_of_other_ranks_are_in_memory_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = fake_other_ranks(monkeypatch, 4)
    path = save_checkpoint(tmp_path, Model(), Position(4))
    assert len(sent) == 3
    # The file is one that torch reads, and has the state of rank 0 where a run of one process has it.
    assert len(torch.load(path, weights_only=True)["rank_states"]) == 1


def test_a_state_of_another_rank_is_asked_for_again_when_a_save_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = fake_other_ranks(monkeypatch, 2)
    real_replace, attempts = os.replace, []

    def flaky(*paths: Path) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError(5, "Input/output error")
        real_replace(*paths)

    monkeypatch.setattr(checkpoint.time, "sleep", lambda _: None)
    monkeypatch.setattr(os, "replace", flaky)
    path = save_checkpoint(tmp_path, Model(), Position(4))
    assert len(sent) == 2
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (1, 2))
    assert load_checkpoint(path).model["pair_pool"]["lq"] == 1


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_state_of_another_rank_is_passed_over(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_other_ranks(monkeypatch, 2)
    save_checkpoint(tmp_path, Model(), Position(3))
    newest = save_checkpoint(tmp_path, Model(), Position(4))
    if damage == "missing":
        torch.save(torch.load(newest, weights_only=True), newest)
    else:
        content = bytearray(newest.read_bytes())
        content[content.rindex(b"data.pkl", 0, content.rindex(b"data.pkl")) + 40] ^= 0xFF
        newest.write_bytes(content)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (1, 2))
    found = find_latest_checkpoint(tmp_path)
    assert found is not None and found.position.iteration == 3
    assert ("has no rank_states/1" if damage == "missing" else "4.state is damaged") in caplog.text


def test_states_that_an_earlier_version_kept_in_one_list_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path, Model(), Position(4, 1))
    content = torch.load(path, weights_only=True)
    content["sampler"]["world_size"] = 2
    torch.save({**content, "rank_states": [{"lq": torch.tensor(rank)} for rank in range(2)]}, path)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (1, 2))
    assert load_checkpoint(path).model["pair_pool"]["lq"] == 1


def test_every_rank_gets_its_own_state_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_other_ranks(monkeypatch, 2)
    released: list[bool] = []
    monkeypatch.setattr(checkpoint, "release_ranks", lambda: released.append((tmp_path / "4.state").exists()))
    path = save_checkpoint(tmp_path, Model(), Position(4, 1, 6))
    assert released == [True]
    for rank, pool in ((0, torch.arange(3)), (1, torch.tensor(1))):
        monkeypatch.setattr(checkpoint, "get_dist_info", lambda rank=rank: (rank, 2))
        restored = load_checkpoint(path)
        assert torch.equal(restored.model["pair_pool"]["lq"], pool)
        assert restored.position == Position(4, 1, 6)
    monkeypatch.setattr(checkpoint, "get_dist_info", lambda: (0, 1))
    assert load_checkpoint(path).position == Position(4, 1, 6, epoch_ranks=2)


def test_places_of_earlier_versions_are_those_of_each_rank(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, Model(), Position(4, 1))
    content = torch.load(path)
    torch.save({**content, "sampler": {"epoch": 1, "start": 6, "world_size": 2}}, path)
    assert load_checkpoint(path).position == Position(4, 1, 12, epoch_ranks=2)
