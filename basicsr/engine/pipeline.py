"""A whole command: from the command line through the processes that work together to the results."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from basicsr.engine.check import run_check
from basicsr.engine.testing import run_test
from basicsr.engine.training import run_training
from basicsr.options import RunOptions, parse_options
from basicsr.utils.dist_util import get_dist_info, init_dist, restart_count, shut_down_dist
from basicsr.utils.logger import get_root_logger
from basicsr.utils.seeding import flush_denormals

logger = logging.getLogger("basicsr")


def run_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None, *, is_train: bool) -> None:
    """Trains, tests or checks as the command line says; see :mod:`basicsr.train` and :mod:`basicsr.test`."""
    get_root_logger()
    if is_train:
        flush_denormals()
    opt, args = parse_options(root_path, is_train=is_train, argv=argv)
    with joined_processes(opt.typed, args.launcher):
        if args.check:
            run_check(opt)
        elif is_train:
            run_training(opt, args.opt)
        else:
            run_test(opt, args.opt)


@contextmanager
def joined_processes(options: RunOptions, launcher: str) -> Iterator[None]:
    """Joins the processes that the launcher started for the length of a block.

    After an error the group is not left in order: the other processes may wait in it for this one, until the launcher
    ends them.

    Args:
        options: ``num_gpu`` and ``dist_params`` are read.
        launcher: ``none``, ``pytorch`` or ``slurm``.
    """
    settings, use_gpu = options.dist_params, options.num_gpu != 0
    init_dist(launcher, settings.backend, port=settings.port, use_gpu=use_gpu, timeout_s=60 * settings.timeout)
    if launcher != "none":
        restart = f", restart {restart_count()}" if restart_count() else ""
        logger.info("Process %d of %d (%s)%s", *get_dist_info(), launcher, restart)
    yield
    shut_down_dist()
