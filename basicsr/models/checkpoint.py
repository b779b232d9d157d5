"""Save and load training checkpoints; a file is written whole or not at all, and after all that it names."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from basicsr.models.saving import BackgroundWriter, map_tensors, on_host
from basicsr.models.stored_weights import read_stored, remove_checkpoint, write_stored
from basicsr.utils.atomic import atomic_save
from basicsr.utils.dist_util import RankLostError, ask_rank, get_dist_info, release_ranks, serve_master
from basicsr.utils.errors import TrainingError, WeightsError, find_remedy, first_line
from basicsr.utils.launcher import identify_launch
from basicsr.weights import read_file, read_part

logger = logging.getLogger("basicsr")

T = TypeVar("T")

FORMATS = (1, 2)
"""Those that are read: 1 holds all weights, 2 names files that hold some of them."""
SAVE_ATTEMPTS = 3
OWN_STATE = "pair_pool"
"""Entry of a model's state that differs between ranks; ``own_state()`` gives it alone."""


@dataclass(frozen=True)
class Position:
    """How far a run is.

    Attributes:
        iteration: Iterations done.
        epoch: The epoch that the last of them belonged to, from 0.
        start: Samples of this epoch that all ranks together have consumed.
        epoch_ranks: Number of ranks that this epoch began with; 0: as many as there are.
    """

    iteration: int = 0
    epoch: int = 0
    start: int = 0
    epoch_ranks: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: The file.
        position: How far the run was.
        model: The model's state, on the CPU.
        options_digest: Hash of the options that the numbers depend on.
        options: These options, as plain data; empty in files of earlier versions.
    """

    path: Path
    position: Position
    model: dict[str, Any]
    options_digest: str
    options: Mapping[str, Any]


class Model(Protocol):
    """A model whose state a checkpoint can hold; see :class:`basicsr.models.base_model.BaseModel`."""

    def training_state(self) -> dict[str, Any]:
        """All that has state, as named entries."""

    def own_state(self) -> dict[str, Any] | None:
        """The entry that differs between ranks, alone."""


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: Model,
    position: Position,
    options_digest: str = "",
    keep: int | None = None,
    options: Mapping[str, Any] | None = None,
    weights: Mapping[Path, Mapping[str, str]] | None = None,
    writer: BackgroundWriter | None = None,
) -> Path:
    """Writes ``<folder>/<iteration>.state``; all ranks must call it, rank 0 writes.

    Args:
        folder: Where checkpoints lie.
        model: The model.
        position: How far the run is.
        options_digest: See :class:`Checkpoint`.
        keep: How many of the newest checkpoints to keep; ``None`` keeps all.
        options: See :class:`Checkpoint`.
        weights: Files to write first, which the checkpoint names instead of holding these weights: the networks of the
            model's state by the file's keys.
        writer: Writes while the training goes on; the file is there when it is done. Several ranks with states of their
            own, which are large, write now all the same: only one of these is in memory at a time.

    Raises:
        TrainingError: If a file cannot be written, even after three attempts; a writer raises it where it is asked.
    """
    path = Path(folder) / f"{position.iteration}.state"
    rank, world_size = get_dist_info()
    if rank != 0:
        # Networks and optimizers are the same on all ranks. No rank goes on, or ends, before it has been asked.
        serve_master(lambda: on_host(model.own_state()))
        return path
    content, weights = _describe(model, position, world_size), weights or {}
    content |= {"format": 2 if weights else 1, "options_digest": options_digest, "options": dict(options or {})}
    others = range(1, world_size)
    if writer is None or (others and content["rank_states"][0]):
        # A pool of pairs may be large: that of one other rank at a time is in memory.
        parts = [(_part_name(other), partial(ask_rank, other)) for other in others]
        _write(path, on_host(content), weights, parts, keep)
        release_ranks()
        return path
    own_states = {other: ask_rank(other) for other in others}
    parts = [(_part_name(other), partial(own_states.__getitem__, other)) for other in others]
    release_ranks()
    writer.begin(content, lambda state: _write(path, state, weights, parts, keep))
    return path


def _describe(model: Model, position: Position, world_size: int) -> dict[str, Any]:
    """What a checkpoint holds of a model and of this launch."""
    state = dict(model.training_state())
    return {
        "iter": position.iteration,
        "epoch": position.epoch,
        "sampler": {
            "epoch": position.epoch,
            "consumed": position.start,
            "epoch_ranks": position.epoch_ranks or world_size,
            "world_size": world_size,
        },
        "rank_states": [state.pop(OWN_STATE, None)],
        "model": state,
        "launch": identify_launch(),
    }


def _write(
    path: Path,
    content: dict[str, Any],
    weights: Mapping[Path, Mapping[str, str]],
    parts: Sequence[tuple[str, Callable[[], memoryview]]],
    keep: int | None,
) -> Path:
    """Writes weights, then the checkpoint that names them, and removes what is older than those to be kept.

    Args:
        path: The checkpoint.
        content: All of it, on the CPU.
        weights: See :func:`save_checkpoint`.
        parts: Names of the other ranks' states, and what gives them, in memory one at a time.
        keep: See :func:`save_checkpoint`.
    """
    # In files, elements are in the order of dimensions, whatever the training's is.
    networks = map_tensors(content["model"].get("networks", {}), Tensor.contiguous)
    content = {**content, "model": {**content["model"], "networks": networks}}
    references = [
        _persist(file, partial(write_stored, networks, file, entries, path.parent)) for file, entries in weights.items()
    ]
    if references:
        apart = {name for entries in weights.values() for name in entries.values()}
        rest = {name: value for name, value in networks.items() if name not in apart}
        content = {**content, "model": {**content["model"], "networks": rest}, "weights": references}
    _persist(path, lambda: atomic_save(content, path, ((name, give()) for name, give in parts)))
    for old in list_checkpoints(path.parent)[keep:] if keep else ():
        remove_checkpoint(old)
    return path


def _persist(path: Path, write: Callable[[], T]) -> T:
    """Writes a file in several attempts."""
    attempt = 1
    while True:
        try:
            return write()
        except RankLostError:
            raise
        except (OSError, RuntimeError) as error:
            if attempt == SAVE_ATTEMPTS:
                reason = f"cannot write {path}, even after three attempts: {first_line(error)}"
                again = "go on with --auto_resume"
                raise TrainingError(f"{reason}; {find_remedy(error, again) or f'make room, then {again}'}") from error
            logger.warning("Cannot write %s (%s); trying again.", path, first_line(error))
            time.sleep(attempt)
            attempt += 1


def _part_name(rank: int) -> str:
    """The member of the archive that holds a rank's own state; that of rank 0 lies with the rest."""
    return f"rank_states/{rank}"


