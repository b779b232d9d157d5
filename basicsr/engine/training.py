"""Train as options say, from the first log line to the summary."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from basicsr.engine.exits import Interrupted
from basicsr.engine.folder_hold import FolderHold, hold_folder
from basicsr.engine.loaders import (
    TrainingBatches,
    announce_skipped,
    build_evaluation_loaders,
    build_training_batches,
    describe_schedule,
)
from basicsr.engine.loggers import announce, announce_options, open_trackers, write_own_report
from basicsr.engine.rehearsal import rehearse
from basicsr.engine.run_folder import choose_checkpoint, goes_on_by_itself, prepare_folder
from basicsr.engine.trainer import TrainingRun, export, train
from basicsr.models import BaseModel, build_model
from basicsr.models.checkpoint import OWN_STATE, Checkpoint, Position
from basicsr.models.presets import locate_in
from basicsr.utils.dist_util import gather_objects, get_dist_info, restart_count
from basicsr.utils.errors import WeightsError, count
from basicsr.utils.frozen import FrozenOptions, freeze, list_changes
from basicsr.utils.seeding import choose_algorithms, derive_seed, set_random_seed

logger = logging.getLogger("basicsr")

MAX_CHANGES_NAMED = 12


def run_training(opt: FrozenOptions, opt_file: str, overrides: Sequence[str] = ()) -> None:
    """Trains as the options say; in a distributed run every process calls this.

    Args:
        opt: Options from :func:`basicsr.options.parse_options`.
        opt_file: The option file, a copy of which stays with the run.
        overrides: What ``--force_yml`` has changed in it.

    Raises:
        UserError: For anything that the user can fix; see ``docs/train.md`` for exit codes.
        Interrupted: After a signal.
    """
    # Before the checkpoint is chosen: another run of this name may be about to write its last.
    waits = bool(opt.get("auto_resume")) or restart_count() > 0
    with hold_folder(opt["path"]["experiments_root"], waits) as hold:
        _train_in_folder(opt, opt_file, overrides, hold)


def _train_in_folder(opt: FrozenOptions, opt_file: str, overrides: Sequence[str], hold: FolderHold | None) -> None:
    checkpoint = choose_checkpoint(opt)
    announce_options(opt, opt_file)

    # A run is finished if all iterations are done and so is what comes after them.
    root, total_iter = Path(opt["path"]["experiments_root"]), int(opt["train"]["total_iter"])
    has_validation = any(key.split("_")[0] == "val" for key in opt["datasets"])
    last_file = root / ("summary.json" if has_validation else "models/net_g_latest.pth")
    if checkpoint and checkpoint.position.iteration >= total_iter and last_file.exists():
        prepare_folder(opt, opt_file, goes_on=True, overrides=overrides)
        announce("%s is finished: %s iterations; nothing to do.", opt["name"], f"{checkpoint.position.iteration:,}")
        return

    # Build data and model.
    seed_networks(opt)
    batches = build_training_batches(opt)
    val_loaders = build_evaluation_loaders(opt, "val")
    announce("%s", describe_schedule(batches, total_iter))
    model, checkpoint = build_or_restore(opt, checkpoint, batches)
    position = checkpoint.position if checkpoint else Position()
    if opt.typed.train.rehearse:
        rehearse(opt, model, batches, val_loaders, position)
    # Not before: a run that cannot begin must not take the place of an earlier one.
    prepare_folder(opt, opt_file, goes_on=checkpoint is not None, overrides=overrides)
    tb_logger = open_trackers(opt, position.iteration if checkpoint else None)

    # Train, then export and measure.
    run = TrainingRun(opt, model, batches, val_loaders, position, tb_logger, hold)
    with ExitStack() as at_end:
        for closable in (tb_logger, batches.loader, *val_loaders):
            if closable is not None:
                at_end.callback(closable.close)
        try:
            train(run)
        except Interrupted:
            # All is saved. Whoever stops the run once more does not wait for the page, nor does a launcher, which
            # gives its processes a while to end.
            with suppress(KeyboardInterrupt):
                if get_dist_info()[1] == 1:
                    write_own_report(opt, root, val_loaders)
            raise
        export(model, Position(-1, -1))
        announce("Training is done: %s iterations.", f"{run.position.iteration:,}")
        model.evaluator().finish(val_loaders, run.position.iteration, root, tb_logger, model.measure)
        announce_skipped([batches.loader, *val_loaders])
        write_own_report(opt, root, val_loaders)


def seed_networks(opt: FrozenOptions) -> None:
    """Makes the networks' initial weights a function of ``manual_seed``, the same on every rank."""
    set_random_seed(derive_seed("networks", opt.typed.manual_seed))
    train = opt.typed.train
    tf32 = train is not None and train.precision == "tf32"
    choose_algorithms(deterministic=opt.typed.deterministic, tf32=tf32)


