"""Loading processes are shielded from signals, and end with the process that they load for all the same."""

from __future__ import annotations

import subprocess
import sys

from tiny_run import environment

PROGRAM = """
import sys
from torch.utils.data import DataLoader
from basicsr.engine.signals import shield_workers

loader = DataLoader(range(8), num_workers=1, persistent_workers=True)
shield_workers(loader)
sys.kept = iter(loader)  # nobody lets go of it before the interpreter ends
print(next(sys.kept))
"""


def test_a_loader_that_nobody_closed_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stdout == "tensor([0])\n"
    assert ended.stderr == ""
