"""Ranks other than 0 copy and send nothing for a checkpoint but the state that is theirs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.distributed

SCRIPT = Path(__file__).parent / "saving.py"


def test_only_rank_0_copies_networks_and_objects_travel_in_one_gloo_group(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    finished = subprocess.run([*torchrun, str(SCRIPT), str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["copied"] == ["Linear", "Linear"]
    assert second["copied"] == []
    assert first["groups"] == second["groups"] == ["gloo"]
    assert (first["gathered"], second["gathered"]) == ([0, 1], [])
    assert first["everywhere"] == second["everywhere"] == [0, 1]
    assert first["chosen"] == second["chosen"] == "from rank 0"
    assert first["restored"] == [0.0] * 4
    assert second["restored"] == [1.0] * 4
    assert sorted(path.name for path in tmp_path.glob("*.state")) == ["1.state", "2.state"]
