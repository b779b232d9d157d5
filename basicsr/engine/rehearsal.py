"""The rehearsal of a training: one step and one validation, after which everything is as before.

What it works on is a copy of the model and a batch of its own, as small as will do; the size of the images is that of
the training.
"""

from __future__ import annotations

import copy
import logging
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.data.keyed_draws import draw_by_key
from basicsr.data.loader import FAILED_KEY, ImageLoader
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.model_copy import copy_model, place_of
from basicsr.engine.step_trial import list_unsound_weights, try_step
from basicsr.engine.term_proof import CHANNEL_ARGUMENTS, advise_channels, describe, prove_terms
from basicsr.evaluation.validation import Evaluator
from basicsr.models import BaseModel
from basicsr.models.checkpoint import Position
from basicsr.models.presets import translate
from basicsr.models.sr_model import SRModel
from basicsr.utils.dist_util import gather_objects, get_dist_info
from basicsr.utils.errors import OptionsError, Problem, TrainingError, UserError, WeightsError, first_line
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.registry import is_own
from basicsr.utils.seeding import random_state_kept

logger = logging.getLogger("basicsr")

MISFITS = (RuntimeError, ValueError, IndexError, ArithmeticError, AssertionError)
"""What code raises that was given images or options which do not fit; other exceptions are defects."""

MAX_SIZED = 200
"""Validation images whose sizes are compared."""

LARGEST_LEVEL = 8.0
"""Images in [0, 1] stay well below, whatever they are normalised with; those in [0, 255] do not."""


@dataclass
class Outcome:
    """What a rehearsal has found, by its place in today's form of the options.

    Attributes:
        faults: What cannot be meant.
        doubts: What looks like a mistake, but may be meant.
        error: An error's class and text, which ended the rehearsal.
    """

    faults: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)
    error: tuple[type[UserError], str] | None = None

    def note(self, path: str, message: str) -> None:
        self.faults.append(Problem(path, message))

    def doubt(self, path: str, message: str) -> None:
        self.doubts.append(Problem(path, message))


