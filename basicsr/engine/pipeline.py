"""A whole command: from the command line through the processes that work together to the results."""

from __future__ import annotations

import os
from collections.abc import Sequence

from basicsr.engine.check import run_check
from basicsr.engine.loggers import announce
from basicsr.engine.testing import run_test
from basicsr.engine.training import run_training
from basicsr.options import RunOptions, parse_options
from basicsr.utils.dist_util import get_dist_info, init_dist, restart_count, shut_down_dist
from basicsr.utils.logger import get_root_logger
from basicsr.utils.seeding import flush_denormals


def run_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None, *, is_train: bool) -> None:
    """Trains, tests or checks as the command line says; see :mod:`basicsr.train` and :mod:`basicsr.test`."""
    get_root_logger()
    if is_train:
        flush_denormals()
    opt, args = parse_options(root_path, is_train=is_train, argv=argv)

    # Join the processes that the launcher started.
    options: RunOptions = opt.typed
    settings, use_gpu = options.dist_params, options.num_gpu != 0
    init_dist(args.launcher, settings.backend, port=settings.port, use_gpu=use_gpu, timeout_s=60 * settings.timeout)
    if args.launcher != "none":
        restart = f", restart {restart_count()}" if restart_count() else ""
        announce("Process %d of %d (%s)%s", *get_dist_info(), args.launcher, restart)

    if args.check:
        run_check(opt)
    elif is_train:
        run_training(opt, args.opt, args.force_yml)
    else:
        run_test(opt, args.opt, args.force_yml)

    # Not after an error: the other processes may wait in the group for this one, until the launcher ends them.
    shut_down_dist()
