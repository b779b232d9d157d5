"""Crashes are tried again; what the user has to fix is not, on one machine and on several."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import PROJECT, environment
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from basicsr.engine.launch import find_final_code

RANK = """import os, sys, time
folder, code_of_rank_1 = sys.argv[1:]
rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
open(f"{folder}/rank{rank}_attempt{attempt}", "w").close()
while not os.path.exists(f"{folder}/rank{1 - int(rank)}_attempt{attempt}"):
    time.sleep(0.02)
if rank == "0":
    # One that has lost its partner: stopped by the launcher where that is on this machine, else ended by an error.
    time.sleep(2)
    sys.exit(1)
if int(code_of_rank_1) < 0:
    os.kill(os.getpid(), -int(code_of_rank_1))
sys.exit(int(code_of_rank_1))
"""


def begin(folder: Path, code: int, *flags: str) -> subprocess.Popen[str]:
    (folder / "rank.py").write_text(RANK)
    command = [sys.executable, "-m", "basicsr.engine.launch", *flags, "--max_restarts=1", str(folder / "rank.py")]
    return subprocess.Popen([*command, str(folder), str(code)], stderr=subprocess.PIPE, text=True, env=environment())


def count_attempts(folder: Path) -> int:
    return len(list(folder.glob("rank1_attempt*")))


@pytest.mark.parametrize(
    ("codes", "final"),
    [
        ([2], 2),
        ([-15, 3], 3),
        ([1, 4], 4),
        ([130, 130], 130),
        ([130, -15], 130),
        ([1, 130], None),
        ([-9, 130], None),
        ([-9, -15], None),
        ([1, 1], None),
    ],
)
def test_which_codes_are_final(codes: list[int], final: int | None) -> None:
    assert find_final_code([ProcessFailure(rank, 1, code, "") for rank, code in enumerate(codes)]) == final


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("code", "ends_with", "attempts"),
    [(3, 3, 1), (130, 130, 1), (-signal.SIGKILL, 1, 2)],
)
def test_on_one_machine(code: int, ends_with: int, attempts: int, tmp_path: Path) -> None:
    process = begin(tmp_path, code, "--standalone", "--nproc_per_node=2")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == ends_with, errors
    assert count_attempts(tmp_path) == attempts
    assert "Traceback" not in errors


@pytest.mark.distributed
@pytest.mark.parametrize(("code", "attempts"), [(3, 1), (1, 2)])
def test_on_two_machines(code: int, attempts: int, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = ("--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}")
    machines = [begin(tmp_path, code, *meeting, "--rdzv_id=x") for _ in range(2)]
    errors = [machine.communicate(timeout=90)[1] for machine in machines]
    assert sorted(machine.returncode for machine in machines) == [1, code], errors
    assert count_attempts(tmp_path) == attempts


@pytest.mark.distributed
def test_a_missing_option_file_is_reported_once(tmp_path: Path) -> None:
    command = ["bash", str(PROJECT / "scripts/dist_train_autoresume.sh"), "2", str(tmp_path / "none.yml")]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode in (2, 3)
    assert ended.stderr.count("none.yml") == 1
