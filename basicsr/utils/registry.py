"""Registries: the names that a ``type:`` (or ``model_type:``) key in an option file may take."""

from __future__ import annotations

import difflib
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping
from typing import Any, TypeVar, overload

from basicsr.utils.errors import UserError

T = TypeVar("T", bound=Callable[..., Any])


class Registry:
    """Maps names to classes or functions; registration is explicit and a clash is an error.

    Args:
        name: What the registry holds, for messages (``arch``, ``dataset`` …).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[str, Callable[..., Any]] = {}

    @overload
    def register(self, obj: None = None, name: str | None = None) -> Callable[[T], T]: ...
    @overload
    def register(self, obj: T, name: str | None = None) -> T: ...
    def register(self, obj: T | None = None, name: str | None = None) -> T | Callable[[T], T]:
        """Registers ``obj`` under ``name`` (default: its ``__name__``); usable as ``@R.register()``.

        Raises:
            KeyError: If the name is taken by another object.
        """
        if obj is None:
            return lambda target: self.register(target, name)
        key = name or obj.__name__
        present = self._entries.get(key)
        if present is not None and present is not obj and _origin(present) != _origin(obj):
            raise KeyError(f"{self.name} registry: {key!r} is already registered by {_origin(present)}")
        self._entries[key] = obj
        return obj

    def get(self, name: str) -> Callable[..., Any]:
        """Returns what ``name`` stands for.

        Raises:
            UserError: If nothing is registered under that name; the message gives the nearest names.
        """
        if name not in self._entries:
            raise UserError(self.explain_missing(name))
        return self._entries[name]

    def resolve(self, block: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
        """What a block's ``type`` stands for, and the block's other keys: its arguments.

        Raises:
            UserError: If the type is absent or not registered.
        """
        if "type" not in block:
            known = ", ".join(sorted(self._entries))
            raise UserError(f"a block of kind {self.name} needs the key 'type'; known: {known}")
        return self.get(block["type"]), {key: value for key, value in block.items() if key != "type"}

    def explain_missing(self, name: object) -> str:
        """One sentence for a name that is not registered: the nearest names, or all of them."""
        near = difflib.get_close_matches(str(name), self._entries, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(self._entries)) or 'none'}"
        return f"unknown {self.name} {name!r}; {hint}"

    def keys(self) -> KeysView[str]:
        return self._entries.keys()

    def items(self) -> ItemsView[str, Callable[..., Any]]:
        return self._entries.items()

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        return iter(self._entries.items())


def _origin(obj: Callable[..., Any]) -> str:
    return f"{getattr(obj, '__module__', '?')}.{getattr(obj, '__qualname__', obj)}"


DATASET_REGISTRY = Registry("dataset")
ARCH_REGISTRY = Registry("arch")
MODEL_REGISTRY = Registry("model")
LOSS_REGISTRY = Registry("loss")
METRIC_REGISTRY = Registry("metric")
OPTIMIZER_REGISTRY = Registry("optimizer")
SCHEDULER_REGISTRY = Registry("scheduler")
DEGRADATION_REGISTRY = Registry("degradation")
OBJECTIVE_REGISTRY = Registry("objective")
VIEW_REGISTRY = Registry("view")
