"""What a training will need: measured by some of its real steps, and the rest reckoned from these and the options."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from basicsr.data.loader import ImageLoader
from basicsr.engine.footprint import read_peak
from basicsr.engine.loaders import TrainingBatches, build_evaluation_loaders, build_training_batches
from basicsr.engine.machine import Diagnosis
from basicsr.engine.rehearsal_images import load_samples, read_areas
from basicsr.engine.step_trial import open_iteration
from basicsr.engine.training import seed_networks
from basicsr.models import BaseModel, build_model
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.saving import BackgroundWriter
from basicsr.options import apply_overrides, load_file, validate_options
from basicsr.options.derive import Launch, count_gpus, derive_options
from basicsr.options.imports import import_parts_of
from basicsr.utils.batch import wait_for_device
from basicsr.utils.dist_util import bare
from basicsr.utils.errors import count
from basicsr.utils.folders import sizeof_fmt
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.progress import format_seconds
from basicsr.utils.seeding import flush_denormals

WARM_UP = 2
"""Steps that are not timed: the first ones choose algorithms and make the optimizers' state."""


def forecast(found: Diagnosis, opt_file: str, overrides: Sequence[str], root: Path, steps: int) -> None:
    """Adds to a diagnosis what a training needs; files that are missing are problems, and then nothing is measured.

    Memory is the highest of this process, which has loaded data, trained some steps of the whole batch with every gate
    open, and validated the largest image. Time is the median of the steps, waiting for data included, times their
    number; that image's time per pixel, times the pixels of all validations; and a checkpoint's time, times their
    number. A checkpoint's size is that of one that was written and removed.

    Args:
        found: Facts and problems are added to it.
        opt_file: The option file.
        overrides: Changes to it, as of ``--force_yml``.
        root: The project folder.
        steps: Training steps that are timed.

    Raises:
        UserError: If the options are wrong, or data or model cannot be built.
    """
    flush_denormals()
    opt = read_run(found, opt_file, overrides, root)
    if opt is None:
        return
    seed_networks(opt)
    batches, loaders = build_training_batches(opt), build_evaluation_loaders(opt, "val")
    facts = found.facts["run"]
    facts["training images"] = count(batches.loader.failures.dataset_len, "image")
    for loader in loaders:
        facts[f"validation images of {loader.name}"] = count(loader.failures.dataset_len, "image")
    model = build_model(opt)
    total = int(opt["train"]["total_iter"])

    # Measure.
    step, images_per_step = _time_steps(model, batches, steps), batches.batch_size
    validation = sum(_time_validation(model, loader) for loader in loaders)
    save = _write_checkpoint(model, opt)

    # Reckon.
    typed = opt.typed
    saves = math.ceil(total / typed.logger.save_checkpoint_freq)
    kept = min(saves, typed.logger.keep_states or saves)
    exports = total // typed.logger.save_checkpoint_freq
    validations = total // typed.val.val_freq + 1 if loaders and typed.val else 0
    weights = save.generator + save.critics
    disk = kept * save.state + exports * save.generator + min(kept, exports) * save.critics + weights
    # A checkpoint at another moment than the exports, as the last may be, holds its weights itself.
    disk += (saves - exports) * weights if save.is_apart else 0
    seconds = total * step + validations * validation + saves * save.seconds
    facts |= _describe_memory(model, found)
    facts["speed"] = f"{step:.3f} s an iteration, {images_per_step / step:.1f} images a second"
    facts["a validation"] = f"{format_seconds(validation)}, {validations} of them"
    facts["a checkpoint"] = f"{sizeof_fmt(save.state)}, {kept} kept; the training waits {save.seconds:.2f} s for it"
    facts["weights"] = f"{sizeof_fmt(weights)}, {exports + 1} kept"
    if kept < saves:
        facts["weights"] += f" of the generator, {min(kept, exports) + 1} of the critics"
    facts["disk for all of them"] = f"{sizeof_fmt(disk)}, without pictures"
    facts["time to the end"] = f"{format_seconds(seconds)} for {total:,} iterations"
    found.numbers = {
        "seconds_per_iteration": step,
        "seconds_to_the_end": seconds,
        "peak_host_bytes": read_peak(),
        "peak_device_bytes": torch.cuda.max_memory_reserved() if model.device.type == "cuda" else 0,
        "checkpoint_bytes": save.state,
        "disk_bytes": disk,
    }
    folder = Path(opt["path"]["experiments_root"])
    free = shutil.disk_usage(next(parent for parent in folder.parents if parent.is_dir())).free
    if disk > free:
        found.problems.append(
            f"checkpoints and weights need {sizeof_fmt(disk)}, and {folder} has {sizeof_fmt(free)} left: make room, or "
            "set logger.keep_states or a larger logger.save_checkpoint_freq"
        )


