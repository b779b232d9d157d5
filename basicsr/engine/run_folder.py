"""The folder of a training run: begun anew with the old one archived, or gone on with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.models.checkpoint import find_latest_checkpoint
from basicsr.options import copy_opt_file
from basicsr.utils.dist_util import barrier, broadcast_object, get_dist_info, restart_count
from basicsr.utils.errors import UserError
from basicsr.utils.folders import get_time_str, make_exp_dirs
from basicsr.utils.logger import get_root_logger

logger = logging.getLogger("basicsr")

FOLDERS = ("experiments_root", "models", "training_states", "visualization")


def choose_checkpoint(opt: Mapping[str, Any]) -> Path | None:
    """The checkpoint to go on from, the same on every rank; ``None`` to begin.

    With ``--auto_resume``, and when ``torchrun`` has started the processes anew, it is the newest whole one of the
    run's own folder. ``path.resume_state`` names it otherwise.
    """
    path = opt["path"]
    chosen: Path | None = None
    if get_dist_info()[0] == 0:
        if opt.get("auto_resume") or restart_count() > 0:
            chosen = find_latest_checkpoint(path["training_states"])
        if chosen is None and path.get("resume_state"):
            chosen = Path(path["resume_state"])
    return broadcast_object(chosen)


def prepare_folder(opt: Mapping[str, Any], opt_file: str, checkpoint: Path | None) -> None:
    """Makes the run's folders, starts its log file, and keeps a copy of the option file.

    A folder that another run left is renamed ``…_archived_<time>``, unless this run goes on with it, or
    ``--auto_resume`` finds that it has nothing in it but logs.

    Raises:
        UserError: If the run starts from weights in the very folder that would be archived.
    """
    if get_dist_info()[0] == 0:
        root = Path(opt["path"]["experiments_root"])
        archived = None
        if checkpoint is not None or (opt.get("auto_resume") and not _holds_results(opt)):
            for name in FOLDERS:
                Path(opt["path"][name]).mkdir(parents=True, exist_ok=True)
        else:
            _refuse_own_weights(opt)
            archived = make_exp_dirs(opt)
        copy_opt_file(opt_file, root)
        get_root_logger(log_file=Path(opt["path"]["log"]) / f"train_{opt['name']}_{get_time_str()}.log")
        if archived is not None:
            logger.info("The results of an earlier run of this name are kept in %s", archived)
    barrier()


def _holds_results(opt: Mapping[str, Any]) -> bool:
    folders = (Path(opt["path"][name]) for name in ("models", "training_states"))
    return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def _refuse_own_weights(opt: Mapping[str, Any]) -> None:
    root = Path(opt["path"]["experiments_root"]).resolve()
    for key, value in opt["path"].items():
        if key.startswith("pretrain_network_") and value and root in Path(value).resolve().parents:
            raise UserError(
                f"path.{key} lies in {root}, which this run would archive: choose another name, or go on with "
                "--auto_resume"
            )
