"""Train as options say, from the first log line to the summary."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from basicsr.engine.folder_hold import FolderHold, hold_folder
from basicsr.engine.loaders import (
    announce_skipped,
    build_evaluation_loaders,
    build_training_batches,
    describe_schedule,
)
from basicsr.engine.loggers import announce, open_trackers
from basicsr.engine.run_folder import choose_checkpoint, goes_on_by_itself, prepare_folder
from basicsr.engine.trainer import TrainingRun, export, train
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
    # Before the checkpoint is chosen: another run of this name may be about to write its last.
    with hold_folder(opt["path"]["experiments_root"], waits=goes_on_by_itself(opt)) as hold:
        _train_in_folder(opt, opt_file, hold)


def _train_in_folder(opt: FrozenOptions, opt_file: str, hold: FolderHold | None) -> None:
    checkpoint = choose_checkpoint(opt)
    announce("%s", get_env_info())
    announce("%s", dict2str(opt))

    # A run is finished if all iterations are done and so is what comes after them.
    root, total_iter = Path(opt["path"]["experiments_root"]), int(opt["train"]["total_iter"])
    has_validation = any(key.split("_")[0] == "val" for key in opt["datasets"])
    last_file = root / ("summary.json" if has_validation else "models/net_g_latest.pth")
    if checkpoint and checkpoint.position.iteration >= total_iter and last_file.exists():
        prepare_folder(opt, opt_file, goes_on=True)
        announce("%s is finished: %s iterations; nothing to do.", opt["name"], f"{checkpoint.position.iteration:,}")
        return

    # Build data and model. In the place of weights to start from, a checkpoint has all that the model holds.
    seed_networks(opt)
    batches = build_training_batches(opt)
    val_loaders = build_evaluation_loaders(opt, "val")
    announce("%s", describe_schedule(batches, total_iter))
    if checkpoint is None:
        model, position = build_model(opt), Position()
    else:
        path = {key: None if key.startswith("pretrain_network_") else value for key, value in opt["path"].items()}
        model = build_model(freeze({**opt, "path": path}, opt.typed.without_pretrained()))
        position = restore(model, opt, checkpoint)
    # Not before: a run that cannot begin must not take the place of an earlier one.
    prepare_folder(opt, opt_file, goes_on=checkpoint is not None)
    tb_logger = open_trackers(opt, position.iteration if checkpoint else None)

    # Train, then export and measure.
    run = TrainingRun(opt, model, batches, val_loaders, position, tb_logger, hold)
    with ExitStack() as at_end:
        for closable in (tb_logger, batches.loader, *val_loaders):
            if closable is not None:
                at_end.callback(closable.close)
        train(run)
        export(model, Position(-1, -1))
        announce("Training is done: %s iterations.", f"{run.position.iteration:,}")
        model.evaluator().finish(val_loaders, run.position.iteration, root, tb_logger, model.measure)
        announce_skipped([batches.loader, *val_loaders])


def seed_networks(opt: FrozenOptions) -> None:
    """Makes the networks' initial weights a function of ``manual_seed``, the same on every rank."""
    set_random_seed(derive_seed("networks", opt.typed.manual_seed))
    choose_algorithms(deterministic=opt.typed.deterministic)


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
