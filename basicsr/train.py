"""Training: ``python basicsr/train.py -opt FILE.yml``; see ``docs/train.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basicsr.engine.exits import run_to_exit_code
from basicsr.utils.arguments import build_parser


def train_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Trains as the command line says.

    Args:
        root_path: The project folder; results go to ``experiments/`` in it.
        argv: Arguments; ``None`` takes those of the process.

    Raises:
        UserError: For anything that the user can fix.
        Interrupted: After Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, once a checkpoint is written.
    """
    from basicsr.engine.pipeline import run_pipeline

    run_pipeline(root_path, argv, is_train=True)


def init_tb_loggers(opt: Mapping[str, Any]) -> Any:
    """Opens Weights & Biases where ``logger.wandb.project`` is named, then TensorBoard.

    Returns:
        The TensorBoard writer, or ``None`` without ``logger.use_tb_logger``, in debug runs and on other ranks than 0.
    """
    from basicsr.engine.loggers import open_trackers
    from basicsr.options import RunOptions
    from basicsr.utils.frozen import freeze

    given = {key: opt.get(key) for key in ("name", "root_path", "logger")}
    is_foreign = {"is_open": True, "is_dropping": True}
    typed = getattr(opt, "typed", None) or RunOptions.model_validate(given, context=is_foreign)
    return open_trackers(freeze(opt, typed), None)


def create_train_val_dataloader(opt: Mapping[str, Any], logger: Any) -> tuple[Any, Any, list[Any], int, int]:
    """Builds the loaders of all training and validation sets, and says their sizes to ``logger``.

    Returns:
        Training loader and sampler, validation loaders, number of epochs, number of iterations.
    """
    import math

    from basicsr.engine.loaders import build_evaluation_loaders, build_training_batches, describe_schedule

    batches, total_iter = build_training_batches(opt), int(opt["train"]["total_iter"])
    val_loaders = build_evaluation_loaders(opt, "val")
    logger.info(describe_schedule(batches, total_iter))
    num_epochs = math.ceil(total_iter / batches.batches_per_epoch)
    return batches.loader, batches.sampler, val_loaders, num_epochs, total_iter


def load_resume_state(opt: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reads the checkpoint to go on from: the newest with ``auto_resume``, else ``path.resume_state``.

    Returns:
        ``iter`` and ``epoch`` that are done, and ``model``: for the model's ``resume_training``; ``None`` to begin.

    Raises:
        WeightsError: If the checkpoint is missing or damaged.
    """
    from basicsr.engine.run_folder import choose_checkpoint

    checkpoint = choose_checkpoint(opt)
    if checkpoint is None:
        return None
    position = checkpoint.position
    return {"iter": position.iteration, "epoch": position.epoch, "model": checkpoint.model}


def project_root() -> Path:
    """The source tree that this file lies in; the working directory if the package is installed elsewhere."""
    tree = Path(__file__).resolve().parents[1]
    return tree if (tree / "pyproject.toml").is_file() else Path.cwd()


def main(argv: Sequence[str] | None = None, root_path: str | os.PathLike[str] | None = None) -> int:
    """The command; returns its exit code."""
    build_parser(is_train=True).parse_args(argv)  # answers -h and wrong flags before torch is loaded
    return run_to_exit_code(lambda: train_pipeline(root_path or project_root(), argv), "go on with --auto_resume")


if __name__ == "__main__":
    sys.exit(main())
