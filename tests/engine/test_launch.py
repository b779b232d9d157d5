"""Crashes are tried again; what the user has to fix is not, on one machine and on several."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tiny_run import PROJECT, environment, find_free_port
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from basicsr.engine.launch import find_final_code
from basicsr.utils.launcher import is_alive

RANK = """import os, sys, time
folder, code_of_rank_1, patience = sys.argv[1:]
rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
open(f"{folder}/rank{rank}_attempt{attempt}", "w").close()
while not os.path.exists(f"{folder}/rank{1 - int(rank)}_attempt{attempt}"):
    time.sleep(0.02)
if rank == "0":
    # One that has lost its partner: stopped by the launcher where that is on this machine, else ended by an error.
    time.sleep(float(patience))
    sys.exit(1)
if int(code_of_rank_1) < 0:
    os.kill(os.getpid(), -int(code_of_rank_1))
sys.exit(int(code_of_rank_1))
"""


MEETING = """import os, signal, sys, time
from pathlib import Path
import torch.distributed as dist
from basicsr.utils.dist_util import barrier, broadcast_object, init_dist, restart_count, shut_down_dist
folder, *killed = sys.argv[1:]
init_dist("pytorch", "gloo", timeout_s=200)
attempt = broadcast_object(len(list(Path(folder).glob("attempt*"))))
barrier()
if dist.get_rank() == 0:
    Path(folder, f"attempt{attempt}").touch()
Path(folder, f"pid{dist.get_rank()}").write_text(str(os.getpid()))
barrier()
if attempt < len(killed) and killed[attempt] == str(dist.get_rank()):
    os.kill(os.getpid(), signal.SIGKILL)
if killed == ["never"]:
    time.sleep(60)
barrier()
shut_down_dist()
"""


def begin(
    folder: Path, program: str, arguments: Sequence[object], *flags: str, restarts: int = 1
) -> subprocess.Popen[str]:
    (folder / "rank.py").write_text(program)
    command = [sys.executable, "-m", "basicsr.engine.launch", *flags, f"--max_restarts={restarts}"]
    command += [str(folder / "rank.py"), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())


def begin_on_two_machines(
    folder: Path, program: str, arguments: Sequence[object], restarts: int = 1
) -> list[subprocess.Popen[str]]:
    endpoint = f"--rdzv_endpoint=127.0.0.1:{find_free_port()}"
    flags = ("--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", "--rdzv_id=x", endpoint)
    return [begin(folder, program, arguments, *flags, restarts=restarts) for _ in range(2)]


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
    process = begin(tmp_path, RANK, [code, 60], "--standalone", "--nproc_per_node=2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == ends_with, errors
    assert count_attempts(tmp_path) == attempts
    assert "Traceback" not in errors


@pytest.mark.distributed
@pytest.mark.parametrize(("code", "attempts"), [(3, 1), (1, 2)])
def test_on_two_machines(code: int, attempts: int, tmp_path: Path) -> None:
    machines = begin_on_two_machines(tmp_path, RANK, [code, 4])
    errors = [machine.communicate(timeout=240)[1] for machine in machines]
    assert sorted(machine.returncode for machine in machines) == [1, code], errors
    assert count_attempts(tmp_path) == attempts


@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_restarted_processes_meet_again_on_two_machines_whichever_was_killed(tmp_path: Path) -> None:
    machines = begin_on_two_machines(tmp_path, MEETING, [1, 0], restarts=2)
    errors = [machine.communicate(timeout=300)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], errors
    assert len(list(tmp_path.glob("attempt*"))) == 3


@pytest.mark.distributed
def test_processes_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    launcher = begin(tmp_path, MEETING, ["never"], "--standalone", "--nproc_per_node=2")
    files = [tmp_path / f"pid{rank}" for rank in range(2)]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), 120)
    pids = [int(file.read_text()) for file in files]
    launcher.kill()
    wait_until(lambda: not any(map(is_alive, pids)), 10)
    _, errors = launcher.communicate(timeout=10)
    assert errors.count(f"The launcher (process {launcher.pid}) has ended") == 2


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.distributed
def test_a_missing_option_file_is_reported_once(tmp_path: Path) -> None:
    command = ["bash", str(PROJECT / "scripts/dist_train_autoresume.sh"), "2", str(tmp_path / "none.yml")]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode in (2, 3)
    assert ended.stderr.count("none.yml") == 1
