"""Trackers of a run: TensorBoard and Weights & Biases; the lines that tell its story, and the page at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basicsr.data.loader import ImageLoader
from basicsr.options import RunOptions, dict2str
from basicsr.reporting.report import FILE, write_report
from basicsr.utils.dist_util import is_master
from basicsr.utils.errors import count, first_line
from basicsr.utils.folders import archive
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.logger import FILE_ONLY, get_env_info, get_root_logger, init_tb_logger, init_wandb_logger


def open_trackers(opt: FrozenOptions, resumed_at: int | None) -> Any:
    """Opens TensorBoard under ``tb_logger/<name>`` and, where a project is named, Weights & Biases.

    Args:
        opt: The options.
        resumed_at: Iteration that the run goes on from; ``None`` for a new run, whose name's older events are archived.

    Returns:
        The TensorBoard writer, or ``None`` on other ranks than 0, without ``logger.use_tb_logger``, and in debug runs.

    Raises:
        UserError: If Weights & Biases is asked for and cannot be had.
    """
    options: RunOptions = opt.typed
    name = str(options.name)
    if not is_master() or not options.logger.use_tb_logger or "debug" in name:
        return None
    if options.logger.wandb and options.logger.wandb.project:
        init_wandb_logger(opt)
    folder = Path(str(options.root_path), "tb_logger", name)
    if resumed_at is None:
        archive(folder)
    return init_tb_logger(folder, purge_step=None if resumed_at is None else resumed_at + 1)


def announce(text: str, *args: object) -> None:
    """Logs one line of a run's story."""
    get_root_logger().info(text, *args)


def announce_options(opt: FrozenOptions, opt_file: str) -> None:
    """Logs what runs, and with which versions: in a few lines, and with every option in the log file."""
    options: RunOptions = opt.typed
    parts = [options.model_type or "", f"x{options.scale}" if options.scale else ""]
    if options.train and options.is_train:
        parts.append(f"{count(options.train.total_iter or 0, 'iteration')}")
    announce("%s", get_env_info())
    announce("%s: %s; all options are in the log file", opt_file, " ".join(filter(None, parts)))
    get_root_logger().info("%s", dict2str(opt), extra={FILE_ONLY: True})


def write_own_report(opt: FrozenOptions, folder: Path, loaders: Sequence[ImageLoader]) -> None:
    """Writes the page of a run into its folder, on rank 0; where that fails, a warning says so, and the run has not."""
    if not is_master() or not opt.typed.logger.report:
        return
    try:
        write_report([folder], folder / FILE, datasets=[loader.dataset for loader in loaders])
    except Exception as error:
        get_root_logger().warning("The report could not be written: %s", first_line(error))
    else:
        announce("Report: %s", folder / FILE)
