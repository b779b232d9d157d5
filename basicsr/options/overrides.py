"""``--force_yml a:b:c=value``: options changed on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from basicsr.options.load import load_value
from basicsr.utils.errors import Problem


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> list[Problem]:
    """Sets options in ``data``, in order; blocks that are not there are made, as the schema will check them after.

    Args:
        data: The option file's content, changed in place.
        overrides: Texts like ``train:optim_g:lr=2e-4`` or ``train:scheduler:milestones:0=1000``. The first ``=`` ends
            the name; the value is YAML, so ``null``, lists, blocks and quoted text work. An index may be that of a
            list's item, or the list's length to append.

    Returns:
        The overrides that could not be applied, and why.
    """
    problems = []
    for override in overrides:
        try:
            _apply(data, override)
        except ValueError as error:
            problems.append(Problem(f"--force_yml {override}", str(error)))
    return problems


def _apply(data: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(":")]
    if not equals or not all(keys):
        raise ValueError("expected KEY:KEY:…=VALUE, e.g. train:optim_g:lr=2e-4")
    if len(keys) == 1 and "." in name and name not in data:
        raise ValueError(f"keys are separated by colons: {name.replace('.', ':')}={text}")
    value = load_value(text)
    target: Any = data
    for depth, key in enumerate(keys[:-1]):
        slot = _slot(target, key, keys[:depth])
        inner = target[slot] if isinstance(target, list) and slot < len(target) else None
        if isinstance(target, dict):
            inner = target.get(slot)
        if inner is None:
            inner = {}
            _store(target, slot, inner)
        target = inner
    _store(target, _slot(target, keys[-1], keys[:-1]), value)


def _slot(target: Any, key: str, parents: list[str]) -> Any:
    """The key or index under which ``key`` is found in ``target``."""
    where = ".".join(parents)
    if isinstance(target, dict):
        return key
    if not isinstance(target, list):
        raise ValueError(f"{where} is {target!r}, not a block, so it has no {key!r}")
    if not key.isdecimal() or int(key) > len(target):
        raise ValueError(f"{where} is a list of {len(target)}; expected an index from 0 to {len(target)}, got {key!r}")
    return int(key)


def _store(target: Any, slot: Any, value: Any) -> None:
    if isinstance(target, list) and slot == len(target):
        target.append(value)
    else:
        target[slot] = value
