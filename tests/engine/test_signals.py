"""Loading processes are shielded from signals, and end with the process that they load for all the same."""

from __future__ import annotations

import subprocess
import sys

from tiny_run import environment

PROGRAM = """
import multiprocessing
import sys
from torch.utils.data import DataLoader
from basicsr.engine.signals import shield_workers

sys.pool = multiprocessing.Pool(1)  # a foreign one, which is alive until the end as well
sys.pool.map(abs, [-1])
loader = DataLoader(range(8), num_workers=1, persistent_workers=True)
shield_workers(loader)
sys.walk = iter(loader)  # nobody lets go of it before the interpreter ends
print(next(sys.walk))
"""


def test_a_loader_that_nobody_closed_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stdout == "tensor([0])\n"
    assert ended.stderr == ""
