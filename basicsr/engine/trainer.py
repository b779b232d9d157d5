"""The training loop: batches in, checkpoints, validations and log lines out, until the end or a signal."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from basicsr.data.loader import ImageLoader
from basicsr.engine.exits import Aborted, Interrupted
from basicsr.engine.folder_hold import FolderHold
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.loggers import announce
from basicsr.engine.nonfinite import stop_if_nonfinite
from basicsr.engine.pace import DeviceQueue, Pace
from basicsr.engine.peers import PeerLost, describe_lost_peer
from basicsr.engine.signals import StopRequest
from basicsr.engine.waits import Adviser
from basicsr.evaluation.val_options import ValOptions
from basicsr.models import BaseModel
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.options import TrainOptions
from basicsr.models.saving import BackgroundWriter
from basicsr.options import RunOptions
from basicsr.utils.dist_util import barrier, get_dist_info
from basicsr.utils.errors import TrainingError, first_line
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.logger import MessageLogger
from basicsr.utils.progress import Progress
from basicsr.utils.stopping import StopNow, interruptible

logger = logging.getLogger("basicsr")

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
        hold: This rank's hold on the run's folder, or ``None``.
        saved_at: Iteration of the latest checkpoint that is written.
        writer: Writes checkpoints while the loop goes on.
    """

    opt: FrozenOptions
    model: BaseModel
    batches: TrainingBatches
    val_loaders: Sequence[ImageLoader] = ()
    position: Position = field(default_factory=Position)
    tb_logger: Any = None
    hold: FolderHold | None = None

    def __post_init__(self) -> None:
        self.options: RunOptions = self.opt.typed
        self.settings = self.options.train or TrainOptions()
        self.val = self.options.val or ValOptions()
        self.total_iter = self.settings.total_iter or 0
        self.saved_at = self.position.iteration
        self.writer = BackgroundWriter(self.model)

    def is_due(self, frequency: int) -> bool:
        """Whether this iteration is a multiple of a number of iterations."""
        return self.position.iteration % frequency == 0

    def save(self, with_networks: bool = False, beside: bool = False) -> None:
        """Saves a checkpoint, and the networks' weights if asked, once nothing in them can be spoiled.

        Args:
            with_networks: Whether the weights are to be files of their own.
            beside: Whether to write while the training goes on, see :meth:`note_saved`. Else all is written afterwards.
        """
        self.note_saved(wait=True)
        stop_if_nonfinite(self.model, self.opt["path"]["experiments_root"], wait=True)
        if self.hold is not None:
            self.hold.check()
        position, options = self.position, self.options
        weights = self.model.weights_files(position.iteration) if with_networks else {}
        if with_networks and not weights:
            export(self.model, position)
        path = save_checkpoint(
            self.opt["path"]["training_states"],
            self.model,
            position,
            options.digest,
            options.logger.keep_states,
            options.numbers,
            weights,
            self.writer if beside else None,
        )
        if not self.writer.is_busy:
            self._note(path)

    def note_saved(self, wait: bool) -> None:
        """Takes note of a checkpoint that has been written meanwhile, or is being written if it is to wait for it.

        Raises:
            TrainingError: If it could not be written.
        """
        if (path := self.writer.collect(wait)) is not None:
            self._note(path)

    def _note(self, path: Path) -> None:
        self.saved_at = int(path.stem)
        announce("Saved %s", path)

    def start_pace(self) -> Pace:
        """The run's clock, which starts now."""
        every = {"validation": self.val.val_freq, "saving": self.options.logger.save_checkpoint_freq}
        device = self.model.device
        queue = DeviceQueue(device) if device.type == "cuda" else None
        return Pace(self.total_iter, self.position.iteration, every, queue)

    def validate(self) -> None:
        """Measures the model on every validation set; a signal cuts it short.

        Of several processes each leaves its share of a set's images, where the model's class does not validate itself.
        """
        with interruptible() if get_dist_info()[1] == 1 else nullcontext():
            for loader in self.val_loaders:
                # A class that draws while it validates finds the same in a run that goes on from here.
                self.model.begin_iteration(self.position.iteration)
                self.model.validation(loader, self.position.iteration, self.tb_logger, self.val.save_img)


def export(model: BaseModel, position: Position) -> None:
    """Writes the networks' weights, by a class's own ``save`` where it has one; iteration -1: as the latest."""
    if model.overrides("save", "save_training_state"):
        model.save(position.epoch, position.iteration)
    else:
        model.save_networks(position.iteration)


