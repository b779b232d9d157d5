"""``basicsr doctor``: what is wrong is said with what to do, and estimates are those of the run that follows."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_run import PROJECT, environment, write_options

from basicsr.cli import main
from basicsr.engine import machine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)  # which `basicsr train` replaces
    # What is on this machine's path is not what is tested.
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    return tmp_path


def find_problems(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *flags])
    return code, json.loads(capsys.readouterr().out)


def test_required_versions_are_those_of_the_requirements() -> None:
    lines = (PROJECT / "requirements.txt").read_text().split()
    assert [f"{name}>={least}" for name, (_, least) in machine.REQUIRED.items()] == lines


def test_a_package_that_is_missing_or_old_is_named_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "REQUIRED", {"no-such-thing": ("no_such_thing", "1"), "numpy": ("numpy", "999")})
    code, said = find_problems(capsys)
    assert code == 3
    assert "no-such-thing is missing: pip install 'no-such-thing>=1'" in said["problems"]
    assert any(re.match(r"numpy \S+ is too old: pip install --upgrade", text) for text in said["problems"])


def test_another_basicsr_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "basicsr").mkdir()
    (home / "basicsr/__init__.py").touch()
    published = SimpleNamespace(version="1.4.2")
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: [published])
    code, said = find_problems(capsys)
    text = "\n".join(said["problems"])
    assert code == 3
    assert f"{home / 'basicsr'} is another basicsr" in text
    assert "basicsr 1.4.2 is installed, too" in text and "pip uninstall basicsr" in text


def test_little_room_is_a_problem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    code, said = find_problems(capsys)
    text = "\n".join(said["problems"])
    assert code == 3
    assert "make room, or set path.experiments_root" in text and "--shm-size" in text


def test_it_works_where_pytorch_cannot_be_imported(home: Path) -> None:
    (home / "torch.py").write_text("raise ImportError('libcudart.so is not there')")
    path = {**environment(), "PYTHONPATH": f"{home}:{PROJECT}"}
    command = [sys.executable, "-m", "basicsr", "doctor"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=home, env=path, check=False)
    assert ended.returncode == 3, ended.stderr
    assert "cannot be imported (libcudart.so is not there): pip install --force-reinstall torch" in ended.stdout


def test_missing_files_are_listed_and_nothing_is_measured(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options(home, path={"pretrain_network_g": "absent.pth"})
    code, said = find_problems(capsys, "-opt", str(file))
    assert code == 3
    assert any("absent.pth" in text for text in said["problems"])
    assert said["numbers"] == {}


def test_what_a_training_needs_is_measured(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options(home)
    before = sorted(home.rglob("*"))
    code, said = find_problems(capsys, "-opt", str(file), "--steps", "2", "--force_yml", "train:total_iter=12")
    assert sorted(home.rglob("*")) == before
    assert code == (3 if said["problems"] else 0)
    assert said["run"]["training images"] == "6 images"
    assert said["run"]["validation images of tiny_val"] == "3 images"
    numbers = said["numbers"]
    assert numbers["seconds_to_the_end"] > 12 * numbers["seconds_per_iteration"] > 0
    assert main(["train", "-opt", str(file), "--force_yml", "train:total_iter=12"]) == 0
    states = sorted((home / "experiments/tiny/training_states").glob("*.state"))
    assert len(states) == 4
    kept = sum(path.stat().st_size for folder in ("training_states", "models") for path in walk(home, folder))
    assert numbers["checkpoint_bytes"] == pytest.approx(os.path.getsize(states[-1]), rel=0.1)
    assert numbers["disk_bytes"] == pytest.approx(kept, rel=0.2)


def walk(home: Path, folder: str) -> list[Path]:
    return [path for path in (home / "experiments/tiny" / folder).rglob("*") if path.is_file()]
