"""Random numbers as a function of a key, and the libraries' global streams, choice of algorithms and rounding.

Nothing in this package reads a running random stream, but for the initial weights of networks. A consumer names what
it draws for, such as ``("degradation", seed, rank, iteration)`` or ``("augment", seed, epoch, index)``, and gets a
generator that depends on that key alone; so results do not depend on the number of workers, and a resumed run draws
what the first would have.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

KeyPart = int | str


def derive_seed(*key: KeyPart) -> int:
    """Hashes a key to a 63-bit non-negative seed; equal on every platform and Python version."""
    digest = hashlib.blake2b(repr(tuple(key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_rng(*key: KeyPart) -> np.random.Generator:
    """A NumPy generator (Philox, cheap to construct) for one key."""
    return np.random.Generator(np.random.Philox(derive_seed(*key)))


def torch_generator(*key: KeyPart, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for one key."""
    return torch.Generator(device=device).manual_seed(derive_seed(*key))


def set_random_seed(seed: int) -> None:
    """Seeds the global streams of Python, NumPy and torch on every device.

    Args:
        seed: Any non-negative integer; NumPy takes its lowest 32 bits.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global stream is what is to be seeded
    torch.manual_seed(seed)


@contextmanager
def random_state_kept(on_devices: bool = True) -> Iterator[None]:
    """Puts the global streams of Python, NumPy and torch, on every device unless asked not to, back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    num_devices = torch.cuda.device_count() if on_devices and torch.cuda.is_initialized() else 0
    with torch.random.fork_rng(range(num_devices)):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def choose_algorithms(deterministic: bool, tf32: bool = False) -> None:
    """Prefers either equal bits in equal runs or speed, where a GPU offers the choice; the CPU always gives equal bits.

    Args:
        deterministic: Whether a run on the same kind of GPU must give the same bits. Otherwise cuDNN measures which
            algorithms are fastest for the sizes at hand.
        tf32: Whether a GPU's matrix products and convolutions may round float32 factors to 10 bits of mantissa.
            PyTorch lets convolutions do so unless told otherwise.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
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
