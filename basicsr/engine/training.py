"""Train as options say, from the first log line to the summary."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from basicsr.engine.loaders import (
    announce_skipped,
    build_evaluation_loaders,
    build_training_batches,
    describe_schedule,
)
from basicsr.engine.loggers import announce, open_trackers
from basicsr.engine.run_folder import choose_checkpoint, prepare_folder
from basicsr.engine.trainer import TrainingRun, train
from basicsr.models import BaseModel, build_model
from basicsr.models.checkpoint import Checkpoint, Position
from basicsr.options import dict2str
from basicsr.utils.frozen import FrozenOptions, freeze
from basicsr.utils.logger import get_env_info, get_root_logger
from basicsr.utils.seeding import choose_algorithms, derive_seed, set_random_seed


def run_training(opt: FrozenOptions, opt_file: str) -> None:
    """Trains as the options say; in a distributed run every process calls this.

    Args:
        opt: Options from :func:`basicsr.options.parse_options`.
        opt_file: The option file, a copy of which stays with the run.

    Raises:
        UserError: For anything that the user can fix; see ``docs/train.md`` for exit codes.
        Interrupted: After a signal.
    """
    checkpoint = choose_checkpoint(opt)
    announce("%s", get_env_info())
    announce("%s", dict2str(opt))
    if checkpoint and _is_finished(opt, checkpoint.position):
        prepare_folder(opt, opt_file, goes_on=True)
        announce("%s is finished: %s iterations; nothing to do.", opt["name"], f"{checkpoint.position.iteration:,}")
        return

    seed_networks(opt)
    batches = build_training_batches(opt)
    val_loaders = build_evaluation_loaders(opt, "val")
    announce("%s", describe_schedule(batches, int(opt["train"]["total_iter"])))
    model = build_model(opt if checkpoint is None else _without_pretrained(opt))
    position = restore(model, opt, checkpoint) if checkpoint else Position()
    # Not before: a run that cannot begin must not take the place of an earlier one.
    prepare_folder(opt, opt_file, goes_on=checkpoint is not None)
    tb_logger = open_trackers(opt, position.iteration if checkpoint else None)

    run = TrainingRun(opt, model, batches, val_loaders, position, tb_logger)
    with ExitStack() as at_end:
        if tb_logger is not None:
            at_end.callback(tb_logger.close)
        for loader in (batches.loader, *val_loaders):
            at_end.callback(loader.close)
        train(run)
        model.save_networks(-1)
        announce("Training is done: %s iterations.", f"{run.position.iteration:,}")
        root = Path(opt["path"]["experiments_root"])
        model.evaluator().finish(val_loaders, run.position.iteration, root, tb_logger)
        announce_skipped([batches.loader, *val_loaders])


def seed_networks(opt: Mapping[str, Any]) -> None:
    """Makes the networks' initial weights a function of ``manual_seed``, the same on every rank."""
    set_random_seed(derive_seed("networks", int(opt.get("manual_seed") or 0)))
    choose_algorithms(deterministic=bool(opt.get("deterministic", False)))


def restore(model: BaseModel, opt: FrozenOptions, checkpoint: Checkpoint) -> Position:
    """Puts a checkpoint's state into a model and says how far it is."""
    model.load_training_state(checkpoint.model)
    position = checkpoint.position
    announce("Resuming from %s: iteration %s, epoch %d", checkpoint.path, f"{position.iteration:,}", position.epoch)
    if checkpoint.options_digest and checkpoint.options_digest != opt.typed.digest:
        get_root_logger().warning(
            "The options have changed since that checkpoint was written: the run will not end where it would have."
        )
    return position


def _is_finished(opt: FrozenOptions, position: Position) -> bool:
    """Whether all iterations are done and so is what comes after them."""
    if position.iteration < int(opt["train"]["total_iter"]):
        return False
    has_validation = any(key.split("_")[0] == "val" for key in opt["datasets"])
    expected = "summary.json" if has_validation else "models/net_g_latest.pth"
    return (Path(opt["path"]["experiments_root"]) / expected).exists()


def _without_pretrained(opt: FrozenOptions) -> FrozenOptions:
    """The options for a model whose weights come from a checkpoint."""
    path = {key: None if key.startswith("pretrain_network_") else value for key, value in opt["path"].items()}
    return freeze({**opt, "path": path}, opt.typed.without_pretrained())