def read_run(found: Diagnosis, opt_file: str, overrides: Sequence[str], root: Path) -> FrozenOptions | None:
    """The options; None if files that they name are missing."""
    loaded = load_file(opt_file)
    loaded.problems += apply_overrides(loaded, overrides)
    import_parts_of(loaded.data, opt_file)
    options, findings = validate_options(loaded, builds=True)
    launch = Launch()
    num_gpu = count_gpus(options, launch, findings, command=f"basicsr train -opt {opt_file}", strict=False)
    findings.raise_if_any(opt_file, ignore_missing=True)
    found.facts["run"] = {"option file": opt_file, "name": str(options.name)}
    found.problems += map(str, findings.missing)
    if findings.missing:
        return None
    opt = derive_options(options, root, launch, num_gpu).to_mapping()
    for key, file in opt["path"].items():
        if key.startswith("pretrain_network_") and file:
            size = f", {sizeof_fmt(os.path.getsize(file))}" if os.path.isfile(file) else ""
            found.facts["run"][key.replace("pretrain_network_", "weights of net_")] = f"{file}{size}"
    return opt


# --- measurements -----------------------------------------------------------------------------------------------------


def _time_steps(model: BaseModel, batches: TrainingBatches, steps: int) -> float:
    """Median seconds of a training step as the loop takes it, waiting for data included."""
    times, first = [], open_iteration(model)
    before = time.perf_counter()
    for iteration, (_, batch) in enumerate(islice(batches.stream(Position()), WARM_UP + steps), first):
        model.begin_iteration(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        wait_for_device(model.device)
        now = time.perf_counter()
        times.append(now - before)
        before = now
    batches.loader.close()
    return statistics.median(times[WARM_UP:])


def _time_validation(model: BaseModel, loader: ImageLoader) -> float:
    """Seconds for a validation set, by those for its largest image and the pixels of all."""
    areas = read_areas(loader.dataset)
    largest = max(areas, key=areas.__getitem__, default=0)
    batch = load_samples(loader, [largest], model.seed, is_training=False)
    if not batch or model.measures_itself():
        return 0.0
    model.begin_iteration(0)
    evaluator = model.evaluator()
    evaluator.val = evaluator.val.model_copy(update={"pbar": False})
    before = time.perf_counter()
    evaluator.evaluate([batch], 0)
    wait_for_device(model.device)
    seconds = time.perf_counter() - before
    images = loader.failures.dataset_len
    share = statistics.mean(areas.values()) / areas[largest] if areas else 1.0
    return seconds * images * share


class _Save(NamedTuple):
    """What a save costs: bytes of its files, and seconds that the training waits for it."""

    state: int
    generator: int
    critics: int
    is_apart: bool
    seconds: float


def _write_checkpoint(model: BaseModel, opt: FrozenOptions) -> _Save:
    options, writer = opt.typed, BackgroundWriter(model)
    with tempfile.TemporaryDirectory() as folder:
        weights = {Path(folder, file.name): entries for file, entries in model.weights_files(1).items()}
        before = time.perf_counter()
        path = save_checkpoint(
            folder, model, Position(1), options.digest, options=options.numbers, weights=weights, writer=writer
        )
        seconds = time.perf_counter() - before
        writer.collect(wait=True)
        generator = sum(file.stat().st_size for file, entries in weights.items() if "g" in entries.values())
        critics = sum(file.stat().st_size for file in weights) - generator
        if not weights:
            generator = _weigh_networks(model)
        return _Save(path.stat().st_size, generator, critics, bool(weights), seconds)


def _weigh_networks(model: BaseModel) -> int:
    """Bytes of the weights that a class writes in a way of its own."""
    networks = [*model.networks().values(), *([] if model.average is None else [model.average])]
    return sum(value.nbytes for net in networks for value in bare(net).state_dict().values())


def _describe_memory(model: BaseModel, found: Diagnosis) -> dict[str, Any]:
    facts = {"peak memory of a process": sizeof_fmt(read_peak())}
    if model.device.type == "cuda":
        used, total = torch.cuda.max_memory_reserved(model.device), torch.cuda.mem_get_info(model.device)[1]
        facts[f"peak memory on {model.device}"] = f"{sizeof_fmt(used)} of {sizeof_fmt(total)}"
        if used > 0.95 * total:
            found.problems.append(
                f"the run takes {used / total:.0%} of the memory of {model.device}: lower batch_size_per_gpu or "
                "gt_size, or set train.accumulate_steps or train.precision: bf16"
            )
    return facts
