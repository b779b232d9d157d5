"""Runs a function of a test in processes that form a group, and says what became of each."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from basicsr.utils.dist_util import shut_down_dist
from basicsr.utils.errors import UserError


def run_ranks(folder: Path, function: Callable[..., Any], *arguments: Any, world_size: int = 2) -> list[Any]:
    """Runs ``function(*arguments)`` on every rank of a new group.

    Args:
        folder: Where the processes meet; each call needs a new one.
        function: What it returns must be picklable.
        *arguments: Are inherited, as processes are forked.
        world_size: Number of ranks.

    Returns:
        By rank what the function has returned, or the :class:`UserError` that it has raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = (world_size, folder, function, arguments)
    mp.start_processes(_work, places, nprocs=world_size, start_method="fork")
    return [pickle.loads((folder / f"result{rank}").read_bytes()) for rank in range(world_size)]


def _work(rank: int, world_size: int, folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    try:
        result = function(*arguments)
    except UserError as error:
        result = error
    (folder / f"result{rank}").write_bytes(pickle.dumps(result))
    shut_down_dist()
