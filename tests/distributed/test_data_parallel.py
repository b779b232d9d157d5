"""Two processes with a batch each train the same weights as one process with both batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.distributed

SCRIPT = Path(__file__).parent / "parallel_training.py"
RELATIVISTIC = ["ESRGANSpecModel", "BebyGANSpecModel", "SPSRModel"]
MODEL_TYPES = ["SRModel", "SRGANSpecModel", *RELATIVISTIC, "ESRGANSimpleGatedDegradationWSpecModel"]
TOLERANCE = 1e-5

Results = dict[str, dict[str, Any]]


def run(launcher: list[str], folder: Path) -> Results:
    """Trains every model type; with and without ``sync_mean``, under ``synced`` and ``local``."""
    folder.mkdir()
    arguments = [text for name in MODEL_TYPES for text in (name, str(folder / f"{name}.pt"))]
    finished = subprocess.run([*launcher, str(SCRIPT), *arguments], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in MODEL_TYPES}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run([sys.executable], tmp_path_factory.mktemp("parallel") / "one")


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Results:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return run(torchrun, tmp_path_factory.mktemp("parallel") / "two")


def flat(state: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.double().flatten() for value in state.values() if value.is_floating_point()])


def compare_updates(single: dict[str, Any], double: dict[str, Any]) -> dict[str, float]:
    """By network: how far apart the weights end, as a share of the way that training took them."""
    assert single["networks"].keys() == double["networks"].keys()
    shares = {}
    for name, state in single["networks"].items():
        one, two, initial = flat(state), flat(double["networks"][name]), flat(single["initial"][name])
        shares[name] = float((two - one).norm() / (one - initial).norm())
    return shares


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_two_ranks_equal_one_process(model_type: str, single: Results, double: Results) -> None:
    expected, actual = single[model_type]["synced"], double[model_type]["synced"]
    shares = compare_updates(expected, actual)
    assert max(shares.values()) < TOLERANCE, shares
    for name, state in expected["networks"].items():
        for key, value in state.items():
            found = actual["networks"][name][key]
            torch.testing.assert_close(found, value, rtol=TOLERANCE, atol=TOLERANCE, msg=f"{name} {key}")
    assert actual["logs"] == pytest.approx(expected["logs"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("model_type", RELATIVISTIC)
def test_local_means_train_other_weights(model_type: str, single: Results, double: Results) -> None:
    """The comparison above would notice if ``sync_mean`` did nothing, in every network by itself."""
    shares = compare_updates(single[model_type]["synced"], double[model_type]["local"])
    assert min(shares.values()) > 10 * TOLERANCE, shares
