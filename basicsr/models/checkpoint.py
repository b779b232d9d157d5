"""One file that holds all that a training run needs to go on, written whole or not at all."""

from __future__ import annotations

import logging
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from basicsr.utils.atomic import atomic_save
from basicsr.utils.dist_util import barrier, gather_objects, get_dist_info
from basicsr.utils.errors import TrainingError, WeightsError

logger = logging.getLogger("basicsr")

FORMAT = 1
SUFFIX = ".state"
SAVE_ATTEMPTS = 3
_OWN_STATE = "pair_pool"
"""Entry of a model's state that differs between ranks."""


@dataclass(frozen=True)
class Position:
    """How far a run is.

    Attributes:
        iteration: Iterations done.
        epoch: The epoch that the last of them belonged to, from 0.
        start: Samples of this epoch that each rank has consumed.
    """

    iteration: int = 0
    epoch: int = 0
    start: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: The file.
        position: How far the run was; ``start`` counts for the present number of ranks.
        model: The model's state, on the CPU.
        options_digest: Hash of the options that the numbers depend on.
    """

    path: Path
    position: Position
    model: dict[str, Any]
    options_digest: str


def save_checkpoint(
    folder: str | os.PathLike[str], model: Any, position: Position, options_digest: str = "", keep: int | None = None
) -> Path:
    """Writes ``<folder>/<iteration>.state``; all ranks must call it, rank 0 writes.

    Args:
        folder: Where checkpoints lie.
        model: Has ``training_state()``.
        position: How far the run is.
        options_digest: See :class:`Checkpoint`.
        keep: How many of the newest checkpoints to keep; ``None`` keeps all.

    Raises:
        TrainingError: If the file cannot be written, also not at a third try.
    """
    path = Path(folder) / f"{position.iteration}{SUFFIX}"
    rank, world_size = get_dist_info()
    state = dict(model.training_state())
    own_states = gather_objects(state.pop(_OWN_STATE, None))
    if rank != 0:
        barrier()
        return path
    content = {
        "format": FORMAT,
        "iter": position.iteration,
        "epoch": position.epoch,
        "sampler": {"epoch": position.epoch, "start": position.start, "world_size": world_size},
        "model": state,
        "rank_states": own_states,
        "options_digest": options_digest,
    }
    _write(content, path)
    for old in list_checkpoints(folder)[keep:] if keep else ():
        old.unlink(missing_ok=True)
    barrier()  # no rank goes on, or ends, before the file is there
    return path


def _write(content: dict[str, Any], path: Path) -> None:
    for attempt in range(1, SAVE_ATTEMPTS + 1):
        try:
            atomic_save(content, path)
            return
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if attempt == SAVE_ATTEMPTS:
                message = f"cannot write the checkpoint {path}: {reason}; make room, then go on with --auto_resume"
                raise TrainingError(message) from error
            logger.warning("Cannot write %s (%s); trying again.", path, reason)
            time.sleep(attempt)


def list_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoint files of a folder, newest iteration first."""
    files = [path for path in Path(folder).glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    return sorted(files, key=lambda path: int(path.stem), reverse=True)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint, on the CPU, and checks that it is whole.

    Raises:
        WeightsError: If it is missing, torn, or not a checkpoint of this package.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"there is no checkpoint {file}; put it there, or change path.resume_state")
    try:
        # torch.load does not compare the checksums that the archive holds.
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"checksum of {broken} is wrong")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"the checkpoint {file} is damaged: {reason}") from error
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise WeightsError(
            f"{file} is not a checkpoint of this package (format {FORMAT}); published .state files hold no weights: "
            "start from weights with path.pretrain_network_* instead"
        )
    return _read(file, content)


def _read(file: Path, content: Mapping[str, Any]) -> Checkpoint:
    rank, world_size = get_dist_info()
    sampler = content["sampler"]
    position = Position(int(content["iter"]), int(sampler["epoch"]), int(sampler["start"]))
    model = dict(content["model"])
    own_states = content.get("rank_states") or [None]
    saved_world_size = int(sampler.get("world_size", 1))
    if saved_world_size != world_size:
        logger.warning(
            "The checkpoint was written by %d processes, now there are %d: the run goes on, but not to the same bits.",
            saved_world_size,
            world_size,
        )
        position = replace(position, start=position.start * saved_world_size // world_size)
    own_state = own_states[rank % len(own_states)]
    if own_state is not None:
        model[_OWN_STATE] = own_state
    return Checkpoint(file, position, model, str(content.get("options_digest", "")))


def find_latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are named in the log and passed over."""
    for path in list_checkpoints(folder):
        try:
            load_checkpoint(path)
            return path
        except WeightsError as error:
            logger.warning("%s; trying an older one.", error)
    return None
