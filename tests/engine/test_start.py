"""Help, the version and wrong flags are answered before anything is loaded that takes time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import PROJECT, environment

NAMES_LOADED = """
import atexit, runpy, sys
heavy = {"torch", "torchvision", "numpy", "scipy", "cv2", "matplotlib", "pydantic", "yaml"}
atexit.register(lambda: sys.stderr.write(f"loaded: {sorted(heavy & set(sys.modules))}"))
script = sys.argv[1]
sys.argv[:] = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("basicsr/train.py -h", 0, "--auto_resume"),
        ("basicsr/test.py -h", 0, "--check"),
        ("basicsr/cli.py train -h", 0, "usage: basicsr train"),
        ("basicsr/cli.py test -h", 0, "usage: basicsr test"),
        ("basicsr/train.py -opt x.yml --wrong", 2, "unrecognized arguments: --wrong"),
        ("basicsr/cli.py test -opt x.yml --wrong", 2, "unrecognized arguments: --wrong"),
        ("basicsr/train.py", 2, "-opt"),
        ("basicsr/cli.py -h", 0, "COMMAND"),
        ("basicsr/cli.py options -h", 0, "--schema"),
        ("basicsr/cli.py trian", 2, "invalid choice"),
    ],
)
def test_commands_answer_without_loading_anything_heavy(command: str, code: int, says: str, tmp_path: Path) -> None:
    script, *arguments = command.split()
    program = [sys.executable, "-c", NAMES_LOADED, str(PROJECT / script), *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert ended.returncode == code, ended.stderr
    assert says in ended.stdout + ended.stderr
    assert ended.stderr.endswith("loaded: []")


@pytest.mark.parametrize("module", ["basicsr", "basicsr.utils", "basicsr.utils.errors", "basicsr.cli"])
def test_importing_the_ground_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print([name in sys.modules for name in ('torch', 'numpy', 'cv2', 'pydantic')])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert shown.stdout.strip() == "[False, False, False, False]", shown.stderr
