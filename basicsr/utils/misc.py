"""Names that BasicSR publishes in this module; their homes are :mod:`.folders` and :mod:`.seeding`."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

from basicsr.utils.folders import get_time_str as get_time_str
from basicsr.utils.folders import make_exp_dirs as make_exp_dirs
from basicsr.utils.folders import mkdir_and_rename as mkdir_and_rename
from basicsr.utils.folders import scandir as scandir
from basicsr.utils.folders import sizeof_fmt as sizeof_fmt
from basicsr.utils.seeding import set_random_seed as set_random_seed


def check_resume(opt: MutableMapping[str, Any], resume_iter: int) -> None:
    """Points ``path.pretrain_network_*`` at the weights saved with a checkpoint, for code that resumes as BasicSR did.

    This package's own training does not need it: its checkpoints hold the weights.

    Args:
        opt: Options with ``path.resume_state`` and ``path.models``; changed in place if the former is set.
        resume_iter: The checkpoint's iteration.
    """
    path = opt["path"]
    if not path.get("resume_state"):
        return
    skipped = path.get("ignore_resume_networks") or ()
    networks = [key for key in opt if key.startswith(("network_", "net_"))]
    for name in (key.removeprefix("network_").removeprefix("net_") for key in networks):
        if f"network_{name}" not in skipped:
            path[f"pretrain_network_{name}"] = os.path.join(path["models"], f"net_{name}_{resume_iter}.pth")
        if path.get(f"param_key_{name}") == "params_ema":
            path[f"param_key_{name}"] = "params"
