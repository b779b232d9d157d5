"""Several processes that fail: what is wrong is said once, and who lost another process says so in one line."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from basicsr.utils.dist_util import get_dist_info, is_under_torchrun, restart_count
from basicsr.utils.errors import first_line

_BROKEN = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
    "connection was closed",
    "Connection was likely closed",
    "closed the connection",
    "pair closure",
    "Read error",
    "Socket closed",
    "Timed out waiting",
    "Wait timeout",
    "remote process exited",
    "collective operation timeout",
    "communicator was aborted",
)
"""What gloo, NCCL and the store say when another process is gone or does not answer."""

_PATIENCE = timedelta(seconds=5)

_GRACE = 10.0
"""Seconds in which a launcher finds the process that failed first, and stops the others."""


def describe_lost_peer(error: BaseException) -> str | None:
    """Says so in a line if an error means that another process has ended or does not answer; else ``None``."""
    rank, world_size = get_dist_info()
    if is_under_torchrun() and not dist.is_initialized():
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size == 1 or not isinstance(error, RuntimeError):
        return None
    if not isinstance(error, PeerLost) and not any(sign in str(error) for sign in _BROKEN):
        return None
    return f"Process {rank} of {world_size} ends, as another one has ended or does not answer ({first_line(error)})."


class PeerLost(RuntimeError):
    """This process was told to end and cannot go on with the others, some of which have ended."""


def speaks_for_all(text: str) -> bool:
    """Whether no other process of this run has said the text; without a store that all can reach, each says it."""
    key = f"said/{restart_count()}/{hashlib.sha256(text.encode()).hexdigest()}"
    try:
        if dist.is_initialized():
            store = dist.distributed_c10d._get_default_store()
            store.set_timeout(_PATIENCE)
        elif is_under_torchrun() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            store = dist.TCPStore(address, port, is_master=False, timeout=_PATIENCE)
        else:
            return True
        return int(store.add(key, 1)) == 1
    except (RuntimeError, ValueError, KeyError):
        return True


def await_launcher() -> None:
    """Lets the launcher see first the process whose end is the reason, as it takes the first code that it sees."""
    with suppress(KeyboardInterrupt):
        time.sleep(_GRACE)
