"""Several processes: joining them, who is who, and small collective operations that also work alone.

A process learns its place from its launcher's environment (``torchrun`` or Slurm's ``srun``); nothing is invented here.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from basicsr.utils.errors import UserError, first_line
from basicsr.utils.launcher import end_with_launcher, is_under_torchrun

P = ParamSpec("P")
T = TypeVar("T")

_timeout = timedelta(minutes=30)
"""How long an operation may wait for the other processes; :func:`init_dist` sets it."""


class Place(NamedTuple):
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


def restart_count() -> int:
    """How often ``torchrun --max_restarts`` has restarted the processes."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)


def read_place(launcher: str, port: int | None = None) -> Place:
    """Reads this process's place from its launcher's environment.

    Args:
        launcher: ``pytorch`` (``torchrun``) or ``slurm`` (``srun``).
        port: Port of rank 0 under Slurm; the environment's ``MASTER_PORT`` comes first.

    Raises:
        UserError: If the environment is not that of the launcher; the message says how to start.
    """
    # The variables that the launcher sets, rank, world size and local rank first; and how to start with it.
    if launcher == "pytorch":
        names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"]
        way = "torchrun, e.g. torchrun --nproc_per_node=2 basicsr/train.py -opt FILE.yml --launcher pytorch"
    elif launcher == "slurm":
        names = ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_NODELIST"]
        way = "srun inside a Slurm job (scripts/slurm_train.sh is an example)"
    else:
        raise UserError(f"unknown launcher {launcher!r}; expected one of none, pytorch, slurm")
    env = os.environ
    if missing := [name for name in names if not env.get(name)]:
        raise UserError(f"--launcher {launcher}, but the environment has no {', '.join(missing)}: start with {way}")
    rank, world_size, local_rank = _read_numbers(*names[:3])
    if launcher == "pytorch":
        return Place(rank, world_size, local_rank, "env://")
    # The first machine of a list such as ``rack1-gpu[03-05,9],cpu1`` takes the first number of every bracket.
    first_host = re.sub(r"\[(\d+)[^\]]*\]", r"\1", env["SLURM_JOB_NODELIST"]).partition(",")[0]
    address = env.get("MASTER_ADDR") or first_host
    number = int(env.get("MASTER_PORT") or port or 29500)
    return Place(rank, world_size, local_rank, f"tcp://{address}:{number}")


def _read_numbers(*names: str) -> list[int]:
    """Reads rank, world size and local rank from variables of these names, and checks the port beside them."""
    found = {name: os.environ.get(name) or "0" for name in (*names, "MASTER_PORT")}
    wrong = [f"{name}={value} is no whole number" for name, value in found.items() if not value.isdecimal()]
    if not wrong and int(found["MASTER_PORT"]) > 65535:
        wrong = [f"MASTER_PORT={found['MASTER_PORT']} is above 65535"]
    rank, world_size = names[:2]
    if not wrong and int(found[rank]) >= int(found[world_size]):
        wrong = [f"{rank}={found[rank]} is not below {world_size}={found[world_size]}"]
    if wrong:
        raise UserError(f"the launcher's environment does not fit: {', '.join(wrong)}; start anew, or correct it")
    return [int(found[name]) for name in names]


def init_dist(launcher: str, backend: str | None = None, **kwargs: Any) -> None:
    """Joins the processes that the launcher started, once; does nothing for ``none``.

    Args:
        launcher: ``none``, ``pytorch`` or ``slurm``.
        backend: ``nccl``, ``gloo`` …; ``nccl`` becomes ``gloo`` where no GPU is used.
        **kwargs: ``port``: port of rank 0 under Slurm. ``use_gpu``: ``False`` to stay on the CPU. ``timeout_s``: how
            long a collective operation may wait for the other processes.

    Raises:
        UserError: If the environment is not that of the launcher, there are more processes than GPUs, or the processes
            cannot meet.
    """
    global _timeout
    if launcher == "none" or dist.is_initialized():
        return
    # Take this process's GPU, or none.
    rank, world_size, local_rank, init_method = read_place(launcher, kwargs.get("port"))
    if kwargs.get("use_gpu", True) and torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}. Start "
                "one process per GPU (--nproc_per_node), or set num_gpu: 0 to run on the CPU"
            )
        torch.cuda.set_device(local_rank)
    elif backend in (None, "nccl"):
        backend = "gloo"
    # Meet the others.
    if is_under_torchrun():
        end_with_launcher()
    _timeout = timedelta(seconds=kwargs.get("timeout_s", 1800))
    with waiting_for_others():
        store = _open_store(init_method, rank, world_size)
        dist.init_process_group(backend or "nccl", store=store, rank=rank, world_size=world_size, timeout=_timeout)


def _open_store(init_method: str, rank: int, world_size: int) -> dist.Store:
    """Opens what the processes tell each other their addresses in; rank 0 serves it where the launcher does not."""
    try:
        store, _, _ = next(dist.rendezvous(init_method, rank, world_size, timeout=_timeout))
    except RuntimeError as error:  # of PyTorch's own kind in newer versions only
        if is_under_torchrun():
            raise  # another process has failed, and all of them can begin again
        place = init_method.removeprefix("tcp://")
        if place == "env://":
            place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise UserError(f"{place}: the port is in use; choose another one with MASTER_PORT") from error
        reason = first_line(error)
        raise UserError(f"process {rank} of {world_size} cannot meet the others at {place}: {reason}") from error
    if restart_count() > 0 and os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun's store outlives a restart, and holds the addresses of processes that are gone. (Launchers on several
        # machines count restarts each for itself, so that their counts cannot name a part of the store:
        # basicsr.engine.launch has a store for every restart there.)
        return dist.PrefixStore(f"restart_{restart_count()}", store)
    return store


