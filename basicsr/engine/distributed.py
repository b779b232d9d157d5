"""Joining the processes of a run and leaving them again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from basicsr.utils.dist_util import get_dist_info, init_dist, restart_count, shut_down_dist

DEFAULT_TIMEOUT_MIN = 30

logger = logging.getLogger("basicsr")


@contextmanager
def joined_processes(opt: Mapping[str, Any], launcher: str) -> Iterator[None]:
    """Joins the processes that the launcher started for the length of a block.

    After an error the group is not left in order: the other processes may wait in it for this one, until the launcher
    ends them.

    Args:
        opt: The options: ``num_gpu``, ``dist_params``.
        launcher: ``none``, ``pytorch`` or ``slurm``.
    """
    settings = opt.get("dist_params") or {}
    use_gpu = opt.get("num_gpu", "auto") != 0
    init_dist(
        launcher,
        settings.get("backend"),
        port=settings.get("port"),
        use_gpu=use_gpu,
        timeout_s=60 * float(settings.get("timeout") or DEFAULT_TIMEOUT_MIN),
    )
    rank, world_size = get_dist_info()
    if launcher != "none":
        restarts = restart_count()
        again = f", started anew for the {restarts}. time" if restarts else ""
        logger.info("Process %d of %d (%s)%s", rank, world_size, launcher, again)
    yield
    shut_down_dist()
