"""Several processes: joining them, who is who, and small collective operations that also work alone.

A process learns its place from its launcher's environment (``torchrun`` or Slurm's ``srun``); nothing is invented here.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from basicsr.utils.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

LAUNCHERS = ("none", "pytorch", "slurm")
DEFAULT_PORT = 29500
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_NODELIST")


@dataclass(frozen=True)
class Place:
    """A process's place among those that work together.

    Attributes:
        rank: Number of the process, from 0.
        world_size: Number of processes.
        local_rank: Number of the process on its machine, which is that of its GPU.
        init_method: Where the processes meet, as ``torch.distributed`` takes it.
    """

    rank: int
    world_size: int
    local_rank: int
    init_method: str


def is_under_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def restart_count() -> int:
    """How often ``torchrun --max_restarts`` has started the processes anew."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)


def read_place(launcher: str, port: int | None = None) -> Place:
    """Reads this process's place from its launcher's environment.

    Args:
        launcher: ``pytorch`` (``torchrun``) or ``slurm`` (``srun``).
        port: Port of rank 0 under Slurm; the environment's ``MASTER_PORT`` comes first.

    Raises:
        UserError: If the environment is not that of the launcher; the message says how to start.
    """
    if launcher == "pytorch":
        return _read_torchrun()
    if launcher == "slurm":
        return _read_slurm(port)
    raise UserError(f"unknown launcher {launcher!r}; expected one of {', '.join(LAUNCHERS)}")


def _missing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not os.environ.get(name)]


def _read_torchrun() -> Place:
    missing = _missing(_TORCHRUN)
    if missing:
        raise UserError(
            f"--launcher pytorch, but the environment has no {', '.join(missing)}: start with torchrun, e.g. "
            "torchrun --nproc_per_node=2 basicsr/train.py -opt FILE.yml --launcher pytorch"
        )
    env = os.environ
    return Place(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_RANK"]), "env://")


def _read_slurm(port: int | None) -> Place:
    missing = _missing(_SLURM)
    if missing:
        raise UserError(
            f"--launcher slurm, but the environment has no {', '.join(missing)}: start with srun inside a Slurm job "
            "(scripts/slurm_train.sh is an example)"
        )
    env = os.environ
    address = env.get("MASTER_ADDR") or _first_host(env["SLURM_JOB_NODELIST"])
    number = int(env.get("MASTER_PORT") or port or DEFAULT_PORT)
    return Place(
        int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(env["SLURM_LOCALID"]), f"tcp://{address}:{number}"
    )


def _first_host(nodes: str) -> str:
    """First machine of a Slurm list such as ``gpu[03-05,9],cpu1``."""
    if not re.search(r"[\[,]", nodes):
        return nodes
    try:
        listed = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        return listed.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        match = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\])?", nodes)
        if match is None:
            raise UserError(f"cannot read a host name from SLURM_JOB_NODELIST={nodes!r}; set MASTER_ADDR") from None
        return match[1] + (match[2] or "")


def init_dist(launcher: str, backend: str | None = None, **kwargs: Any) -> None:
    """Joins the processes that the launcher started, once; does nothing for ``none``.

    Args:
        launcher: ``none``, ``pytorch`` or ``slurm``.
        backend: ``nccl``, ``gloo`` …; ``nccl`` becomes ``gloo`` where no GPU is used.
        **kwargs: ``port``: port of rank 0 under Slurm. ``use_gpu``: ``False`` to stay on the CPU. ``timeout_s``: how
            long a collective operation may wait for the other processes.

    Raises:
        UserError: If the environment is not that of the launcher, or there are more processes than GPUs.
    """
    if launcher == "none" or dist.is_initialized():
        return
    place = read_place(launcher, kwargs.get("port"))
    use_gpu = kwargs.get("use_gpu", True) and torch.cuda.is_available()
    if use_gpu:
        if place.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {place.local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}. Start "
                "one process per GPU (--nproc_per_node), or set num_gpu: 0 to run on the CPU"
            )
        torch.cuda.set_device(place.local_rank)
    elif backend in (None, "nccl"):
        backend = "gloo"
    timeout = timedelta(seconds=kwargs.get("timeout_s", 1800))
    dist.init_process_group(
        backend or "nccl",
        store=_meet(place, timeout),
        rank=place.rank,
        world_size=place.world_size,
        timeout=timeout,
    )


def _meet(place: Place, timeout: timedelta) -> dist.Store:
    """The store in which the processes find each other's addresses."""
    store, _, _ = next(dist.rendezvous(place.init_method, place.rank, place.world_size, timeout=timeout))
    if restart_count() > 0 and os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun's store outlives a restart, and holds the addresses of processes that are gone. (Launchers on several
        # machines count restarts each for itself, so their counts cannot name a part of the store.)
        return dist.PrefixStore(f"restart_{restart_count()}", store)
    return store


def shut_down_dist() -> None:
    """Leaves the group of processes, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def get_dist_info() -> tuple[int, int]:
    """``(rank, world_size)``; ``(0, 1)`` alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_master() -> bool:
    """Whether this is the process that writes; before the processes have met, the launcher's environment tells."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return int(os.environ.get("RANK") or 0) == 0 if is_under_torchrun() else True


def master_only(func: Callable[P, R]) -> Callable[P, R | None]:
    """Decorates a function that only rank 0 runs; the others get ``None``."""

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return func(*args, **kwargs) if get_dist_info()[0] == 0 else None

    return wrapper


def barrier() -> None:
    """Waits for the other processes."""
    if get_dist_info()[1] > 1:
        dist.barrier(device_ids=[torch.cuda.current_device()] if dist.get_backend() == "nccl" else None)


@contextmanager
def master_first() -> Iterator[None]:
    """Lets rank 0 go through a block before the others, e.g. because it makes files that all read."""
    rank, _ = get_dist_info()
    if rank != 0:
        barrier()
    yield
    if rank == 0:
        barrier()


def broadcast_object(obj: T) -> T:
    """Rank 0's object, on every rank."""
    if get_dist_info()[1] == 1:
        return obj
    box: list[Any] = [obj]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_objects(obj: T) -> list[T]:
    """Every rank's object, by rank, on every rank."""
    _, world_size = get_dist_info()
    if world_size == 1:
        return [obj]
    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, obj)
    return gathered


def bare(net: nn.Module) -> nn.Module:
    """The network inside a (Distributed)DataParallel wrapper, or the network itself."""
    if isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return net.module
    return net


def reduce_mean(values: Tensor) -> Tensor:
    """Mean over ranks, on every rank; a new tensor unless alone."""
    _, world_size = get_dist_info()
    if world_size == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size
