"""How many things can be done at the same time."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Processor cores that this process may use; a scheduler or ``taskset`` may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
