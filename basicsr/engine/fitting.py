"""``basicsr doctor --fit``: the largest batch that fits into the memory that is free, found by small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from basicsr.archs.recomputation import find_blocks
from basicsr.engine.footprint import REMEDY, Footprint, find_room, in_gib, measure_footprint, measure_step
from basicsr.engine.forecast import read_run
from basicsr.engine.loaders import TrainingBatches, build_training_batches
from basicsr.engine.machine import Diagnosis
from basicsr.engine.training import seed_networks
from basicsr.models import BaseModel, build_model
from basicsr.utils.errors import count, is_out_of_memory
from basicsr.utils.seeding import flush_denormals

SHARE = 0.9
"""Of the room, that a training may take: validation, other programs and gaps between tensors need the rest."""
PATIENCE = 120.0
"""Seconds that trying the batch that was found may take."""
MAX_TRIES = 4


@dataclass(frozen=True)
class Fit:
    """The largest batch of one process, which is no larger than its share of the data set.

    Attributes:
        batch: Images; a multiple of ``accumulate_steps``; 0 if not even one of each part fits.
        bytes: What training takes with it.
        is_tried: Whether steps were taken with it, or it was reckoned alone.
    """

    batch: int
    bytes: float
    is_tried: bool


def fit_batch(found: Diagnosis, opt_file: str, overrides: Sequence[str], root: Path) -> None:
    """Adds to a diagnosis the largest batch for a training, with activation checkpointing and without.

    The size of the crops stays. Of the model copies alone are trained, and nothing is written.

    Args:
        found: Facts, numbers and problems are added to it.
        opt_file: The option file.
        overrides: Changes to it, as of ``--force_yml``.
        root: The project folder.

    Raises:
        UserError: If the options are wrong, or data or model cannot be built.
    """
    flush_denormals()
    opt = read_run(found, opt_file, overrides, root)
    if opt is None:
        return
    seed_networks(opt)
    batches, model = build_training_batches(opt), build_model(opt)
    room, parts = find_room(model.device), model.settings.accumulate_steps
    facts = found.facts["largest batch of a process"] = {"memory": f"{in_gib(room)}, {SHARE:.0%} of it for training"}
    has_blocks = any(find_blocks(net) for net in model.networks().values())
    for name, is_saving in (("without activation checkpointing", False), ("with activation checkpointing", True)):
        if is_saving and not has_blocks:
            facts[name] = "no network has repeated blocks"
            continue
        fit = find_largest(model, batches, SHARE * room, is_saving=is_saving)
        key = "largest_batch_checkpointed" if is_saving else "largest_batch"
        if fit is None:
            facts[name] = (
                "cannot be measured: no copy of the model takes a step with a batch of one, two or four images"
            )
            continue
        found.numbers[key] = fit.batch
        facts[name] = _describe(model, fit, is_saving)
        if not fit.batch and (is_saving or not has_blocks):
            given = count(parts, "image")
            found.problems.append(f"a batch of {given} does not fit into {in_gib(room)}: {REMEDY}")
    facts["gt_size"] = f"{opt['datasets']['train'].get('gt_size')}, as it is"


def find_largest(model: BaseModel, batches: TrainingBatches, room: float, *, is_saving: bool) -> Fit | None:
    """The largest batch that takes at most ``room`` bytes; ``None`` where small ones cannot be measured."""
    try:
        footprint = measure_footprint(model, batches, is_saving=is_saving)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return Fit(0, room, is_tried=True)
    if footprint is None:
        return None
    parts = model.settings.accumulate_steps
    size = min(footprint.largest_batch(room), len(batches.sampler) // parts)
    for _ in range(MAX_TRIES):
        if size < 1 or size * footprint.seconds > PATIENCE:
            break
        taken = _try_batch(model, batches, footprint, size, is_saving=is_saving)
        if taken is not None and taken <= room:
            return Fit(size * parts, taken, is_tried=True)
        size = min(size - 1, int(size * room / taken) if taken else size * 9 // 10)
    return Fit(size * parts, footprint.at(size), is_tried=False)


def _try_batch(
    model: BaseModel, batches: TrainingBatches, footprint: Footprint, size: int, *, is_saving: bool
) -> float | None:
    """Bytes that training takes with a batch; ``None`` if there are not so many."""
    try:
        return footprint.held + measure_step(model, batches, size, is_saving=is_saving)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


def _describe(model: BaseModel, fit: Fit, is_saving: bool) -> str:
    """The batch, what it takes, and the lines of an option file that ask for it."""
    if not fit.batch:
        return "none"
    lines = [f"datasets.train.batch_size_per_gpu: {fit.batch}"]
    pool = model.options.pool_size
    if pool % fit.batch:
        lines.append(f"degradation.queue_size: {max(1, round(pool / fit.batch)) * fit.batch}")
    if is_saving != bool(model.settings.activation_checkpointing):
        lines.append(f"train.activation_checkpointing: {str(is_saving).lower()}")
    how = "tried" if fit.is_tried else "reckoned, not tried"
    return f"{fit.batch}, {in_gib(fit.bytes)} ({how}): {', '.join(lines)}"
