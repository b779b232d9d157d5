"""Log lines, timers and experiment trackers, under the names that BasicSR publishes."""

from __future__ import annotations

import copy
import logging
import os
import platform
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from basicsr.utils.atomic import StrPath
from basicsr.utils.dist_util import is_master, master_only
from basicsr.utils.errors import UserError
from basicsr.utils.progress import format_seconds

FILE_ONLY = "file_only"
"""Attribute of lines, given as ``extra``, that are too long for a terminal."""

NOT_LOSSES = ("epoch", "iter", "lrs", "time", "data_time", "eta", "waits")

LINE_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


class _ConsoleHandler(logging.Handler):
    """Writes to standard error, above a progress bar if one is drawn there."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, FILE_ONLY, False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


class _LogFile(logging.FileHandler):
    """A log file; where it cannot be written, the run ends as where anything else cannot."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = self.baseFilename
            raise error
        super().handleError(record)


class _EarlyLines(logging.Handler):
    """Keeps the last lines that are written before there is a log file, so that the file begins with them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=200)

    def emit(self, record: logging.LogRecord) -> None:
        # The text as of now: what it is made of may have changed when the file is named.
        self.records.append(logging.makeLogRecord({**vars(record), "msg": record.getMessage(), "args": None}))


def get_root_logger(
    logger_name: str = "basicsr", log_level: int = logging.INFO, log_file: StrPath | None = None
) -> logging.Logger:
    """The project's logger: lines on standard error and, where asked for, in a file. Only rank 0 writes below errors.

    Calling it again returns the same logger; handlers are never doubled, and a new ``log_file`` is added. The first
    file begins with the lines that were written before it was named.

    Args:
        logger_name: Name of the logger.
        log_level: Lowest level that rank 0 writes.
        log_file: File to append to, too.
    """
    logger = logging.getLogger(logger_name)
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        console = _ConsoleHandler()
        console.setFormatter(logging.Formatter(LINE_FORMAT))
        logger.addHandler(console)
        logger.addHandler(_EarlyLines())
        logger.setLevel(log_level)
    if not is_master():
        logger.setLevel(logging.ERROR)
    elif log_file is not None:
        path = os.path.abspath(log_file)
        if path not in [getattr(handler, "baseFilename", None) for handler in logger.handlers]:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = _LogFile(path, encoding="utf-8")
            file.setFormatter(logging.Formatter(LINE_FORMAT))
            # The first file begins with what came before it.
            for early in [handler for handler in logger.handlers if isinstance(handler, _EarlyLines)]:
                for record in early.records:
                    file.handle(record)
                logger.removeHandler(early)
            logger.addHandler(file)
    return logger


class AvgTimer:
    """Mean time between calls, over the latest of them.

    Args:
        window: After this many calls the mean starts over, from the mean so far.
    """

    def __init__(self, window: int = 200) -> None:
        self.window = window
        self._mean = self._current = 0.0
        self._count = 0
        self.start()

    def start(self) -> None:
        """Starts the clock."""
        self._last = time.perf_counter()

    def record(self) -> None:
        """Takes the time since the last call, and starts the clock again."""
        now = time.perf_counter()
        self._current, self._last = now - self._last, now
        self._count = self._count + 1 if self._count < self.window else 2
        self._mean += (self._current - self._mean) / self._count

    def get_current_time(self) -> float:
        """Seconds between the last two calls."""
        return self._current

    def get_avg_time(self) -> float:
        """Mean seconds; 0 before the first call of :meth:`record`."""
        return self._mean


class MessageLogger:
    """Writes a line with epoch, iteration, learning rates, remaining time and losses, and the same to TensorBoard.

    Args:
        opt: Options: ``name``, ``train.total_iter``, ``logger.use_tb_logger``.
        start_iter: First iteration of this process, for the remaining time.
        tb_logger: A TensorBoard writer, or ``None``.
    """

    def __init__(self, opt: Mapping[str, Any], start_iter: int = 1, tb_logger: Any = None) -> None:
        self.exp_name = str(opt["name"])
        self.max_iters = int(opt["train"]["total_iter"])
        self.start_iter = start_iter
        self.tb_logger = tb_logger if opt.get("logger", {}).get("use_tb_logger", True) else None
        self.logger = get_root_logger()
        self.reset_start_time()

    def reset_start_time(self) -> None:
        """Measures the speed from now on."""
        self.start_time = time.monotonic()

    @master_only
    def __call__(self, log_vars: Mapping[str, Any]) -> None:
        """Writes the line of one iteration.

        Args:
            log_vars: ``epoch``, ``iter``, ``lrs`` (list), optionally ``time`` and ``data_time`` (seconds per
                iteration), ``eta`` (remaining seconds; else told by the mean speed) and ``waits`` (text: what the run
                waits for), and the losses by name. It is not modified.
        """
        # Compose the line.
        epoch, iteration, rates = log_vars["epoch"], log_vars["iter"], log_vars["lrs"]
        values = {k: v for k, v in log_vars.items() if k not in NOT_LOSSES}
        head = f"[{self.exp_name[:5]}..][epoch:{epoch:3d}, iter:{iteration:8,d}, lr:("
        head += "".join(f"{rate:.3e}," for rate in rates) + ")] "
        if "time" in log_vars:
            done = max(1, iteration - self.start_iter + 1)
            seconds = (time.monotonic() - self.start_time) / done * (self.max_iters - iteration)
            seconds = log_vars.get("eta", seconds)
            head += f"[eta: {format_seconds(seconds)}, "
            head += f"time (data): {log_vars['time']:.3f} ({log_vars.get('data_time', 0.0):.3f})] "
        if log_vars.get("waits"):
            head += f"[{log_vars['waits']}] "
        self.logger.info("%s", head + " ".join(f"{name}: {value:.4e}" for name, value in values.items()))
        # Write the same to TensorBoard.
        if self.tb_logger is None or "debug" in self.exp_name:
            return
        for name, value in values.items():
            group = "losses" if name.startswith("l_") else "train"
            self.tb_logger.add_scalar(f"{group}/{name}", value, iteration)
        for index, rate in enumerate(rates):
            self.tb_logger.add_scalar("lr" if len(rates) == 1 else f"lr/{index}", rate, iteration)


@master_only
def init_tb_logger(log_dir: StrPath, purge_step: int | None = None) -> Any:
    """A TensorBoard writer.

    Args:
        log_dir: Folder of the events.
        purge_step: Hides events of an earlier process from this iteration on, which a resumed run writes again.
    """
    from torch.utils.tensorboard import SummaryWriter

    # TensorBoard's own checksum takes a second of Python for 10 MB of pictures, in which the training stands still.
    with suppress(ImportError, AttributeError):
        import google_crc32c
        from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

        pywrap_tensorflow.crc32c = google_crc32c.value
    return SummaryWriter(log_dir=os.fspath(log_dir), purge_step=purge_step)


@master_only
def init_wandb_logger(opt: Mapping[str, Any]) -> None:
    """Starts a run on Weights & Biases that mirrors TensorBoard.

    Args:
        opt: Options: ``name``, ``logger.wandb.project``, ``logger.wandb.resume_id``.

    Raises:
        UserError: If the package is not installed.
    """
    try:
        import wandb  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError(
            "logger.wandb.project is set, but wandb is not installed: pip install wandb, or set it to null"
        ) from None
    settings = opt["logger"]["wandb"]
    run_id = settings.get("resume_id")
    wandb.init(
        id=run_id or wandb.util.generate_id(),
        resume="allow" if run_id else "never",
        name=opt["name"],
        config=copy.deepcopy(dict(opt)),
        project=settings["project"],
        sync_tensorboard=True,
    )
    get_root_logger().info("Weights & Biases: project %s, run %s.", settings["project"], wandb.run.id)


def get_env_info() -> str:
    """Versions and devices, for the head of a log."""
    import numpy
    import torch
    import torchvision

    from basicsr import __version__

    lines = [
        f"basicsr: {__version__}",
        f"Python: {platform.python_version()} on {platform.platform()}",
        f"PyTorch: {torch.__version__}, torchvision: {torchvision.__version__}, NumPy: {numpy.__version__}",
    ]
    if torch.cuda.is_available():
        names = Counter(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        devices = ", ".join(f"{count} x {name}" for name, count in names.items())
        lines.append(f"CUDA: {torch.version.cuda}, cuDNN: {torch.backends.cudnn.version()}, GPUs: {devices}")
    else:
        lines.append(f"CUDA: none; CPU threads: {torch.get_num_threads()}")
    return "\n".join(lines)
