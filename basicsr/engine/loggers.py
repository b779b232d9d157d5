"""Log of a training run: lines, progress, TensorBoard and Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.models import BaseModel
from basicsr.models.checkpoint import Position
from basicsr.utils.dist_util import is_master
from basicsr.utils.folders import archive
from basicsr.utils.logger import AvgTimer, MessageLogger, get_root_logger, init_tb_logger, init_wandb_logger
from basicsr.utils.progress import Progress

MAX_LOSSES_ON_BAR = 2


def open_trackers(opt: Mapping[str, Any], resumed_at: int | None) -> Any:
    """Opens TensorBoard under ``tb_logger/<name>`` and, where a project is named, Weights & Biases.

    Args:
        opt: The options.
        resumed_at: Iteration that the run goes on from; ``None`` for a new run, whose name's older events are archived.

    Returns:
        The TensorBoard writer, or ``None`` on other ranks than 0, without ``logger.use_tb_logger``, and in debug runs.

    Raises:
        UserError: If Weights & Biases is asked for and cannot be had.
    """
    settings = opt.get("logger") or {}
    if not is_master() or not settings.get("use_tb_logger", True) or "debug" in opt["name"]:
        return None
    if (settings.get("wandb") or {}).get("project"):
        init_wandb_logger(opt)
    folder = Path(opt["root_path"]) / "tb_logger" / opt["name"]
    if resumed_at is None:
        archive(folder)
    return init_tb_logger(folder, purge_step=None if resumed_at is None else resumed_at + 1)


class TrainingLog:
    """Times iterations, draws the bar, and writes a line every ``logger.print_freq`` iterations.

    Args:
        opt: The options.
        first: Iterations that were done before.
        tb_logger: A TensorBoard writer, or ``None``.
    """

    def __init__(self, opt: Mapping[str, Any], first: int, tb_logger: Any = None) -> None:
        self._messages = MessageLogger(opt, first + 1, tb_logger)
        self._waiting, self._iterating = AvgTimer(), AvgTimer()
        self._progress = Progress(int(opt["train"]["total_iter"]), opt["name"], initial=first, line_interval=None)

    def close(self) -> None:
        """Takes the bar away."""
        self._progress.close()

    def batch_arrived(self) -> None:
        """Takes the time that was spent waiting for data."""
        self._waiting.record()

    def iteration_done(self) -> None:
        """Takes the time of the iteration, and moves the bar."""
        self._iterating.record()
        self._progress.update()

    def write(self, model: BaseModel, position: Position) -> None:
        """Writes the line of an iteration; all ranks must call it, as logs are averaged over them."""
        losses = model.get_current_log()
        self._messages(
            {
                "epoch": position.epoch,
                "iter": position.iteration,
                "lrs": model.get_current_learning_rate(),
                "time": self._iterating.get_avg_time(),
                "data_time": self._waiting.get_avg_time(),
                **losses,
            }
        )
        shown = [f"{name}={value:.3g}" for name, value in losses.items() if name.startswith("l_")]
        self._progress.note(", ".join(shown[:MAX_LOSSES_ON_BAR]))

    def resume_clock(self) -> None:
        """Does not count what came between two iterations, such as validation, as time spent waiting for data."""
        self._waiting.start()
        self._iterating.start()


def announce(text: str, *args: object) -> None:
    """Logs one line of a run's story."""
    get_root_logger().info(text, *args)
