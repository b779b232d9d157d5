"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from basicsr.engine.exits import Interrupted
from basicsr.engine.loggers import TrainingLog, announce
from basicsr.engine.nonfinite import stop_if_nonfinite
from basicsr.engine.signals import StopNow, StopRequest
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import TrainingError


@dataclass
class TrainingRun:
    """All that the loop works on.

    Attributes:
        opt: The options.
        model: The model, see :class:`basicsr.models.base_model.BaseModel`.
        batches: Has ``stream(position)``; see :class:`basicsr.engine.loaders.TrainingBatches`.
        val_loaders: Validation sets.
        position: How far the run is.
        tb_logger: A TensorBoard writer, or ``None``.
        options_digest: Goes into checkpoints; see :func:`basicsr.options.options_digest`.
    """

    opt: Mapping[str, Any]
    model: Any
    batches: Any
    val_loaders: Sequence[Any] = ()
    position: Position = field(default_factory=Position)
    tb_logger: Any = None
    options_digest: str = ""

    @property
    def total_iter(self) -> int:
        return int(self.opt["train"]["total_iter"])

    def is_due(self, section: str, key: str, default: int) -> bool:
        """Whether this iteration is a multiple of the option ``<section>.<key>``."""
        settings = self.opt.get(section) or {}
        return self.position.iteration % int(settings.get(key) or default) == 0

    def save(self, with_networks: bool = True) -> None:
        """Writes the networks' weights and a checkpoint, once nothing in them can be spoiled."""
        stop_if_nonfinite(self.model, self.opt["path"]["experiments_root"], wait=True)
        if with_networks:
            self.model.save_networks(self.position.iteration)
        keep = (self.opt.get("logger") or {}).get("keep_states")
        folder = self.opt["path"]["training_states"]
        path = save_checkpoint(folder, self.model, self.position, self.options_digest, keep)
        announce("Saved %s", path)

    def validate(self) -> None:
        """Measures the model on every validation set."""
        save_img = bool((self.opt.get("val") or {}).get("save_img", False))
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
    model, warmup_iter = run.model, int(run.opt["train"].get("warmup_iter", -1))
    if run.position.iteration >= run.total_iter:
        return
    with StopRequest() as stop, TrainingLog(run.opt, run.position.iteration, run.tb_logger) as log:
        if run.position.iteration > 0 and run.is_due("val", "val_freq", 5000):
            _leave_if_asked(run, stop, run.validate)  # checkpoints are written before their iteration is validated
        for position, batch in _stream(run, stop):
            log.batch_arrived()
            with _failures_explained(run, position, stop):
                model.begin_iteration(position.iteration)
                model.feed_data(batch)
                model.optimize_parameters(position.iteration)
                model.update_learning_rate(position.iteration, warmup_iter=warmup_iter)
            run.position = position
            log.iteration_done()

            is_last = position.iteration >= run.total_iter
            is_stopped = stop.agreed(model.device)
            is_due = run.is_due("logger", "save_checkpoint_freq", 5000)
            is_saved = is_due or is_last or is_stopped
            stop_if_nonfinite(model, run.opt["path"]["experiments_root"], wait=False)
            if is_last or run.is_due("logger", "print_freq", 100):
                log.write(model, position)
            if is_saved:
                run.save(with_networks=is_due)
            if is_stopped and not is_last:
                raise _interrupted(run, stop)
            if is_last:
                return
            if run.is_due("val", "val_freq", 5000):
                _leave_if_asked(run, stop, run.validate, is_saved=is_saved)
            log.resume_clock()


def _stream(run: TrainingRun, stop: StopRequest) -> Iterator[tuple[Position, Mapping[str, Any]]]:
    """Batches; a loader that breaks because a signal hit its processes too counts as the request to stop."""
    batches = run.batches.stream(run.position)
    while True:
        try:
            step = next(batches)
        except Exception:
            if not stop.requested:
                raise
            if get_dist_info()[1] > 1:
                raise _cut_off(run.position.iteration + 1, stop) from None
            run.save(with_networks=False)
            raise _interrupted(run, stop) from None
        yield step


def _leave_if_asked(run: TrainingRun, stop: StopRequest, work: Callable[[], None], is_saved: bool = True) -> None:
    """Does work that a signal may cut short; it is done again when the run goes on."""
    try:
        with stop.interruptible():
            work()
    except StopNow:
        if not is_saved:
            run.save(with_networks=False)
        raise _interrupted(run, stop) from None


def _interrupted(run: TrainingRun, stop: StopRequest) -> Interrupted:
    return Interrupted(
        f"Stopped by {stop.signal_name or 'a signal to another process'} after iteration {run.position.iteration:,} of "
        f"{run.total_iter:,}; everything is saved. The same command with --auto_resume goes on from here."
    )


def _cut_off(iteration: int, stop: StopRequest) -> Interrupted:
    """What a process says that the launcher ends because another one has failed: its connections are broken."""
    return Interrupted(
        f"Stopped by {stop.signal_name} within iteration {iteration:,}, as another process has ended; --auto_resume "
        "goes on from the latest checkpoint."
    )


@contextmanager
def _failures_explained(run: TrainingRun, position: Position, stop: StopRequest) -> Iterator[None]:
    """Says what to do when the GPU's memory does not suffice, or when another process is gone."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory in iteration {position.iteration}: lower datasets.train.batch_size_per_gpu or gt_size, "
            f"or set train.accumulate_steps or train.precision: bf16 ({str(error).splitlines()[0]})"
        ) from error
    except RuntimeError:
        if not stop.requested or get_dist_info()[1] == 1:
            raise
        raise _cut_off(position.iteration, stop) from None
