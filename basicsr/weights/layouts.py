"""Layouts of weights files: which entry holds the state dict, and the names that its tensors may have.

A name is never changed where the network at hand knows it; see :func:`fit_names`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

State = Mapping[str, Tensor]

PARAM_KEYS = ("params", "params_ema")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "netG", "net_g", "generator")
"""Entries of checkpoints of other frameworks that hold the network, possibly within one another."""

PREFIXES = ("module.", "_orig_mod.", "netG.", "net_g.", "generator.", "generator_ema.", "model.")
"""What names begin with where a network was saved as a part of something; other parts are left out."""


class Naming(NamedTuple):
    """A state dict under one of the ways that its names can be read.

    Attributes:
        state: Tensors by name.
        note: What was done to the names; empty: nothing.
    """

    state: State
    note: str = ""


def find_state(content: object, wanted: str) -> tuple[dict[str, Tensor], str] | None:
    """Finds the state dict in what a file holds.

    Args:
        content: A state dict, or mappings around it.
        wanted: The entry to take; where there is none, the other of ``params`` and ``params_ema`` will do.

    Returns:
        The state dict and the entry that it was in (empty for a bare one); None if there is none.
    """
    if not isinstance(content, Mapping):
        return None
    for key in dict.fromkeys((wanted, *PARAM_KEYS, *WRAPPERS)):
        if (inner := find_state(content.get(key), wanted)) is not None:
            return inner[0], inner[1] or key
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        return None
    return {str(name): value for name, value in content.items()}, ""


def list_namings(state: State) -> Iterator[Naming]:
    """All ways to read the names: as they are, without prefixes, and in the terms of today's architectures."""
    found = [Naming(state)]
    for named, note in found:  # which grows: prefixes stand before prefixes
        for prefix in PREFIXES:
            part = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
            if part:
                left = f" ({len(named) - len(part)} other entries left out)" if len(part) < len(named) else ""
                found.append(Naming(part, f"{note}, without the prefix {prefix!r}{left}".removeprefix(", ")))
    yield from found
    for named, note in found:
        for layout, rename in OLD_LAYOUTS.items():
            if (renamed := rename(named)) is not None:
                yield Naming(renamed, f"{note}, as the {layout}".removeprefix(", "))


def fit_names(state: State, own: Collection[str]) -> Naming:
    """The naming of which a network knows most, the simplest of equals.

    Args:
        state: Tensors by name.
        own: Names of the network's tensors.
    """
    known = set(own)
    if known == set(state):
        return Naming(state)
    return max(list_namings(state), key=lambda naming: len(known & naming.state.keys()))


def _rename(rules: Mapping[str, str], needed: str) -> Callable[[State], dict[str, Tensor] | None]:
    """A layout that patterns translate, recognised by a name that it has."""

    def rename(state: State) -> dict[str, Tensor] | None:
        if needed not in state:
            return None
        renamed = {}
        for name, value in state.items():
            for pattern, replacement in rules.items():
                name = re.sub(pattern, replacement, name)
            renamed[name] = value
        return renamed

    return rename


def _rename_sequential(state: State) -> dict[str, Tensor] | None:
    """ESRGAN's first layout numbers everything: ``model.0``, ``model.1.sub.0.RDB1.conv1.0``, … ``model.10``."""
    if "model.1.sub.0.RDB1.conv1.0.weight" not in state or any(not name.startswith("model.") for name in state):
        return None
    numbers = sorted({int(found[1]) for name in state if (found := re.match(r"model\.(\d+)\.(weight|bias)$", name))})
    names = ["conv_first", *(f"conv_up{index}" for index in range(1, len(numbers) - 2)), "conv_hr", "conv_last"]
    rules = {rf"^model\.{number}\.(\w+)$": rf"{name}.\1" for number, name in zip(numbers, names)}
    rules |= {
        r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": r"body.\1.rdb\2.conv\3.",
        r"^model\.1\.sub\.\d+\.(\w+)$": r"conv_body.\1",
    }
    return _rename(rules, "model.0.weight")(state)


OLD_LAYOUTS: dict[str, Callable[[State], dict[str, Tensor] | None]] = {
    "first layout of ESRGAN": _rename_sequential,
    "old layout of ESRGAN": _rename(
        {
            r"^RRDB_trunk\.(\d+)\.RDB(\d)\.": r"body.\1.rdb\2.",
            r"^trunk_conv\.": "conv_body.",
            r"^upconv(\d)\.": r"conv_up\1.",
            r"^HRconv\.": "conv_hr.",
        },
        "RRDB_trunk.0.RDB1.conv1.weight",
    ),
    "old layout of MSRResNet": _rename(
        {r"^recon_trunk\.": "body.", r"^HRconv\.": "conv_hr."}, "recon_trunk.0.conv1.weight"
    ),
}
