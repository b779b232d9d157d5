"""Random numbers as a function of a key.

Nothing in this package reads a running random stream. A consumer names what it draws for, such as
``("degradation", seed, rank, iteration)`` or ``("augment", seed, epoch, index)``, and gets a generator that depends on
that key alone; so results do not depend on the number of workers, and a resumed run draws what the first would have.
"""

from __future__ import annotations

import hashlib

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
