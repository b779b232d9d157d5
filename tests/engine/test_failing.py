"""Ends that a user must act on have a final code and are said once; who lost another process ends in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import basicsr.data.loader  # noqa: F401
from basicsr.engine import peers
from basicsr.engine.exits import run_to_exit_code
from basicsr.engine.launch import FINAL_CODES
from basicsr.engine.peers import PeerLost
from basicsr.options import findings  # noqa: F401
from basicsr.utils import errors
from basicsr.utils.errors import DataError, UserError


def list_kinds(kind: type[UserError]) -> list[type[UserError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in list_kinds(child))]


def test_every_mistake_has_a_code_with_which_nothing_is_tried_again() -> None:
    kinds = list_kinds(UserError)
    assert {kind.__name__: kind.exit_code for kind in kinds if kind.__module__ == errors.__name__} == {
        "UserError": 2,
        "OptionsError": 2,
        "DataError": 3,
        "WeightsError": 3,
        "TrainingError": 4,
    }
    assert {kind.exit_code for kind in kinds} <= FINAL_CODES - {130, 143}


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
    ],
)
def test_running_out_of_memory_anywhere_is_one_line_and_code_4(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_to_exit_code(lambda: fail(error)) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "memory" in said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[pair.cc:545] Read error [127.0.0.1]:30104: Connection reset by peer"),
        RuntimeError("[pair.cc:538] Connection closed by peer [127.0.0.1]:1\nmore"),
        torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1"),
        PeerLost("the loading processes have ended"),
    ],
)
def test_a_process_that_lost_another_one_says_so_in_a_line(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(peers, "get_dist_info", lambda: (1, 2))
    monkeypatch.setattr(peers.time, "sleep", waited.append)
    assert run_to_exit_code(lambda: fail(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith("Process 1 of 2 ends, as another one has ended") and said.count("\n") == 1
    assert bool(waited) == (not isinstance(error, PeerLost))


def test_what_breaks_in_a_single_process_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="reset by peer"):
        run_to_exit_code(lambda: fail(RuntimeError("Connection reset by peer")))


def test_a_text_is_said_by_the_first_process_that_comes_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()
    monkeypatch.setattr(peers.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(peers.dist.distributed_c10d, "_get_default_store", lambda: store)
    assert [peers.speaks_for_all(text) for text in ("a", "a", "b", "a")] == [True, False, True, False]


def test_without_a_store_every_process_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "False",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("basicsr.engine.exits.ignore_signals", lambda: None)
    assert run_to_exit_code(lambda: fail(DataError("no such folder"))) == 3
    assert capsys.readouterr().err == "no such folder\n"


def test_a_name_that_no_file_can_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    name = "é" * 300
    assert run_to_exit_code(lambda: Path(name).stat() and 0) == UserError.exit_code
    assert capsys.readouterr().err.startswith(f"{name}: File name too long")