def train(run: TrainingRun) -> None:
    """Trains until ``train.total_iter``; a run that is there already is not touched.

    Args:
        run: What to train; its position moves.

    Raises:
        Interrupted: After a signal, when the checkpoint is written.
        Aborted: After another one before that.
        TrainingError: If training cannot go on.
    """
    if run.position.iteration >= run.total_iter:
        return
    with StopRequest() as stop, _writing_ends(run):
        try:
            _train_or_save(run, stop)
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):
                run.note_saved(wait=True)
            done, saved = run.position.iteration, run.saved_at
            if done == saved > 0:
                raise
            kept = f"the latest checkpoint is that of iteration {saved:,}" if saved else "there is no checkpoint yet"
            raise Aborted(f"Aborted within iteration {done + 1:,}: {kept}.") from None
        except torch.cuda.OutOfMemoryError as error:
            raise TrainingError(
                f"out of GPU memory in iteration {run.position.iteration + 1}: lower "
                "datasets.train.batch_size_per_gpu or gt_size, or set train.accumulate_steps or "
                f"train.precision: bf16 ({first_line(error)})"
            ) from error
        except RuntimeError as error:
            # The launcher stops a process because another one has failed, and the connections to that are broken.
            if stop.signal_name and describe_lost_peer(error):
                raise PeerLost(first_line(error)) from None
            raise


def _train_or_save(run: TrainingRun, stop: StopRequest) -> None:
    """The loop, and what a request to stop leaves to be done."""
    try:
        _train_until_stopped(run, stop)
    except StopNow:
        # Nothing is begun that the run would not begin again when it goes on.
        run.note_saved(wait=True)
        if run.saved_at != run.position.iteration:
            run.save()
        barrier()  # one of the processes may just have written
        raise Interrupted(
            f"Stopped by {stop.signal_name or 'a signal to another process'} after iteration "
            f"{run.position.iteration:,} of {run.total_iter:,}; everything is saved. The same command with "
            "--auto_resume goes on from here."
        ) from None


@contextmanager
def _writing_ends(run: TrainingRun) -> Iterator[None]:
    """Lets a checkpoint that is being written when a run ends in an error become whole; the error stays the reason."""
    try:
        yield
    except BaseException:
        try:
            run.note_saved(wait=True)
        except Exception as error:
            logger.error("%s", error)
        raise


def _train_until_stopped(run: TrainingRun, stop: StopRequest) -> None:
    """The loop itself; raises :class:`StopNow` between two iterations where it was asked to stop."""
    model, first = run.model, run.position.iteration
    # Ours sets the rates of the next iteration, published code those of the one that begins.
    sets_rates_first = model.overrides("update_learning_rate")
    messages, adviser, pace = MessageLogger(run.opt, first + 1, run.tb_logger), Adviser(run.opt), run.start_pace()
    with Progress(run.total_iter, run.opt["name"], first, line_interval=None, left=pace.left) as progress:
        # Make up for the validation that an interrupted run has missed: it saves before it validates.
        if first > 0 and run.is_due(run.val.val_freq):
            with pace.measure("validation"):
                run.validate()

        pace.wait()
        for position, batch in _stream(run, stop):
            # Train on one batch.
            pace.has_batch()
            model.begin_iteration(position.iteration)
            if sets_rates_first:
                model.update_learning_rate(position.iteration, warmup_iter=run.settings.warmup_iter)
            model.feed_data(batch)
            model.optimize_parameters(position.iteration)
            if not sets_rates_first:
                model.update_learning_rate(position.iteration, warmup_iter=run.settings.warmup_iter)
            run.position = position
            pace.step_done()
            progress.update()

            # Decide what comes next; the ranks agree on it, as each of them alone may have got a signal.
            is_last = position.iteration >= run.total_iter
            is_stopped = stop.agreed(model.device)
            is_due = run.is_due(run.options.logger.save_checkpoint_freq)
            stop_if_nonfinite(model, run.opt["path"]["experiments_root"], wait=False)
            run.note_saved(wait=False)

            # Report status. All ranks do, as logs are averaged over them.
            if is_last or run.is_due(run.options.logger.print_freq):
                losses = model.get_current_log()
                place = {"epoch": position.epoch, "iter": position.iteration, "lrs": model.get_current_learning_rate()}
                messages({**place, **_describe_pace(pace, adviser), **losses})
                shown = [f"{key}={value:.3g}" for key, value in losses.items() if key.startswith("l_")]
                progress.note(", ".join(shown[:MAX_LOSSES_ON_BAR]))

            # Save; at the end the caller exports the networks as the latest.
            if is_due or is_last or is_stopped:
                with pace.measure("saving"):
                    run.save(with_networks=is_due, beside=not (is_last or is_stopped))
            if is_last:
                return
            if is_stopped:
                raise StopNow

            # Validate.
            if run.is_due(run.val.val_freq):
                with pace.measure("validation"):
                    run.validate()
            pace.wait()


def _describe_pace(pace: Pace, adviser: Adviser) -> dict[str, Any]:
    """What a log line says of time."""
    iteration, data = pace.times()
    return {"time": iteration, "data_time": data, "eta": pace.left(), "waits": adviser.describe(pace)}


def _stream(run: TrainingRun, stop: StopRequest) -> Iterator[tuple[Position, Mapping[str, Any]]]:
    """Batches; a loader that breaks because a signal hit its processes too counts as the request to stop."""
    try:
        yield from run.batches.stream(run.position)
    except Exception as error:
        if not stop.signal_name:
            raise
        if get_dist_info()[1] == 1:
            raise StopNow from error
        # The other processes do not know of it, so that nothing can be saved together.
        raise PeerLost("the loading processes have ended") from error
