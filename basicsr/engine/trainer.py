"""The training loop: batches in, checkpoints, validations and log lines out, until the end or a signal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from basicsr.engine.exits import Interrupted
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.loggers import TrainingLog, announce
from basicsr.engine.nonfinite import stop_if_nonfinite
from basicsr.engine.signals import StopNow, StopRequest
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import TrainingError, first_line


@dataclass
class TrainingRun:
    """All that the loop works on.

    Attributes:
        opt: The options.
        model: The model, see :class:`basicsr.models.base_model.BaseModel`.
        batches: The training data of this rank.
        val_loaders: Validation sets.
        position: How far the run is.
        tb_logger: A TensorBoard writer, or ``None``.
        options_digest: Goes into checkpoints; see :func:`basicsr.engine.training.digest_of`.
    """

    opt: Mapping[str, Any]
    model: Any
    batches: TrainingBatches
    val_loaders: Sequence[Any] = ()
    position: Position = field(default_factory=Position)
    tb_logger: Any = None
    options_digest: str = ""

    def option(self, section: str, key: str, default: Any = None) -> Any:
        """An option of the loop, or what stands in for one that is not set; the loop reads options nowhere else."""
        return (self.opt.get(section) or {}).get(key) or default

    @property
    def total_iter(self) -> int:
        return int(self.option("train", "total_iter"))

    def is_due(self, section: str, key: str, default: int) -> bool:
        """Whether this iteration is a multiple of the option ``<section>.<key>``."""
        return self.position.iteration % int(self.option(section, key, default)) == 0

    def check_losses(self, wait: bool) -> None:
        """Stops the run if a loss was not finite; with ``wait``, on any rank and up to this iteration."""
        stop_if_nonfinite(self.model, self.option("path", "experiments_root"), wait=wait)

    def save(self, with_networks: bool = False) -> None:
        """Writes a checkpoint, and the networks' weights if asked, once nothing in them can be spoiled."""
        self.check_losses(wait=True)
        if with_networks:
            self.model.save_networks(self.position.iteration)
        folder, keep = self.option("path", "training_states"), self.option("logger", "keep_states")
        path = save_checkpoint(folder, self.model, self.position, self.options_digest, keep)
        announce("Saved %s", path)

    def validate(self) -> None:
        """Measures the model on every validation set."""
        save_img = bool(self.option("val", "save_img"))
        for loader in self.val_loaders:
            self.model.validation(loader, self.position.iteration, self.tb_logger, save_img)


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
    model, warmup_iter = run.model, int(run.option("train", "warmup_iter", -1))
    with StopRequest() as stop, closing(TrainingLog(run.opt, run.position.iteration, run.tb_logger)) as log:
        # Make up for the validation that an interrupted run has missed: it saves before it validates.
        if run.position.iteration > 0 and run.is_due("val", "val_freq", 5000):
            _validate_unless_stopped(run, stop, is_saved=True)

        for position, batch in _stream(run, stop):
            # Train on one batch.
            log.batch_arrived()
            with _failures_explained(position, stop):
                model.begin_iteration(position.iteration)
                model.feed_data(batch)
                model.optimize_parameters(position.iteration)
                model.update_learning_rate(position.iteration, warmup_iter=warmup_iter)
            run.position = position
            log.iteration_done()

            # Decide what comes next; the ranks agree on it, as each of them alone may have got a signal.
            is_last = position.iteration >= run.total_iter
            is_stopped = stop.agreed(model.device)
            is_due = run.is_due("logger", "save_checkpoint_freq", 5000)
            is_saved = is_due or is_last or is_stopped
            run.check_losses(wait=False)

            # Report status.
            if is_last or run.is_due("logger", "print_freq", 100):
                log.write(model, position)

            # Save; at the end the caller exports the networks as the latest.
            if is_saved:
                run.save(with_networks=is_due)
            if is_last:
                return
            if is_stopped:
                raise _interrupted(run, stop)

            # Validate.
            if run.is_due("val", "val_freq", 5000):
                _validate_unless_stopped(run, stop, is_saved)
            log.resume_clock()


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
            run.validate()
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
