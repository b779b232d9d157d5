"""The folder of a training run, and the checkpoint in it that the run goes on from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basicsr.engine.loggers import announce
from basicsr.models.checkpoint import Checkpoint, find_latest_checkpoint, list_checkpoints, load_checkpoint
from basicsr.options import copy_opt_file
from basicsr.options.imports import keep_imports
from basicsr.utils.atomic import remove_temporaries
from basicsr.utils.dist_util import barrier, broadcast_object, get_dist_info
from basicsr.utils.errors import UserError, count
from basicsr.utils.folders import get_time_str, make_exp_dirs
from basicsr.utils.launcher import identify_launch, is_under_torchrun
from basicsr.utils.logger import get_root_logger

logger = logging.getLogger("basicsr")


def goes_on_by_itself(opt: Mapping[str, Any]) -> bool:
    """Whether the run looks for a checkpoint of its own: with ``--auto_resume``, and under ``torchrun``."""
    return bool(opt.get("auto_resume")) or is_under_torchrun()


def choose_checkpoint(opt: Mapping[str, Any], before: int | None = None) -> Checkpoint | None:
    """Reads the checkpoint to go on from, the same on every rank; ``None`` to begin.

    With ``--auto_resume`` it is the newest whole one of the run's own folder. When ``torchrun`` has restarted the
    processes, it is the newest that this launch has written, as others are of an earlier run. Otherwise
    ``path.resume_state`` names it.

    Args:
        opt: The options.
        before: Look in the folder for those of earlier iterations only.

    Raises:
        WeightsError: If the one that is named is missing or damaged.
    """
    path = opt["path"]
    found: Checkpoint | None = None
    # Looking for one that is whole means reading it, so one rank looks and the others read the file that it chose.
    if get_dist_info()[0] == 0 and goes_on_by_itself(opt):
        resumes = bool(opt.get("auto_resume"))
        found = find_latest_checkpoint(path["training_states"], before, "" if resumes else identify_launch())
        if found is None and resumes and not path.get("resume_state") and (lost := _describe_loss(path)):
            logger.warning("%s: STARTING ANEW, from iteration 0.", lost)
    file = broadcast_object(found.path if found else path.get("resume_state"))
    return found or (load_checkpoint(file) if file else None)


def _describe_loss(path: Mapping[str, Any]) -> str:
    """What a run's folder lacks that once was there; empty for a run that has not saved anything yet."""
    if files := list_checkpoints(path["training_states"]):
        return f"None of the {count(len(files), 'checkpoint')} in {path['training_states']} can be used"
    has_weights = any(Path(path["models"]).glob("*.pth"))
    return f"{path['experiments_root']} has weights of a run, but no checkpoint of it is left" if has_weights else ""


def prepare_folder(opt: Mapping[str, Any], opt_file: str, goes_on: bool, overrides: Sequence[str] = ()) -> None:
    """Makes the run's folders, starts its log file, and keeps a copy of the option file.

    A folder that another run left is renamed ``…_archived_<time>``, unless this run goes on with it, or
    ``--auto_resume`` finds that it has nothing in it but logs.

    Args:
        opt: The options.
        opt_file: The option file.
        goes_on: Whether the run starts from a checkpoint.
        overrides: What ``--force_yml`` has changed in it.

    Raises:
        UserError: If the run starts from weights in the very folder that would be archived.
    """
    if get_dist_info()[0] == 0:
        path = opt["path"]
        archived = None
        remove_temporaries(path["experiments_root"])
        holds_results = any(any(Path(path[name]).glob("*")) for name in ("models", "training_states"))
        if goes_on or (opt.get("auto_resume") and not holds_results):
            for name in ("experiments_root", "models", "training_states", "visualization"):
                Path(path[name]).mkdir(parents=True, exist_ok=True)
        else:
            root = Path(path["experiments_root"]).resolve()
            for key, value in path.items():
                if key.startswith("pretrain_network_") and value and root in Path(value).resolve().parents:
                    raise UserError(
                        f"path.{key} lies in {root}, which this run would archive: choose another name, or go on with "
                        "--auto_resume"
                    )
            archived = make_exp_dirs(opt)
        copy_opt_file(opt_file, path["experiments_root"], overrides)
        keep_imports(opt.get("imports") or (), opt_file, path["experiments_root"])
        get_root_logger(log_file=Path(path["log"]) / f"train_{opt['name']}_{get_time_str()}.log")
        if archived is not None:
            announce("The results of an earlier run of this name are kept in %s", archived)
    barrier()
