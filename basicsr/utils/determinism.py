"""The libraries' global random streams, their choice of algorithms and their rounding.

Nothing in this package draws from the global streams but the initial weights of networks; see
:mod:`basicsr.utils.seeding` for everything else.
"""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def set_random_seed(seed: int) -> None:
    """Seeds the global streams of Python, NumPy and torch on every device.

    Args:
        seed: Any non-negative integer; NumPy takes its lowest 32 bits.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global stream is what is to be seeded
    torch.manual_seed(seed)


def choose_algorithms(deterministic: bool) -> None:
    """Prefers either equal bits in equal runs or speed, where a GPU offers the choice; the CPU always gives equal bits.

    Args:
        deterministic: Whether a run on the same kind of GPU must give the same bits. Otherwise cuDNN measures which
            algorithms are fastest for the sizes at hand.
    """
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        # cuBLAS reads this when it is first used; see torch.use_deterministic_algorithms.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def flush_denormals() -> None:
    """Lets CPUs take numbers below 1e-38 for zero, in this thread and those that it starts from now on.

    Gradients through a critic that is very sure of itself get there, and a CPU computes with such numbers tens of times
    slower. GPUs are not affected.
    """
    torch.set_flush_denormal(True)
