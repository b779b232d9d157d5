"""Weights of networks: read from any published layout, loaded with a report of what does not fit, and written.

A file of ours is ``torch.save({"params": state_dict, "params_ema": state_dict})``, of which either may be missing. What
else can be read, :mod:`basicsr.weights.layouts` says.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from basicsr.utils.atomic import StrPath, atomic_save
from basicsr.utils.dist_util import bare
from basicsr.utils.errors import WeightsError, name_some
from basicsr.utils.fields import find_near
from basicsr.weights.architectures import ask_spandrel, compare_architectures, recognise
from basicsr.weights.files import read_file
from basicsr.weights.layouts import PARAM_KEYS, find_state, fit_names
from basicsr.weights.published import locate_weights

logger = logging.getLogger("basicsr")

MAX_LINES = 20
"""Entries that do not fit, as far as they are named."""


class Entry(NamedTuple):
    """One network's weights in a file.

    Attributes:
        state: Tensors by name.
        key: The entry that they are in; empty for a bare state dict.
    """

    state: dict[str, Tensor]
    key: str


def read_weights(path: StrPath, param_key: str | None = None, prefer: str = "params") -> dict[str, Tensor]:
    """The tensors of :func:`read_entry`."""
    return read_entry(path, param_key, prefer).state


def read_entry(path: StrPath, param_key: str | None = None, prefer: str = "params") -> Entry:
    """Reads the state dict of one network, on the CPU.

    Args:
        path: A file, or the name of published weights; see :func:`basicsr.weights.published.locate_weights`.
        param_key: The entry to take if the choice is the user's. Where a file has only one of ``params`` and
            ``params_ema``, that one is taken for the other, with a notice.
        prefer: Which of the two to take if ``param_key`` is ``None``.

    Raises:
        WeightsError: If the file is missing, damaged, or holds no state dict, or not the entry that is asked for.
    """
    file = locate_weights(path)
    content = read_file(file)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} holds a {type(content).__name__}, expected a mapping of names to tensors")
    wanted = param_key or prefer
    found = find_state(content, wanted)
    keys = sorted(map(str, content))
    if param_key and param_key not in PARAM_KEYS and (found is None or found[1] != param_key):
        near = find_near(param_key, keys)
        hint = near and f"; did you mean {near}?"
        raise WeightsError(f"{file} has no entry {param_key!r}; it has {', '.join(keys[:8])}{hint}")
    if found is None:
        raise WeightsError(f"{file} holds no state dict; found the keys {keys[:8]}")
    state, key = found
    if key and key != wanted:
        logger.info("%s holds no %r; loading %r instead.", file, wanted, key)
    return Entry({name.removeprefix("module."): value for name, value in state.items()}, key)


def load_weights(net: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "weights") -> None:
    """Loads a state dict into a network and reports what does not fit.

    Names are read as old layouts and prefixes have them where the network knows more of them so. It may adapt tensors
    itself while loading (a Swin network resizes its position tables); only what it refuses counts as unfit. With
    ``strict=False`` unfit entries are skipped and listed in the log.

    Raises:
        WeightsError: With ``strict=True``, saying what the weights look like, and listing missing and unexpected names
            and differing shapes.
    """
    target = bare(net)
    own = target.state_dict()
    state, note = fit_names(state, own)
    if note:
        logger.info("%s: names are read %s.", source, note)
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
    lines = [f"missing: {name}" for name in missing if name not in mismatched]
    lines += [f"unexpected: {name}" for name in unexpected]
    for name in mismatched:
        found, expected = (tuple(tensors[name].shape) if name in tensors else "none" for tensors in (state, own))
        lines.append(f"shape of {name}: {found} in the file, {expected} in the network")
    if not lines:
        return
    kind, looks = type(target).__name__, recognise(state) or ask_spandrel(state)
    reason = compare_architectures(looks, recognise(own) or {"type": kind}, ("in the file", "in the options"))
    report = f"{source} does not fit {kind}{reason and f': {reason}'}:\n  "
    report += name_some(lines, MAX_LINES, "\n  ")
    if strict:
        raise WeightsError(f"{report}\nCheck the network's options, or set strict_load_*: false to skip these.")
    logger.warning("%s\nThese entries were skipped.", report)


def save_network(nets: Mapping[str, nn.Module], path: StrPath) -> None:
    """Writes ``{param_key: state_dict}`` for each network (``params``, ``params_ema``), atomically and on the CPU."""
    atomic_save({key: cpu_state(net) for key, net in nets.items()}, path)


def cpu_state(net: nn.Module) -> dict[str, Tensor]:
    """A network's state dict on the CPU, without a wrapper's prefix, its elements in the order of dimensions."""
    return {name: value.cpu().contiguous() for name, value in live_state(net).items()}


def live_state(net: nn.Module) -> dict[str, Tensor]:
    """A network's own tensors by name, on their device, without a wrapper's prefix."""
    return {name: value.detach() for name, value in bare(net).state_dict().items()}
