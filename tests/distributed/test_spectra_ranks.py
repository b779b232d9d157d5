"""Two processes that share the validation images find the spectra and accuracies that one process finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.distributed

SCRIPT = Path(__file__).parent / "spectra_validation.py"


def run(launcher: list[str], folder: Path) -> list[dict[str, Any]]:
    finished = subprocess.run([*launcher, str(SCRIPT), str(folder)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in (folder / "spectra.jsonl").read_text().splitlines()]


def test_two_ranks_write_what_one_process_writes(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    alone = run([sys.executable], tmp_path / "one")
    assert run(torchrun, tmp_path / "two") == alone
    assert [entry["iteration"] for entry in alone] == [1, 2]
    assert set(alone[0]["critics"]) == {"d", "spectral_d"}
    assert alone[0]["critics"]["d"]["images"] == 5
    assert alone[0]["distance_db"] > 0
    # Every rank knows what rank 0 has measured alone.
    ranks = [json.loads((tmp_path / "two" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    assert ranks[0][0]["Set5"]["psnr"] > 0