def list_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoint files of a folder, newest iteration first."""
    files = [path for path in Path(folder).glob("*.state") if path.stem.isdecimal()]
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
        content = read_file(file)
    except WeightsError as error:
        raise WeightsError(f"the checkpoint {file} is damaged: {first_line(error.__cause__ or error)}") from error
    if not isinstance(content, dict) or content.get("format") not in FORMATS:
        raise WeightsError(
            f"{file} is not a checkpoint of this package (format 1 or 2); published .state files hold no weights: "
            "start from weights with path.pretrain_network_* instead"
        )
    sampler = content.get("sampler")
    if isinstance(sampler, dict) and isinstance(sampler.get("start"), int):  # earlier versions counted for each rank
        ranks = sampler.get("world_size", 1)
        sampler |= {"consumed": sampler["start"] * ranks, "epoch_ranks": ranks}
    if fault := _find_fault(content):
        raise WeightsError(f"the checkpoint {file} is incomplete: it has no {fault}")
    stored = read_stored(content["weights"], file) if "weights" in content else {}
    networks = {"networks": stored | content["model"].get("networks", {})} if stored else {}
    rank, world_size = get_dist_info()
    own_states, sampler = content.pop("rank_states"), content["sampler"]
    if sampler["world_size"] != world_size:
        text = (
            "The world size was %d when the checkpoint was written and is %d now: the epoch's other images are dealt "
            "anew, and the run goes on to other bits."
        )
        logger.warning(text, sampler["world_size"], world_size)
    # Rank 0's is in the list; earlier versions kept those of all ranks there.
    own_rank = rank % sampler["world_size"]
    own_state = own_states[own_rank] if own_rank < len(own_states) else None
    is_apart = own_rank >= len(own_states)
    del own_states  # before another one is read
    model = {
        **content["model"],
        **networks,
        OWN_STATE: read_part(file, _part_name(own_rank)) if is_apart else own_state,
    }
    ranks = sampler["epoch_ranks"]
    position = Position(content["iter"], sampler["epoch"], sampler["consumed"], 0 if ranks == world_size else ranks)
    return Checkpoint(file, position, model, content.get("options_digest", ""), content.get("options") or {})


def _find_fault(content: Mapping[str, Any]) -> str:
    """What a checkpoint lacks, or has in a form that cannot be read; empty if nothing."""
    wanted: dict[str, type] = {"iter": int, "sampler": Mapping, "model": Mapping, "rank_states": list}
    if content["format"] > 1:
        wanted["weights"] = list
    lacking = [key for key, kind in wanted.items() if not isinstance(content.get(key), kind) or content[key] == []]
    if not lacking:
        least = {"epoch": 0, "consumed": 0, "epoch_ranks": 1, "world_size": 1}
        counts = {key: content["sampler"].get(key) for key in least}
        lacking = [f"sampler.{key}" for key, n in counts.items() if not isinstance(n, int) or n < least[key]]
    return " and no ".join(lacking)


def find_latest_checkpoint(
    folder: str | os.PathLike[str], before: int | None = None, launch: str = ""
) -> Checkpoint | None:
    """Reads the newest checkpoint that is whole; damaged ones are named in the log and passed over.

    Args:
        folder: Where checkpoints lie.
        before: Look among those of earlier iterations only.
        launch: Look among those of this launch only; see :func:`basicsr.utils.launcher.identify_launch`.
    """
    for path in list_checkpoints(folder):
        if (before is not None and int(path.stem) >= before) or (launch and _read_launch(path) != launch):
            continue
        try:
            return load_checkpoint(path)
        except WeightsError as error:
            logger.warning("%s; trying an older one.", error)
    return None


def _read_launch(path: Path) -> str:
    """The launch that wrote a checkpoint, without reading its tensors; empty if that cannot be told."""
    try:
        return str(torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("launch", ""))
    except Exception:
        return ""
