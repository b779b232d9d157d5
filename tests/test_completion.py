"""Completion of a command line, as its function gives it and as shells do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import environment

from basicsr.completion import SCRIPTS, WEIGHTS, complete


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("experiments/mine", "experiments/other", "options"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("options/a.yml", "options/b.txt", "net.pth", "photo.jpg"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WEIGHTS, "RealESRGAN_x4plus SwinIR_L")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tr", ["train"]),
        ("spectrum p", ["plot"]),
        ("train --st", ["--strict"]),
        ("train -opt options/", ["options/a.yml"]),
        ("train -opt o", ["options/"]),
        ("train -opt options/a.yml --launcher p", ["pytorch"]),
        ("upscale photo.jpg -m Real", ["RealESRGAN_x4plus"]),
        ("upscale -m mi", ["mine"]),
        ("export n", ["net.pth"]),
        ("interpolate net.pth ot", ["other"]),
        ("score photos -m mi", ["mine"]),
        ("upscale --tta --precision b", ["bf16"]),
        ("spectrum bands --formats png s", ["svg"]),
        ("data lmdb --input ", []),
        ("nothing x", []),
    ],
)
def test_the_last_word_is_completed(line: str, expected: list[str]) -> None:
    assert complete(line.split(" ")) == expected


ASK = {
    "bash": "source script; COMP_WORDS=(basicsr {0}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _basicsr; "
    'printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": "compdef() {{ }}; compadd() {{ while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }}; "
    "source script; words=(basicsr {0}); CURRENT=$#words; _basicsr",
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes(shell: str, project: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (project / "script").write_text(SCRIPTS[shell].format(names="RealESRGAN_x4plus SwinIR_L", variable=WEIGHTS))
    command = project / "basicsr"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m basicsr "$@"\n')
    command.chmod(0o755)
    path = {**environment(), "PATH": f"{project}:{os.environ['PATH']}"}
    for words, expected in (("upscale -m Sw", "SwinIR_L"), ("test -opt options/a", "options/a.yml")):
        asked = [program, "-c", ASK[shell].format(words)]
        shown = subprocess.run(asked, capture_output=True, text=True, cwd=project, env=path, check=False)
        assert shown.stdout.split() == [expected], shown.stderr
