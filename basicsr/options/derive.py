"""Options that follow from others and from how the program was started: folders, rank, debug mode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.models.options import PathOptions
from basicsr.options.findings import Findings
from basicsr.options.schema import RunOptions, expand_home
from basicsr.utils.dist_util import get_dist_info, read_place
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.launcher import is_under_torchrun

DEBUG_FREQUENCIES = {"val": {"val_freq": 8}, "logger": {"print_freq": 1, "save_checkpoint_freq": 8}}


class Launch(NamedTuple):
    """How the program was started.

    Attributes:
        launcher: ``none``, ``pytorch`` or ``slurm``.
        rank: Number of this process.
        world_size: Number of processes.
    """

    launcher: str = "none"
    rank: int = 0
    world_size: int = 1


def detect_launch(launcher: str | None) -> Launch:
    """Finds out which process of how many this is.

    Args:
        launcher: What the command line says; ``None`` if nothing: then ``pytorch`` under ``torchrun``, else ``none``.

    Raises:
        UserError: If the environment is not that of the launcher, or is one for several processes with ``none``.
    """
    if launcher is None:
        launcher = "pytorch" if is_under_torchrun() else "none"
    elif launcher == "none" and "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        what = f"each of the {os.environ['WORLD_SIZE']} processes (WORLD_SIZE) would do the whole work alone"
        raise OptionsError([Problem("--launcher none", f"{what}: leave the flag out, or start one process")])
    if launcher == "none":
        return Launch()
    rank, world_size = get_dist_info()
    if world_size == 1:  # the processes may not have met yet
        rank, world_size, *_ = read_place(launcher)
    return Launch(launcher, rank, world_size)


def derive_options(
    options: RunOptions,
    root_path: str | os.PathLike[str],
    launch: Launch,
    num_gpu: int,
    *,
    debug: bool = False,
    resumes: bool = False,
) -> RunOptions:
    """Adds what is derived, to the typed options and to the mapping that published code reads.

    Args:
        options: Validated options.
        root_path: The project folder, which ``experiments`` and ``results`` are in.
        launch: How the program was started.
        num_gpu: Number of GPUs to use; see :func:`count_gpus`.
        debug: Whether ``--debug`` was given; a run whose name contains ``debug`` is in debug mode anyway.
        resumes: Whether to go on from the latest checkpoint.
    """
    name, root = str(options.name), os.path.abspath(root_path)
    if debug and "debug" not in name:
        name = f"debug_{name}"
    derived = {
        "name": name,
        "auto_resume": resumes,
        "dist": launch.launcher != "none",
        "rank": launch.rank,
        "world_size": launch.world_size,
        "root_path": root,
        "num_gpu": num_gpu,
    }
    changed: dict[str, Any] = dict(derived)
    written: dict[str, Any] = {**options._written, **derived}
    if options.is_train and "debug" in name:
        for section, values in DEBUG_FREQUENCIES.items():
            typed = getattr(options, section)
            if typed is not None:
                changed[section] = typed.model_copy(update=values)
                written[section] = {**written[section], **values}

    # Where the run's files go, and where those that it begins with are.
    kind = "experiments" if options.is_train else "results"
    folder = locate_run(getattr(options.path, f"{kind}_root"), root, name, kind)
    folders = {"root": root, f"{kind}_root": str(folder)}
    if options.is_train:
        folders |= {"models": str(folder / "models"), "training_states": str(folder / "training_states")}
    folders |= {"log": str(folder), "visualization": str(folder / "visualization")}
    given = {key: expand_home(value) for key, value in written["path"].items()}
    path = written["path"] = {"resume_state": None, **given, **folders}
    typed = {key: value for key, value in path.items() if key in PathOptions.model_fields}
    changed["path"] = options.path.model_copy(update=typed)
    changed["critics"] = {
        key: critic.model_copy(update={"pretrained": expand_home(critic.pretrained)})
        for key, critic in options.critics.items()
    }
    if written.get("val"):
        # Code written for BasicSR reads these by indexing.
        written["val"] = {"suffix": None, "tile": None, **written["val"]}
    complete = options.model_copy(update=changed)
    complete._written = written
    return complete


def locate_run(parent: object, root: str | os.PathLike[str], name: object, kind: str = "experiments") -> Path:
    """Folder of a run: in ``parent``, ``path.<kind>_root`` of an option file, or in ``<root>/<kind>`` without it."""
    return Path(str(expand_home(parent) or os.path.join(root, kind))) / str(name)


def count_gpus(options: RunOptions, launch: Launch, found: Findings, *, command: str, strict: bool = True) -> int:
    """What ``num_gpu`` comes to; more than one GPU needs one process for each.

    Args:
        options: Validated options.
        launch: How the program was started.
        found: Where to report.
        command: The command line after ``python``, for the message.
        strict: Whether several GPUs without a launcher are a mistake, or only noted.
    """
    import torch

    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = options.num_gpu
    count: int = present if wanted == "auto" else wanted
    if launch.launcher == "none" and count > 1:
        several = f"{count} GPUs need one process each: torchrun --nproc_per_node={count} {command} --launcher pytorch"
        if wanted != "auto" and options.is_train and strict:
            found.problems.append(Problem("num_gpu", several))
        elif options.is_train:
            found.notices.append(Problem("num_gpu", f"using one; {several}"))
        count = 1
    if wanted != "auto" and wanted > 0 and present == 0:
        found.notices.append(Problem("num_gpu", f"is {wanted}, but no GPU is there; using the CPU"))
    return count
