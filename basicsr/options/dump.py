"""Options on their way out: as YAML, as indented text, and as a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from basicsr.options.derive import DERIVED_KEYS, DERIVED_PATHS
from basicsr.utils.frozen import thaw

_DIGESTED = ("model_type", "scale", "manual_seed", "degradation", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm")
_NOT_DIGESTED_TRAIN = ("total_iter", "on_nonfinite")
_LOADER_KEYS = (
    "name",
    "io_backend",
    "num_worker_per_gpu",
    "persistent_workers",
    "pin_memory",
    "prefetch_mode",
    "num_prefetch_queue",
)


def dump_options(opt: Mapping[str, Any]) -> str:
    """Writes options as an option file that gives the same options when it is read again.

    What is derived (ranks, folders of the run) is left out.
    """
    options = {key: value for key, value in thaw(opt).items() if key not in DERIVED_KEYS}
    path = {key: value for key, value in options.get("path", {}).items() if key not in DERIVED_PATHS}
    for key in ("experiments_root", "results_root"):
        if path.get(key) and Path(path[key]).name == options.get("name"):
            path[key] = str(Path(path[key]).parent)
    if path:
        options["path"] = path
    degradation = options.pop("degradation", None) or {}
    if "gate" in degradation:
        options["degradation"] = {"gate": degradation["gate"]}
    return str(yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=120))


def options_digest(opt: Mapping[str, Any]) -> str:
    """A short hash of the options that a training run's numbers depend on.

    A checkpoint that is resumed under another digest will not end where the first run would have. Where files are, how
    they are loaded, what is logged, and how long training lasts do not count.
    """
    train = {key: value for key, value in (opt.get("train") or {}).items() if key not in _NOT_DIGESTED_TRAIN}
    data = (opt.get("datasets") or {}).get("train") or {}
    relevant: dict[str, Any] = {key: opt[key] for key in _DIGESTED if opt.get(key) is not None}
    relevant |= {key: value for key, value in opt.items() if key.startswith(("network_", "net_"))}
    relevant["train"] = train
    relevant["data"] = {
        key: value
        for key, value in data.items()
        if key not in _LOADER_KEYS and not key.startswith(("dataroot", "meta_info"))
    }
    text = json.dumps(thaw(relevant), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def dict2str(opt: Mapping[str, Any], indent_level: int = 1) -> str:
    """Options as indented ``key: value`` lines for a log; blocks stand in brackets, as BasicSR's logs have them."""
    lines = ["\n"]
    for key, value in opt.items():
        margin = " " * (indent_level * 2)
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key}:[{dict2str(value, indent_level + 1)}{margin}]\n")
        else:
            lines.append(f"{margin}{key}: {value}\n")
    return "".join(lines)
