"""Help and wrong flags of analysis commands are answered before anything is loaded that takes time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import PROJECT, environment

PROGRAM = """
import atexit, runpy, sys
heavy = {"torch", "torchvision", "numpy", "scipy", "cv2", "matplotlib", "pydantic", "yaml"}
atexit.register(lambda: sys.stderr.write(f"loaded: {sorted(heavy & set(sys.modules))}"))
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("basicsr/cli.py -h", 0, "upscale"),
        ("basicsr/cli.py score -h", 0, "--spatial_window_size"),
        ("basicsr/cli.py spectrum robustness -h", 0, "--noise_std"),
        ("basicsr/cli.py score photos -m run --colour", 2, "unrecognized arguments: --colour"),
        ("basicsr/cli.py spectrum robustness --mask round", 2, "--mask: invalid choice: 'round'"),
        ("scripts/test_iqa.py -h", 0, "--CLIVE_crop_spatial"),
        ("scripts/robustness_analysis_under_frequency_perturbation_ensemble.py", 2, "required: --net2"),
    ],
)
def test_answers_load_nothing_heavy(command: str, code: int, words: str, tmp_path: Path):
    script, *arguments = command.split()
    program = [sys.executable, "-c", PROGRAM, str(PROJECT / script), *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stdout + ended.stderr
    assert ended.stderr.endswith("loaded: []")