def build_or_restore(
    opt: FrozenOptions, checkpoint: Checkpoint | None, batches: TrainingBatches
) -> tuple[BaseModel, Checkpoint | None]:
    """Builds the model and goes on from a checkpoint, or from an older one where that does not fit.

    Returns:
        The model, and the checkpoint that it has the state of; ``None``: it begins.

    Raises:
        WeightsError: If the checkpoint does not fit because the options have changed, or is the one that the options
            name.
    """
    while checkpoint is not None:
        # In the place of weights to start from, a checkpoint has all that the model holds.
        path = {key: None if key.startswith("pretrain_network_") else value for key, value in opt["path"].items()}
        model = build_model(freeze({**opt, "path": path}, opt.typed.without_pretrained()))
        changes, shortage = _list_changes(opt, checkpoint), _find_shortage(checkpoint, batches)
        faults = gather_objects(_restore(model, checkpoint, is_same=not changes))
        fault = next(filter(None, [*faults, shortage]), "")
        if not fault:
            place = f"iteration {checkpoint.position.iteration:,}, epoch {checkpoint.position.epoch}"
            announce("Resuming from %s: %s", checkpoint.path, place)
            if changes:
                logger.warning(
                    "Options have changed since that checkpoint was written, and hold from here: %s", changes
                )
            return model, checkpoint
        is_named = not goes_on_by_itself(opt) or str(checkpoint.path) == opt["path"].get("resume_state")
        if changes or shortage or is_named:
            changed = f" Options that have changed since it was written: {changes}." if changes else ""
            raise WeightsError(
                f"{checkpoint.path} does not fit: {fault}.{changed} Change back what has changed, or start anew under "
                "another name (path.pretrain_network_g takes this run's weights)"
            )
        logger.warning("%s cannot be used: %s; trying an older one.", checkpoint.path, fault)
        checkpoint = choose_checkpoint(opt, before=checkpoint.position.iteration)
        seed_networks(opt)
    return build_model(opt), None


def _list_changes(opt: FrozenOptions, checkpoint: Checkpoint) -> str:
    """What of the options that the numbers depend on was different when a checkpoint was written."""
    if checkpoint.options_digest in ("", opt.typed.digest):
        return ""
    if not checkpoint.options:
        return "an earlier version wrote it, and did not keep what they were"
    changes = [_name_change(opt, change) for change in list_changes(checkpoint.options, opt.typed.numbers)]
    return "; ".join(changes[:MAX_CHANGES_NAMED]) + (" …" if len(changes) > MAX_CHANGES_NAMED else "")


def _name_change(opt: FrozenOptions, change: str) -> str:
    """A change by the option's place in the file, where that is another than the place in today's form."""
    place, was, values = change.partition(" was ")
    is_data = place.startswith("data.")  # as the numbers call the training set
    return f"{place.replace('data', 'datasets.train', 1) if is_data else locate_in(opt, place)}{was}{values}"


def _restore(model: BaseModel, checkpoint: Checkpoint, is_same: bool) -> str:
    """Puts a checkpoint's state into a model; returns why it does not fit, or an empty text."""
    try:
        model.load_training_state(checkpoint.model)
    except WeightsError as error:
        return str(error)
    if is_same and model.own_state() and not checkpoint.model.get(OWN_STATE):
        return "the pool of pairs is missing"
    return ""


def _find_shortage(checkpoint: Checkpoint, batches: TrainingBatches) -> str:
    """Says so if the epoch that a run is in has become shorter than the run is into it."""
    position, sampler = checkpoint.position, batches.sampler
    size = sampler.size_of_epoch(position.epoch_ranks or sampler.num_replicas)
    if position.start <= size:
        return ""
    return f"the run is {count(position.start, 'sample')} into an epoch that has {size} now; there were more images"
