"""Which networks are worth compiling (``train.compile: auto``): measured on copies, and remembered for the machine."""

from __future__ import annotations

import copy
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.models.compiling import compile_network, find_obstacle
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.batch import wait_for_device
from basicsr.utils.dist_util import bare, broadcast_object, is_compiled, is_master
from basicsr.utils.seeding import random_state_kept

logger = logging.getLogger("basicsr")

Passes = Callable[[nn.Module], object]

PAIRS = 5
"""How often a network as it is, and its compiled copy, are timed in turn."""

LARGEST_SHARE = 0.95
"""Of a network's time that its compiled copy may take: less is within what measurements vary by."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a step's passes of a network as it is and compiled, and those that compiling it took."""

    plain: float
    compiled: float
    compiling: float

    def pays(self, iterations: int) -> bool:
        """Whether the run is shorter with it, of as many iterations."""
        gain = self.plain - self.compiled
        return self.compiled <= LARGEST_SHARE * self.plain and gain * iterations > self.compiling


def choose_networks(
    nets: Mapping[str, nn.Module],
    passes: Mapping[str, Passes],
    images: Tensor,
    iterations: int,
    digest: str,
) -> list[str]:
    """Names of the networks that are to train compiled; rank 0 decides for all, which must call it.

    A decision is kept in :func:`cache_file`, by machine or GPU, number of threads, PyTorch, options and sizes, and
    taken from there by later runs, so that they compile the same. Networks, their buffers and random streams stay what
    they are.

    Args:
        nets: The networks by name.
        passes: Does with a network, or a copy of it, what a step does: forward and backward; by name.
        images: Of a step, (B, C, H, W), for their device and size.
        iterations: Those that the run still has.
        digest: Of the options that the numbers depend on.
    """
    chosen: list[str] = []
    if is_master():
        device = images.device
        key = json.dumps([_describe(device), torch.__version__, digest, list(images.shape), sorted(passes)])
        known = _read_cache().get(key)
        if known is None:
            known = _measure(nets, passes, device, iterations)
            _remember(key, known)
        else:
            logger.info("train.compile: auto, as measured in an earlier run (%s):", cache_file())
        for line in known["why"]:
            logger.info("train.compile: auto: %s", line)
        chosen = known["networks"]
    return broadcast_object(chosen)


def cache_file() -> Path:
    """Where decisions are kept: ``basicsr/compile.json`` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "basicsr/compile.json"


def _measure(
    nets: Mapping[str, nn.Module], passes: Mapping[str, Passes], device: torch.device, iterations: int
) -> dict[str, Any]:
    if obstacle := find_obstacle(device.type):
        return {"networks": [], "why": [f"no network is compiled, as nothing can be here ({obstacle})"]}
    chosen, lines = [], []
    for name, do_passes in passes.items():
        with random_state_kept():
            timing = _time_passes(name, nets[name], do_passes, device)
        if timing is None:
            lines.append(f"net_{name} runs as it is: it cannot be compiled")
            continue
        if pays := timing.pays(iterations):
            chosen.append(name)
        lines.append(
            f"net_{name} runs {'compiled' if pays else 'as it is'}: a step spends {1e3 * timing.compiled:.4g} ms on it "
            f"compiled and {1e3 * timing.plain:.4g} ms as it is, compiling takes {timing.compiling:.0f} s, "
            f"and {iterations:,} iterations are left"
        )
    return {"networks": chosen, "why": lines}


def _time_passes(name: str, net: nn.Module, do_passes: Passes, device: torch.device) -> Timing | None:
    """Times copies of a network; ``None`` if it cannot be compiled."""
    plain, compiled = (copy.deepcopy(bare(net)).train() for _ in range(2))
    compile_network(name, compiled)

    def seconds(one: nn.Module) -> float:
        wait_for_device(device)
        start = time.perf_counter()
        do_passes(one)
        wait_for_device(device)
        return time.perf_counter() - start

    first = seconds(compiled)
    if not is_compiled(compiled):
        return None
    seconds(plain), seconds(compiled)
    pairs = [(seconds(plain), seconds(compiled)) for _ in range(PAIRS)]
    usual, faster = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Timing(usual, faster, max(0.0, first - faster))


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.node()}, {torch.get_num_threads()} threads"


def _read_cache() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(cache_file().read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _remember(key: str, decision: dict[str, Any]) -> None:
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        atomic_write_json({**_read_cache(), key: decision}, cache_file())
    except OSError as error:
        logger.debug("The choice is not kept: %s", error)
