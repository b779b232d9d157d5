"""The rehearsal of a training: one step and one validation, after which everything is as before.

What it works on is a copy of the model and a batch of its own, as small as will do; the size of the images is that of
the training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from basicsr.data.loader import ImageLoader
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.misfits import MISFITS, Running, explain, following
from basicsr.engine.model_copy import copy_model
from basicsr.engine.rehearsal_images import draw_batch, find_smallest, load_samples, look_at_images
from basicsr.engine.step_trial import list_unsound_weights, try_step
from basicsr.engine.term_proof import prove_terms
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
            _attempt(outcome, model, batches, epoch, size, val_loaders)
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
    model: BaseModel,
    batches: TrainingBatches,
    epoch: int,
    size: int,
    val_loaders: Sequence[ImageLoader],
) -> None:
    """One rehearsal with one batch, in which nothing is raised but defects."""
    try:
        for name, net in model.nets.items():
            if bad := list_unsound_weights(net):
                raise WeightsError(f"net_{name} begins with weights that are not finite: {bad}; take other weights")
        batch = draw_batch(batches, epoch, size, model.seed)
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

    running: Running = []
    with following(actor, running):
        try:
            actor.begin_iteration(1)
            feed()
            look_at_images(actor, outcome.note, outcome.note if is_own(type(actor)) else outcome.doubt)
            if is_ours and not outcome.faults:
                assert isinstance(actor, SRModel)
                prove_terms(actor, outcome.note)
            if not outcome.faults:
                running.clear()
                try_step(actor, model, feed, outcome.note, outcome.doubt, is_ours=is_ours)
        except (UserError, torch.cuda.OutOfMemoryError):
            raise
        except MISFITS as error:
            outcome.faults.append(explain(actor, error, running))


def _steps_as_ours(kind: type[SRModel]) -> bool:
    methods = ("optimize_parameters", "teach_generator", "teach_critic", "split_batch")
    return all(getattr(kind, name) is getattr(SRModel, name) for name in methods)


def _rehearse_validation(outcome: Outcome, actor: BaseModel, loader: ImageLoader) -> None:
    """Generates and measures the smallest image of a validation set."""
    batch = load_samples(loader, [find_smallest(loader.dataset)], actor.seed, is_training=False)
    if not batch:
        return
    running: Running = []
    with following(actor, running):
        try:
            actor.begin_iteration(0)
            evaluator: Evaluator = actor.evaluator()
            evaluator.share = evaluator.together = False  # this rank alone
            evaluator.val = evaluator.val.model_copy(update={"pbar": False})
            if get_dist_info()[1] > 1:
                evaluator.monitor = None
            evaluator.evaluate([batch], 0)
        except (UserError, torch.cuda.OutOfMemoryError):
            raise
        except MISFITS as error:
            problem = explain(actor, error, running)
            text = f"validation of the smallest image of {loader.name} fails: {problem.message}"
            outcome.note(problem.path if running else "val", text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the step and the validation log, such as their results, out of the run's log."""
    former = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(former)