@contextmanager
def waiting_for_others() -> Iterator[None]:
    """Gives signals that would raise an exception their default action meanwhile.

    Python raises it when a native call returns; one that waits for a process that has failed may not return for long.
    """
    raising: list[int] = []
    if threading.current_thread() is threading.main_thread():
        raising = [
            number for number in signal.valid_signals() if signal.getsignal(number) is signal.default_int_handler
        ]
    for number in raising:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in raising:
            signal.signal(number, signal.default_int_handler)


def shut_down_dist() -> None:
    """Leaves the group of processes, if there is one."""
    if dist.is_initialized():
        _host_group.cache_clear()
        dist.destroy_process_group()


def get_dist_info() -> tuple[int, int]:
    """``(rank, world_size)``; ``(0, 1)`` alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_master() -> bool:
    """Whether this is the process that writes; before the processes have met, the launcher's environment tells."""
    if is_under_torchrun() and not dist.is_initialized():
        return int(os.environ["RANK"]) == 0
    return get_dist_info()[0] == 0


def works_here() -> bool:
    """Whether this process does the work of a command that several cannot share: under ``torchrun`` the first does.

    That is said once, by the process itself.
    """
    count = int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else 1
    if count > 1 and is_master():
        text = "torchrun has started %d processes; this command works in the first of them alone"
        logging.getLogger("basicsr").warning(text, count)
    return is_master()


def master_only(func: Callable[P, T]) -> Callable[P, T | None]:
    """Decorates a function that only rank 0 runs; the others get ``None``."""

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | None:
        return func(*args, **kwargs) if get_dist_info()[0] == 0 else None

    return wrapper


@functools.lru_cache(maxsize=1)
def _host_group(world: Any) -> Any:
    """The group for what lies in the processes' own memory: gloo's, so that nothing passes through that of a GPU.

    It is made with the first such operation, which all ranks come to together, and kept as long as ``world``, the
    group of all processes.
    """
    return world if dist.get_backend(world) == "gloo" else dist.new_group(backend="gloo", timeout=_timeout)


def barrier() -> None:
    """Waits for the other processes."""
    if get_dist_info()[1] > 1:
        with waiting_for_others():
            dist.barrier(_host_group(dist.group.WORLD))


@contextmanager
def master_first() -> Iterator[None]:
    """Lets rank 0 go through a block before the others, e.g. because it makes files that all read."""
    if get_dist_info()[0] != 0:
        barrier()
    yield
    if get_dist_info()[0] == 0:
        barrier()


def broadcast_object(obj: T) -> T:
    """Rank 0's object, on every rank."""
    box = [obj]
    if get_dist_info()[1] > 1:
        with waiting_for_others():
            dist.broadcast_object_list(box, src=0, group=_host_group(dist.group.WORLD))
    return box[0]


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank, on every rank."""
    if get_dist_info()[1] == 1:
        return flag
    number = torch.tensor(int(flag))
    dist.all_reduce(number, op=dist.ReduceOp.MAX, group=_host_group(dist.group.WORLD))
    return bool(number)


def gather_objects(obj: T) -> list[T]:
    """Every rank's object, by rank, on every rank."""
    gathered = [obj] * get_dist_info()[1]
    if len(gathered) > 1:
        with waiting_for_others():
            dist.all_gather_object(gathered, obj, group=_host_group(dist.group.WORLD))
    return gathered


def gather_on_master(obj: T) -> list[T]:
    """Every rank's object, by rank, on rank 0; nothing is sent to the other ranks, which get an empty list."""
    rank, world_size = get_dist_info()
    gathered = [obj] * world_size if rank == 0 else []
    if world_size > 1:
        with waiting_for_others():
            dist.gather_object(obj, gathered or None, dst=0, group=_host_group(dist.group.WORLD))
    return gathered


class RankLostError(RuntimeError):
    """Another process has ended, and the connection to it is broken."""


def serve_master(make: Callable[[], object]) -> None:
    """Sends rank 0, as often as it asks by :func:`ask_rank`, an object; returns when it asks for no more.

    Args:
        make: Makes what is sent, in the form of ``torch.save``; called for each time that it is sent.
    """
    group, wanted = _host_group(dist.group.WORLD), torch.zeros((), dtype=torch.int64)
    while dist.recv(wanted, 0, group) is not None and wanted:
        buffer = io.BytesIO()
        torch.save(make(), buffer)
        content = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
        dist.send(torch.tensor(len(content)), 0, group)
        dist.send(content, 0, group)


def ask_rank(rank: int) -> memoryview:
    """On rank 0: what another rank, which is in :func:`serve_master`, sends.

    Raises:
        RankLostError: If that has ended.
    """
    group, size = _host_group(dist.group.WORLD), torch.zeros((), dtype=torch.int64)
    try:
        dist.send(torch.ones_like(size), rank, group)
        dist.recv(size, rank, group)
        content = torch.empty(int(size), dtype=torch.uint8)
        dist.recv(content, rank, group)
    except RuntimeError as error:
        raise RankLostError(f"rank {rank} does not answer: {error}") from error
    return content.numpy().data


def release_ranks() -> None:
    """On rank 0: lets the others go on, which are in :func:`serve_master`."""
    for rank in range(1, get_dist_info()[1]):
        dist.send(torch.zeros((), dtype=torch.int64), rank, _host_group(dist.group.WORLD))


def bare(net: nn.Module) -> nn.Module:
    """The network inside a (Distributed)DataParallel wrapper, or the network itself."""
    return net.module if isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else net


def is_compiled(net: nn.Module) -> bool:
    """Whether a network, possibly wrapped, runs compiled in training mode; see :mod:`basicsr.models.compiling`."""
    return getattr(bare(net), "_compiled_call_impl", None) is not None
