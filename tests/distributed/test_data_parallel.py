"""Two processes with a batch each train the same weights as one process with both batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.distributed

SCRIPT = Path(__file__).parent / "parallel_training.py"
MODEL_TYPES = [
    "SRModel",
    "SRGANSpecModel",
    "ESRGANSpecModel",
    "BebyGANSpecModel",
    "SPSRModel",
    "ESRGANSimpleGatedDegradationWSpecModel",
]


def run(launcher: list[str], model_type: str, output: Path) -> dict:
    finished = subprocess.run([*launcher, str(SCRIPT), model_type, str(output)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_two_ranks_equal_one_process(model_type: str, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    single = run([sys.executable], model_type, tmp_path / "one.pt")
    double = run(torchrun, model_type, tmp_path / "two.pt")
    assert single["networks"].keys() == double["networks"].keys()
    for name, expected in single["networks"].items():
        for key, value in expected.items():
            torch.testing.assert_close(double["networks"][name][key], value, rtol=1e-5, atol=1e-5, msg=f"{name} {key}")
    assert double["logs"] == pytest.approx(single["logs"], rel=1e-4, abs=1e-5)
