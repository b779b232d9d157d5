"""How much memory a network takes per pixel, measured by running it once, and how much is free."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from basicsr.evaluation.tiling import size_multiple
from basicsr.utils.batch import image_of

PROBE = 64
"""Side of the image that memory is measured with, in LQ pixels."""
MAX_ELEMENTS = 2**31 - 1
"""Of a tensor: kernels on GPUs count with 32 bits."""
UNKNOWN_FREE = 4 * 2**30
"""Bytes that are taken to be free where the machine does not say."""
_CGROUP = Path("/sys/fs/cgroup")


class Appetite(NamedTuple):
    """What a network takes per LQ pixel.

    Attributes:
        bytes: At most at the same time, without the weights.
        elements: Of the largest tensor.
    """

    bytes: float
    elements: float

    def largest_area(self, free: float) -> int:
        """LQ pixels that the network can take at once, with so many bytes."""
        return int(min(free / self.bytes, MAX_ELEMENTS / self.elements))


class _Watch(TorchDispatchMode):
    """Counts the memory of all tensors that operators make, while Python knows of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.largest = 0
        self._owners: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        return made

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in self._owners:
            self.now += size
            self._owners[key] = 0
        self._owners[key] += 1
        self.peak, self.largest = max(self.peak, self.now), max(self.largest, tensor.numel())
        weakref.finalize(tensor, self._release, key, size).atexit = False

    def _release(self, key: int, size: int) -> None:
        self._owners[key] -= 1
        if not self._owners[key]:
            del self._owners[key]
            self.now -= size


@torch.no_grad()
def measure_appetite(net: nn.Module, channels: int, device: torch.device) -> Appetite:
    """Measures what a network takes on a small image."""
    side = math.ceil(PROBE / size_multiple(net)) * size_multiple(net)
    image = torch.rand(1, channels, side, side, device=device)
    net(image)  # what is set up once does not count
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with _Watch() as watch:
        made = image_of(net(image))
    peak = watch.peak
    if device.type == "cuda":
        peak = max(peak, torch.cuda.max_memory_allocated(device) - before)
    # The picture leaves the network as float32, clamped and scaled beside it.
    return Appetite((peak + 2 * 4 * made.numel()) / side**2, watch.largest / side**2)


def find_free_memory(device: torch.device) -> int:
    """Bytes that are free on a device: of this process's share of the machine, for the CPU."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    found = [value for value in (_read_available(), _read_allowance()) if value is not None]
    return min(found, default=UNKNOWN_FREE)


def _read_available() -> int | None:
    """What Linux says is available on the machine."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _read_allowance() -> int | None:
    """What the container that this process is in may still take; what caches files there is given up for it."""
    for limit, used, statistics, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            free = int((_CGROUP / limit).read_text()) - int((_CGROUP / used).read_text())
        except (OSError, ValueError):
            continue
        with suppress(OSError, ValueError, KeyError):
            free += int(dict(line.split() for line in (_CGROUP / statistics).read_text().splitlines())[cached])
        return max(0, free)
    return None