def rehearse(
    opt: FrozenOptions,
    model: BaseModel,
    batches: TrainingBatches,
    val_loaders: Sequence[ImageLoader] = (),
    position: Position | None = None,
) -> None:
    """Takes one training step and validates the smallest image, and leaves model, data and random states as they are.

    A batch of one image is tried first, and larger ones where something does not work with it. All ranks must call
    this; none waits for another within a step.

    Args:
        opt: The options.
        model: The model, new or restored.
        batches: The training data.
        val_loaders: Validation sets.
        position: How far the run is.

    Raises:
        OptionsError: With everything that cannot work, at its option, or that has no effect.
        WeightsError: If weights are not finite.
        TrainingError: If memory does not suffice.
    """
    epoch = (position or Position()).epoch
    per_part = max(1, batches.batch_size // model.settings.accumulate_steps)
    outcome = Outcome()
    with random_state_kept(), _quiet():
        for size in sorted({1, min(2, per_part), per_part}):
            outcome = Outcome()
            _attempt(outcome, opt, model, _draw_batch(batches, epoch, size, model.seed), val_loaders, size)
            if not any(gather_objects(bool(outcome.faults))) or outcome.error:
                break
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
    _report(opt, model, outcome)


def _report(opt: FrozenOptions, model: BaseModel, outcome: Outcome) -> None:
    """Raises what was found on any rank, on all of them, by the keys that the option file has."""
    found = gather_objects(outcome)
    written = translate(opt, type(model).preset, is_closed=False)

    def place(problems: Sequence[Problem]) -> list[Problem]:
        return [Problem(written.locate(problem.path), problem.message) for problem in dict.fromkeys(problems)]

    for problem in place(outcome.doubts):
        logger.warning("Rehearsal: %s", problem)
    if error := next((each.error for each in found if each.error), None):
        raise error[0](error[1])
    if faults := next((each.faults for each in found if each.faults), None):
        raise OptionsError(place(faults), "the rehearsal of the training step (train.rehearse: false leaves it out)")


def _attempt(
    outcome: Outcome,
    opt: FrozenOptions,
    model: BaseModel,
    batch: dict[str, Any],
    val_loaders: Sequence[ImageLoader],
    size: int,
) -> None:
    """One rehearsal with one batch, in which nothing is raised but defects."""
    try:
        for name, net in model.nets.items():
            if bad := list_unsound_weights(net):
                raise WeightsError(f"net_{name} begins with weights that are not finite: {bad}; take other weights")
        if not batch:
            return
        try:
            actor = copy_model(model, size)
        except Exception as error:
            logger.info(
                "%s cannot be copied, so the step is not rehearsed: %s", type(model).__name__, first_line(error)
            )
            return
        _rehearse_step(outcome, model, actor, batch)
        # Classes that validate by themselves write files as they like.
        if not outcome.faults and not model.measures_itself() and get_dist_info()[0] == 0:
            for loader in val_loaders:
                _rehearse_validation(outcome, actor, loader)
    except torch.cuda.OutOfMemoryError as error:
        text = f"out of GPU memory in the rehearsal with a batch of {size}: lower gt_size, or set train.precision: bf16"
        outcome.error = TrainingError, f"{text} ({first_line(error)})"
    except OptionsError as error:
        outcome.faults += error.problems
    except UserError as error:
        outcome.error = type(error), str(error)


# --- the step ---------------------------------------------------------------------------------------------------------


def _rehearse_step(outcome: Outcome, model: BaseModel, actor: BaseModel, batch: dict[str, Any]) -> None:
    is_ours = isinstance(actor, SRModel) and _steps_as_ours(type(actor))

    def feed() -> None:
        actor.feed_data(dict(batch))

    running: list[tuple[str, tuple[int, ...]]] = []
    with _following(actor, running):
        try:
            actor.begin_iteration(1)
            feed()
            _look_at_images(outcome, actor)
            if is_ours and not outcome.faults:
                assert isinstance(actor, SRModel)
                prove_terms(actor, outcome.note)
            if not outcome.faults:
                running.clear()
                try_step(actor, model, feed, outcome.note, outcome.doubt, is_ours=is_ours)
        except (UserError, torch.cuda.OutOfMemoryError):
            raise
        except MISFITS as error:
            outcome.faults.append(_explain(actor, error, running))


def _steps_as_ours(kind: type[SRModel]) -> bool:
    methods = ("optimize_parameters", "teach_generator", "teach_critic", "split_batch")
    return all(getattr(kind, name) is getattr(SRModel, name) for name in methods)


@contextmanager
def _following(actor: BaseModel, running: list[tuple[str, tuple[int, ...]]]) -> Iterator[None]:
    """Keeps a list of the networks and losses that run at the moment, outermost first, with their input's shape."""
    watched = {place_of(actor, name): net for name, net in actor.networks().items()}
    content = getattr(actor, "content", None)
    watched |= {f"losses.{name}": loss for name, loss in getattr(content, "losses", {}).items()}
    hooks = []
    for place, module in watched.items():

        def enter(module: nn.Module, args: tuple[Any, ...], place: str = place) -> None:
            running.append((place, tuple(getattr(args[0] if args else None, "shape", ()))))

        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(lambda *_: running.pop() and None))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _explain(actor: BaseModel, error: BaseException, running: Sequence[tuple[str, tuple[int, ...]]]) -> Problem:
    """A crash of the step in words: which part could not take what, and what to do about it."""
    reason = f"{type(error).__name__}: {first_line(error)}"
    # The line that says most is the last one outside of PyTorch.
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}torch{os.sep}" not in f.filename]
    where = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "?"
    if not running:
        return Problem("train", f"the step fails at {where}: {reason}")
    place, shape = running[-1]
    given = f" of {'x'.join(map(str, shape))}" if shape else ""
    name = "g" if place == "network_g" else place.split(".")[1] if place.startswith("critics.") else ""
    remedy = "change its arguments"
    if name and len(shape) == 4:
        part = actor.options.network_g if name == "g" else actor.options.critics[name].network
        values = [part.get(key) for key in CHANNEL_ARGUMENTS["in"] if part is not None and part.takes(key)]
        sides = "" if actor.options.scale is None else " or gt_size"
        is_misfit = any(isinstance(value, int) and value != shape[1] for value in values)
        remedy = advise_channels(actor, name, "in", shape[1]) if is_misfit else f"change its arguments{sides}"
    return Problem(place, f"cannot take images{given}; {remedy} ({where}: {reason})")


