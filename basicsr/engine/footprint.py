"""How much memory a training takes for a batch of any size: measured with two small ones.

That is the most that a step takes beside a checkpoint that is being written, with a pool of pairs that is full.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from basicsr.archs.recomputation import recompute_blocks
from basicsr.degradation import PairPool
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.misfits import MISFITS
from basicsr.engine.model_copy import copy_model
from basicsr.engine.rehearsal_images import draw_batch
from basicsr.engine.step_trial import open_iteration
from basicsr.models import BaseModel
from basicsr.models.saving import Snapshot
from basicsr.upscaling.memory import find_free_memory
from basicsr.utils.errors import is_out_of_memory
from basicsr.utils.seeding import random_state_kept

SIZES = (1, 2, 4, 8)
"""Images of the batches that are measured."""
PATIENCE = 10.0
"""Seconds after which no larger batch is measured."""
STEPS = 2
"""The first makes the optimizers' state, which the second has beside everything else."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a process, or its GPU, holds at most while it trains.

    Attributes:
        held: Before the first step: networks, average and, on the CPU, the program itself.
        fixed: What steps add whatever the batch: gradients, the optimizers' state, the copy that a checkpoint is
            written from, the pool of pairs.
        per_image: What each image adds.
        seconds: That measuring takes for each image of a batch.
    """

    held: float
    fixed: float
    per_image: float
    seconds: float = 0.0

    def at(self, images: int) -> float:
        """For a batch of so many images, of which none waits in a part of its own (``accumulate_steps``)."""
        return self.held + self.fixed + images * self.per_image

    def largest_batch(self, room: float) -> int:
        """How many images fit into so many bytes; 0 if none."""
        return max(0, int((room - self.held - self.fixed) / self.per_image))


def read_held(device: torch.device) -> int:
    """Bytes that this process holds and uses: its tensors on a GPU, or all of its resident memory."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):  # of other systems than those with glibc
        ctypes.CDLL(None).malloc_trim(0)  # what was freed and is kept for the next array goes back
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return read_peak()


def read_peak() -> int:
    """The most bytes of memory that this process has held so far."""
    try:
        # Since the program began; what resource tells counts what the process was before, a copy of its parent.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def measure_footprint(model: BaseModel, batches: TrainingBatches, *, is_saving: bool | None = None) -> Footprint | None:
    """Measures steps of a copy of the model with batches of one image, two, and so on while it takes little time.

    The largest two count: at first, what is highest may be a moment that has little to do with images.

    Args:
        model: The model, which keeps every bit.
        batches: Where images come from.
        is_saving: Whether blocks are recomputed; absent: as the options say.

    Returns:
        ``None`` for a model that cannot be copied, or whose step takes no small batch.

    Raises:
        RuntimeError, MemoryError: If memory runs out.
    """
    begun, added = time.perf_counter(), dict[int, int]()
    for size in SIZES:
        before = time.perf_counter()
        try:
            added[size] = measure_step(model, batches, size, is_saving=is_saving)
        except (*MISFITS, TypeError) as error:
            if is_out_of_memory(error):
                raise
            added.clear()  # such as batch norm, which one image is too few for
        seconds = time.perf_counter() - before
        if len(added) > 1 and time.perf_counter() - begun > PATIENCE:
            break
    if len(added) < 2:
        return None
    one, two = list(added)[-2:]
    per_image = max(1.0, (added[two] - added[one]) / (two - one))
    # After the steps, which import what only they need.
    return Footprint(read_held(model.device), added[one] - one * per_image, per_image, seconds / two)


def measure_step(model: BaseModel, batches: TrainingBatches, size: int, *, is_saving: bool | None = None) -> int:
    """Bytes that training steps add at most to what a copy of the model holds, with a batch of ``size`` images.

    Raises:
        Exception: What copying or stepping raises.
    """
    batch = repeat_images(draw_batch(batches, 0, min(size, 2), model.seed), size)
    with random_state_kept():
        actor = copy_model(model, size)
        if is_saving is not None:
            for net in actor.networks().values():
                recompute_blocks(net, is_saving)
        settings, first = model.settings, open_iteration(model)
        copies: list[Snapshot] = []

        def run() -> None:
            for iteration in range(first, first + STEPS * settings.net_d_iters, settings.net_d_iters):
                actor.begin_iteration(iteration)
                actor.feed_data(dict(batch))
                actor.optimize_parameters(iteration)
                if not copies:
                    copies.append(Snapshot(actor.training_state()))

        return measure_added(run, actor.device) + _count_pool(model, actor)


def _count_pool(model: BaseModel, actor: BaseModel) -> int:
    """Bytes that the model's pool of pairs will take beyond that of a copy, which holds one batch, and beyond now."""
    pool, tried = getattr(model, "pool", None), getattr(actor, "pool", None)
    if not isinstance(pool, PairPool) or not isinstance(tried, PairPool):
        return 0
    full = tried.nbytes // tried.queue_size * pool.queue_size
    # The host gives memory to what is written there alone.
    held = pool.nbytes if model.device.type == "cuda" else pool.nbytes * len(pool) // pool.queue_size
    return 2 * (full - tried.nbytes) - held


def repeat_images(batch: Mapping[str, Any], size: int) -> dict[str, Any]:
    """A batch of ``size`` images, in which those of a smaller one come again and again."""
    known = next((len(value) for value in batch.values() if isinstance(value, Tensor)), 0)
    if not known:
        return dict(batch)
    order = [index % known for index in range(size)]
    return {
        key: value[order]
        if isinstance(value, Tensor)
        else [value[index] for index in order]
        if isinstance(value, list | tuple) and len(value) == known
        else value
        for key, value in batch.items()
    }


@contextmanager
def _native_silence() -> Iterator[None]:
    """Lets the profiler speak to nobody: it complains of GPUs that are not there, and of tensors that it misses."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        former = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(former, 2)
        os.close(former)


def measure_added(run: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors and of operators' temporary memory that a function adds at most to what there was before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _native_silence(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def find_room(device: torch.device) -> int:
    """Bytes that a process which trains can have on a device, now that this one takes some of them."""
    return find_free_memory(device) + read_held(device)


def describe_footprint(footprint: Footprint, model: BaseModel, batch_size: int) -> str:
    """``A step with batches of 16 takes about 7.1 GiB of memory; 12.0 GiB free``."""
    images = max(1, batch_size // model.settings.accumulate_steps)
    needed, room = footprint.at(images), find_room(model.device)
    where = f" on {model.device}" if model.device.type == "cuda" else ""
    text = f"A training step takes about {in_gib(needed)} of memory{where}; {in_gib(room)} free"
    return text if needed <= room else f"{text}: {REMEDY}"


REMEDY = "lower batch_size_per_gpu or gt_size, or set train.activation_checkpointing or train.accumulate_steps"


def in_gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
