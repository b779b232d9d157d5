"""The training loop: batches in, checkpoints, validations and log lines out, until the end or a signal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from basicsr.data.loader import ImageLoader
from basicsr.engine.exits import Interrupted
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.loggers import announce
from basicsr.engine.nonfinite import stop_if_nonfinite
from basicsr.engine.signals import StopNow, StopRequest
from basicsr.evaluation.validation import ValOptions
from basicsr.models import BaseModel
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.options import TrainOptions
from basicsr.options import RunOptions
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import TrainingError, first_line
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.logger import AvgTimer, MessageLogger
from basicsr.utils.progress import Progress

MAX_LOSSES_ON_BAR = 2


@dataclass
class TrainingRun:
    """All that the loop works on.

    Attributes:
        opt: The options, typed and as a mapping.
        model: The model.
        batches: The training data of this rank.
        val_loaders: Validation sets.
        position: How far the run is.
        tb_logger: A TensorBoard writer, or ``None``.
    """

    opt: FrozenOptions
    model: BaseModel
    batches: TrainingBatches
    val_loaders: Sequence[ImageLoader] = ()
    position: Position = field(default_factory=Position)
    tb_logger: Any = None

    def __post_init__(self) -> None:
        self.options: RunOptions = self.opt.typed
        self.settings = self.options.train or TrainOptions()
        self.val = self.options.val or ValOptions()
        self.total_iter = self.settings.total_iter or 0

    def is_due(self, frequency: int) -> bool:
        """Whether this iteration is a multiple of a number of iterations."""
        return self.position.iteration % frequency == 0

    def save(self, with_networks: bool = False) -> None:
        """Writes a checkpoint, and the networks' weights if asked, once nothing in them can be spoiled."""
        stop_if_nonfinite(self.model, self.opt["path"]["experiments_root"], wait=True)
        if with_networks:
            self.model.save_networks(self.position.iteration)
        folder, keep = self.opt["path"]["training_states"], self.options.logger.keep_states
        path = save_checkpoint(folder, self.model, self.position, self.options.digest, keep)
        announce("Saved %s", path)


def train(run: TrainingRun) -> None:
    """Trains until ``train.total_iter``; a run that is there already is not touched.

    Args:
        run: What to train; its position moves.

    Raises:
        Interrupted: After a signal, when the checkpoint is written.
        TrainingError: If training cannot go on.
    """
    if run.position.iteration >= run.total_iter:
        return
    model, name, first = run.model, run.opt["name"], run.position.iteration
    messages = MessageLogger(run.opt, first + 1, run.tb_logger)
    waiting, iterating = AvgTimer(), AvgTimer()
    with StopRequest() as stop, Progress(run.total_iter, name, first, line_interval=None) as progress:
        # Make up for the validation that an interrupted run has missed: it saves before it validates.
        if first > 0 and run.is_due(run.val.val_freq):
            _validate_unless_stopped(run, stop, is_saved=True)

        for position, batch in _stream(run, stop):
            # Train on one batch.
            waiting.record()
            with _failures_explained(position, stop):
                model.begin_iteration(position.iteration)
                model.feed_data(batch)
                model.optimize_parameters(position.iteration)
                model.update_learning_rate(position.iteration, warmup_iter=run.settings.warmup_iter)
            run.position = position
            iterating.record()
            progress.update()

            # Decide what comes next; the ranks agree on it, as each of them alone may have got a signal.
            is_last = position.iteration >= run.total_iter
            is_stopped = stop.agreed(model.device)
            is_due = run.is_due(run.options.logger.save_checkpoint_freq)
            is_saved = is_due or is_last or is_stopped
            stop_if_nonfinite(model, run.opt["path"]["experiments_root"], wait=False)

            # Report status. All ranks do, as logs are averaged over them.
            if is_last or run.is_due(run.options.logger.print_freq):
                losses = model.get_current_log()
                place = {"epoch": position.epoch, "iter": position.iteration, "lrs": model.get_current_learning_rate()}
                times = {"time": iterating.get_avg_time(), "data_time": waiting.get_avg_time()}
                messages({**place, **times, **losses})
                shown = [f"{key}={value:.3g}" for key, value in losses.items() if key.startswith("l_")]
                progress.note(", ".join(shown[:MAX_LOSSES_ON_BAR]))

            # Save; at the end the caller exports the networks as the latest.
            if is_saved:
                run.save(with_networks=is_due)
            if is_last:
                return
            if is_stopped:
                raise _interrupted(run, stop)

            # Validate.
            if run.is_due(run.val.val_freq):
                _validate_unless_stopped(run, stop, is_saved)

            # What came between the iterations is no time spent waiting for data.
            waiting.start()
            iterating.start()


def _stream(run: TrainingRun, stop: StopRequest) -> Iterator[tuple[Position, Mapping[str, Any]]]:
    """Batches; a loader that breaks because a signal hit its processes too counts as the request to stop."""
    try:
        yield from run.batches.stream(run.position)
    except Exception:
        if not stop.requested:
            raise
        if get_dist_info()[1] > 1:
            raise _cut_off(run.position.iteration + 1, stop) from None
        run.save()
        raise _interrupted(run, stop) from None


def _validate_unless_stopped(run: TrainingRun, stop: StopRequest, is_saved: bool) -> None:
    """Validates; a signal cuts it short, and it is done again when the run goes on."""
    try:
        with stop.interruptible():
            for loader in run.val_loaders:
                run.model.validation(loader, run.position.iteration, run.tb_logger, run.val.save_img)
    except StopNow:
        if not is_saved:
            run.save()
        raise _interrupted(run, stop) from None


def _interrupted(run: TrainingRun, stop: StopRequest) -> Interrupted:
    return Interrupted(
        f"Stopped by {stop.signal_name or 'a signal to another process'} after iteration {run.position.iteration:,} of "
        f"{run.total_iter:,}; everything is saved. The same command with --auto_resume goes on from here."
    )


def _cut_off(iteration: int, stop: StopRequest) -> Interrupted:
    """The end of a process that the launcher stops because another one has failed: its connections are broken."""
    return Interrupted(
        f"Stopped by {stop.signal_name} within iteration {iteration:,}, as another process has ended; --auto_resume "
        "goes on from the latest checkpoint."
    )


@contextmanager
def _failures_explained(position: Position, stop: StopRequest) -> Iterator[None]:
    """Says what to do when the GPU's memory does not suffice, or when another process is gone."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory in iteration {position.iteration}: lower datasets.train.batch_size_per_gpu or gt_size, "
            f"or set train.accumulate_steps or train.precision: bf16 ({first_line(error)})"
        ) from error
    except RuntimeError:
        if not stop.requested or get_dist_info()[1] == 1:
            raise
        raise _cut_off(position.iteration, stop) from None