def _look_at_images(outcome: Outcome, actor: BaseModel) -> None:
    """Sizes and ranges of the images that the step gets."""
    gt, lq, scale = getattr(actor, "gt", None), getattr(actor, "lq", None), actor.options.scale
    if not isinstance(gt, Tensor) or not isinstance(lq, Tensor) or gt.ndim != 4 or lq.ndim != 4:
        return
    report = outcome.note if is_own(type(actor)) else outcome.doubt
    if scale is not None and tuple(gt.shape[2:]) != tuple(side * scale for side in lq.shape[2:]):
        is_swapped = tuple(lq.shape[2:]) == tuple(side * scale for side in gt.shape[2:])
        text = f"at scale {scale} LQ of {describe(lq)} does not fit GT of {describe(gt)}"
        report("datasets.train", text + ("; LQ and GT are swapped" if is_swapped else ""))
        return
    for name, images in (("lq", lq), ("gt", gt)):
        if not images.isfinite().all():
            outcome.note("datasets.train", f"{name} has values that are not finite")
            continue
        low, high = images.min().item(), images.max().item()
        if max(-low, high) > LARGEST_LEVEL:
            report(
                "datasets.train", f"{name} has values from {low:.4g} to {high:.4g}; images are in [0, 1]: divide by 255"
            )
        elif low >= 0 and 0 < high <= 1.001 / 255 and images.unique().numel() > 2:
            report(
                "datasets.train",
                f"{name} has values up to {high:.2g} alone; images are in [0, 1], not divided by 255 twice",
            )


# --- the images -------------------------------------------------------------------------------------------------------


def _draw_batch(batches: TrainingBatches, epoch: int, size: int, seed: int) -> dict[str, Any]:
    """The first samples of an epoch, loaded in this process by a copy of the data set; empty if none can be used."""
    sampler = copy.copy(batches.sampler)
    sampler.set_epoch(epoch)
    return _load(batches.loader, list(islice(sampler, size)), seed, is_training=True)


def _load(loader: ImageLoader, indices: list[Any], seed: int, *, is_training: bool) -> dict[str, Any]:
    # A file or database that the copy opens is not handed on to the loader's processes.
    dataset: Any = copy.copy(loader.dataset)
    draw_by_key(dataset, seed, is_training)
    fetch = getattr(dataset, "__getitems__", None)
    batch = loader.collate_fn(fetch(indices) if fetch else [dataset[index] for index in indices])
    images = {key: value for key, value in batch.items() if key != FAILED_KEY} if isinstance(batch, Mapping) else batch
    return dict(images)


def _rehearse_validation(outcome: Outcome, actor: BaseModel, loader: ImageLoader) -> None:
    """Generates and measures the smallest image of a validation set."""
    batch = _load(loader, [find_smallest(loader.dataset)], actor.seed, is_training=False)
    if not batch:
        return
    running: list[tuple[str, tuple[int, ...]]] = []
    with _following(actor, running):
        try:
            actor.begin_iteration(0)
            evaluator: Evaluator = actor.evaluator()
            evaluator.share, evaluator.val = False, evaluator.val.model_copy(update={"pbar": False})
            if get_dist_info()[1] > 1:
                evaluator.monitor = None
            evaluator.evaluate([batch], 0)
        except (UserError, torch.cuda.OutOfMemoryError):
            raise
        except MISFITS as error:
            problem = _explain(actor, error, running)
            text = f"validation of the smallest image of {loader.name} fails: {problem.message}"
            outcome.note(problem.path if running else "val", text)


def find_smallest(dataset: Any) -> int:
    """Index of the smallest of the first images of a data set, by their files' headers; 0 where they tell nothing."""
    entries, options = getattr(dataset, "paths", None), getattr(dataset, "options", None)
    readers = getattr(dataset, "size_readers", None)
    if not entries or readers is None:
        return 0
    kind, read = next(iter(readers(options).items()))
    sizes: dict[int, int] = {}
    for index, entry in enumerate(entries[:MAX_SIZED]):
        try:
            height, width = read(entry[f"{kind}_path"])
        except (ValueError, KeyError, OSError):
            continue
        sizes[index] = height * width
    return min(sizes, key=sizes.__getitem__, default=0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the step and the validation log, such as their results, out of the run's log."""
    former = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(former)
