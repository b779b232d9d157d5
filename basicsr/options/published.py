"""The published function that reads the command line, for training loops of other code."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from basicsr.options import parse
from basicsr.utils.dist_util import get_dist_info, init_dist
from basicsr.utils.seeding import derive_seed, set_random_seed


def parse_options(
    root_path: str | os.PathLike[str], is_train: bool = True, argv: Sequence[str] | None = None
) -> tuple[dict[str, Any], argparse.Namespace]:
    """:func:`basicsr.options.parse.parse_options` as published: joins the processes, seeds, and gives mutable options.

    Random streams are seeded with the options' ``manual_seed`` and the rank.
    """
    opt, args = parse.parse_options(root_path, is_train, argv)
    settings = opt.typed.dist_params
    use_gpu, timeout_s = opt["num_gpu"] != 0, 60 * settings.timeout
    init_dist(args.launcher, settings.backend, port=settings.port, use_gpu=use_gpu, timeout_s=timeout_s)
    set_random_seed(derive_seed("run", opt["manual_seed"], get_dist_info()[0]))
    return opt.copy(), args
