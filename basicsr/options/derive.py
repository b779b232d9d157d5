"""Fills in what follows from the options and from how the program was started: folders, rank, debug mode."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.options.dataset_blocks import expand_home
from basicsr.options.findings import Findings
from basicsr.utils.errors import Problem

DEBUG_FREQUENCIES = {"val": {"val_freq": 8}, "logger": {"print_freq": 1, "save_checkpoint_freq": 8}}
DERIVED_KEYS = ("is_train", "auto_resume", "dist", "rank", "world_size", "root_path")
DERIVED_PATHS = ("root", "models", "training_states", "log", "visualization")


@dataclass(frozen=True)
class Launch:
    """How the program was started.

    Attributes:
        launcher: ``none``, ``pytorch`` or ``slurm``.
        rank: Number of this process.
        world_size: Number of processes.
    """

    launcher: str = "none"
    rank: int = 0
    world_size: int = 1

    @property
    def is_distributed(self) -> bool:
        return self.launcher != "none"


def detect_launch(launcher: str | None) -> Launch:
    """Finds out which process of how many this is.

    Args:
        launcher: What the command line says; ``None`` if nothing: then ``pytorch`` under ``torchrun``, else ``none``.

    Raises:
        UserError: If the environment is not that of the launcher.
    """
    from basicsr.utils.dist_util import get_dist_info, is_under_torchrun, read_place

    if launcher is None:
        launcher = "pytorch" if is_under_torchrun() else "none"
    if launcher == "none":
        return Launch()
    rank, world_size = get_dist_info()
    if world_size == 1:  # the processes may not have met yet
        place = read_place(launcher)
        rank, world_size = place.rank, place.world_size
    return Launch(launcher, rank, world_size)


def derive_options(
    options: dict[str, Any],
    root_path: str | os.PathLike[str],
    launch: Launch,
    *,
    is_train: bool,
    debug: bool = False,
    auto_resume: bool = False,
) -> None:
    """Adds the derived keys.

    Args:
        options: Validated options, changed in place.
        root_path: The project folder, which ``experiments`` and ``results`` are in.
        launch: How the program was started.
        is_train: Whether it trains.
        debug: Whether ``--debug`` was given; a run whose name contains ``debug`` is in debug mode anyway.
        auto_resume: Whether to go on from the latest checkpoint.
    """
    root = os.path.abspath(root_path)
    if debug and "debug" not in options["name"]:
        options["name"] = f"debug_{options['name']}"
    if is_train and "debug" in options["name"]:
        for section, values in DEBUG_FREQUENCIES.items():
            if section in options:
                options[section].update(values)
    options.update(
        is_train=is_train,
        auto_resume=auto_resume,
        dist=launch.is_distributed,
        rank=launch.rank,
        world_size=launch.world_size,
        root_path=root,
    )
    options["path"] = _derive_paths(options, root, is_train=is_train)
    if "val" in options:
        for key in ("suffix", "tile"):  # read by indexing in code written for BasicSR
            options["val"].setdefault(key, None)


def _derive_paths(options: Mapping[str, Any], root: str, *, is_train: bool) -> dict[str, Any]:
    path = {key: expand_home(value) for key, value in options["path"].items()}
    path.setdefault("resume_state", None)
    path["root"] = root
    kind = "experiments" if is_train else "results"
    parent = Path(path.get(f"{kind}_root") or Path(root) / kind)
    folder = parent / options["name"]
    path[f"{kind}_root"] = str(folder)
    if is_train:
        path["models"] = str(folder / "models")
        path["training_states"] = str(folder / "training_states")
    path["log"] = str(folder)
    path["visualization"] = str(folder / "visualization")
    return path


def resolve_num_gpu(
    options: dict[str, Any], launch: Launch, findings: Findings, *, is_train: bool, command: str, strict: bool = True
) -> None:
    """Replaces ``num_gpu: auto`` by a number; more than one GPU needs one process for each.

    Args:
        options: Validated options, changed in place.
        launch: How the program was started.
        findings: Where to report.
        is_train: Whether it trains.
        command: The command line after ``python``, for the message.
        strict: Whether several GPUs without a launcher are a mistake, or only noted.
    """
    import torch

    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = options.get("num_gpu", "auto")
    count = present if wanted == "auto" else wanted
    if not launch.is_distributed and count > 1:
        several = f"{count} GPUs need one process each: torchrun --nproc_per_node={count} {command} --launcher pytorch"
        if wanted != "auto" and is_train and strict:
            findings.problems.append(Problem("num_gpu", several))
        elif is_train:
            findings.notices.append(Problem("num_gpu", f"using one; {several}"))
        count = 1
    if wanted != "auto" and wanted > 0 and present == 0:
        findings.notices.append(Problem("num_gpu", f"is {wanted}, but no GPU is there; using the CPU"))
    options["num_gpu"] = count
