"""Network weights in files of the published format.

A weights file is ``torch.save({"params": state_dict, "params_ema": state_dict})``; either key may be missing, a bare
state dict is accepted, and a leading ``module.`` in names is ignored.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.atomic import StrPath, atomic_save
from basicsr.utils.dist_util import bare
from basicsr.utils.errors import WeightsError, first_line

logger = logging.getLogger("basicsr")

PARAM_KEYS = ("params", "params_ema")
MAX_LINES = 20
"""Entries that do not fit, as far as they are named."""


def read_weights(path: StrPath, param_key: str | None = None, prefer: str = "params") -> dict[str, Tensor]:
    """Reads the state dict of one network from a file, on the CPU.

    Args:
        path: A ``.pth``/``.pt`` file in the published format, or ``.safetensors``.
        param_key: The entry to take if the choice is the user's. Where a file has only one of ``params`` and
            ``params_ema``, that one is taken for the other, with a notice.
        prefer: Which of the two to take if ``param_key`` is ``None``.

    Raises:
        WeightsError: If the file is missing, unreadable, or holds no state dict, or not the entry that is asked for.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"weights file not found: {file}; put it there, or change the option that names it")
    # Read the file.
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Mapping[str, Any] = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's own message on what it cannot unpickle proposes to run whatever code the file holds.
        foreign = "it is not a file of tensors and plain values, as torch.save writes it"
        reason = foreign if isinstance(error, pickle.UnpicklingError) else first_line(error)
        raise WeightsError(f"cannot read weights from {file}: {reason}") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} holds a {type(content).__name__}, expected a mapping of names to tensors")
    # Choose the entry: the one that is wanted, else the other of the published two; a bare state dict has neither.
    wanted = param_key or prefer
    present = [key for key in (wanted, *PARAM_KEYS) if isinstance(content.get(key), Mapping)]
    if param_key and param_key not in (*PARAM_KEYS, *present):
        raise WeightsError(f"{file} has no entry {param_key!r}; it has {', '.join(sorted(map(str, content))[:8])}")
    if present and present[0] != wanted:
        logger.info("%s holds no %r; loading %r instead.", file, wanted, present[0])
    state = content[present[0]] if present else content
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} holds no state dict; found the keys {sorted(map(str, content))[:8]}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def load_weights(net: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "weights") -> None:
    """Loads a state dict into a network and reports what does not fit.

    A network may adapt tensors itself while loading (a Swin network resizes its position tables); only what it
    refuses counts as unfit. With ``strict=False`` unfit entries are skipped and listed in the log.

    Raises:
        WeightsError: With ``strict=True``, listing missing and unexpected names and differing shapes.
    """
    target = bare(net)
    mismatched: list[str] = []
    try:
        missing, unexpected = target.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        # PyTorch loads what fits and reports shapes that differ, even if it is not to be strict about names.
        if not (mismatched := re.findall(r"size mismatch for ([^:\s]+):", str(error))):
            raise WeightsError(f"{source} cannot be loaded into {type(target).__name__}: {error}") from error
        fitting = {name: value for name, value in state.items() if name not in mismatched}
        missing, unexpected = target.load_state_dict(fitting, strict=False)
    # Report what does not fit.
    own = target.state_dict()
    lines = [f"  missing: {name}" for name in missing if name not in mismatched]
    lines += [f"  unexpected: {name}" for name in unexpected]
    for name in mismatched:
        found, expected = (tuple(tensors[name].shape) if name in tensors else "none" for tensors in (state, own))
        lines.append(f"  shape of {name}: {found} in the file, {expected} in the network")
    if not lines:
        return
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"  … and {len(lines) - MAX_LINES} more"]
    report = "\n".join([f"{source} does not fit {type(target).__name__}:", *lines])
    if strict:
        raise WeightsError(f"{report}\nCheck the network's options, or set strict_load_*: false to skip these.")
    logger.warning("%s\nThese entries were skipped.", report)


def save_network(nets: Mapping[str, nn.Module], path: StrPath) -> None:
    """Writes ``{param_key: state_dict}`` for each network (``params``, ``params_ema``), atomically and on the CPU."""
    atomic_save({key: cpu_state(net) for key, net in nets.items()}, path)


def cpu_state(net: nn.Module) -> dict[str, Tensor]:
    """A network's state dict on the CPU, without a wrapper's prefix."""
    return {name: value.detach().cpu() for name, value in bare(net).state_dict().items()}
