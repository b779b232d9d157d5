"""The launch scripts start what they document."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tiny_run import PROJECT

RECORDER = """#!/bin/sh
printf '%s\\n' "$(basename "$0")" "$@" > "$RECORD"
printf '%s\\n' "$MASTER_PORT" > "$RECORD.port"
"""


def run_script(name: str, arguments: list[str], tmp_path: Path, **environment: str) -> list[str]:
    """Runs a script with programs that write down how they were called."""
    for program in ("python", "srun", "scontrol"):
        file = tmp_path / program
        file.write_text(RECORDER)
        file.chmod(0o755)
    record = tmp_path / "record"
    clean = {key: value for key, value in os.environ.items() if key not in ("MASTER_PORT", "NNODES", "PYTHON")}
    variables = {**clean, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(record), **environment}
    command = ["bash", str(PROJECT / "scripts" / name), *arguments]
    subprocess.run(command, env=variables, cwd=tmp_path, check=True)
    return record.read_text().splitlines()


def test_dist_train(tmp_path: Path) -> None:
    called = run_script("dist_train.sh", ["2", "a b.yml", "--force_yml", "scale=2"], tmp_path)
    assert called[:4] == ["python", "-m", "basicsr.engine.launch", "--standalone"]
    assert called[4:8] == ["--nproc_per_node", "2", "--max_restarts", "0"]
    assert called[8].endswith("basicsr/train.py")
    assert Path(called[8]).resolve() == PROJECT / "basicsr/train.py"
    assert called[9:] == ["-opt", "a b.yml", "--launcher", "pytorch", "--force_yml", "scale=2"]


def test_dist_train_on_several_machines(tmp_path: Path) -> None:
    called = run_script("dist_train.sh", ["8", "x.yml"], tmp_path, NNODES="2", MASTER_ADDR="node1")
    assert "--standalone" not in called
    assert called[called.index("--nnodes") + 1] == "2"
    assert called[called.index("--rdzv_endpoint") + 1] == "node1:29500"


def test_autoresume_restarts(tmp_path: Path) -> None:
    called = run_script("dist_train_autoresume.sh", ["4", "x.yml", "--debug"], tmp_path)
    assert called[:4] == ["python", "-m", "basicsr.engine.launch", "--standalone"]
    assert called[called.index("--max_restarts") + 1] == "3"
    assert called[-6:] == ["-opt", "x.yml", "--launcher", "pytorch", "--debug", "--auto_resume"]


def test_dist_test(tmp_path: Path) -> None:
    called = run_script("dist_test.sh", ["2", "x.yml"], tmp_path)
    assert called[-5].endswith("basicsr/test.py")
    assert called[-4:] == ["-opt", "x.yml", "--launcher", "pytorch"]


def test_slurm_ports_are_decimal(tmp_path: Path) -> None:
    called = run_script("slurm_train.sh", ["x.yml"], tmp_path, SLURM_JOB_ID="0000899")
    assert called == [
        "srun",
        "--kill-on-bad-exit=1",
        "python",
        "-u",
        "basicsr/train.py",
        "-opt",
        "x.yml",
        "--launcher",
        "slurm",
        "--auto_resume",
    ]
    assert (tmp_path / "record.port").read_text() == "20899\n"


@pytest.mark.parametrize("name", ["dist_train.sh", "dist_train_autoresume.sh", "dist_test.sh", "slurm_train.sh"])
def test_usage(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(["bash", str(PROJECT / "scripts" / name)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "usage" in ended.stderr
