"""Registries: the names that a ``type:`` (or ``model_type:``) key in an option file may take."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping
from typing import Any, Protocol, TypeVar, overload

from basicsr.utils.errors import UserError
from basicsr.utils.left_out import REASON, TYPES

logger = logging.getLogger("basicsr")

T = TypeVar("T", bound=Callable[..., Any])

_OWN = "basicsr"


class UnknownNameError(UserError, KeyError):
    """Nothing is registered under a name."""

    __str__ = Exception.__str__


class PartSource(Protocol):
    """Parts of a package that is imported when one of them is asked for."""

    def names(self) -> list[str]:
        """The names that it knows; none if the package is not installed."""
        ...

    def find(self, name: str) -> Callable[..., Any]:
        """What a name stands for; the same object at every call.

        Raises:
            UnknownNameError: If there is none; the message says why.
        """
        ...


class Registry:
    """Maps names to classes or functions; registration is explicit.

    Another package may register a name of this package again: that name stands for its part then, and this package's
    is found under the name with ``_basicsr``. Names that begin with ``PREFIX/`` are those of a source.

    Args:
        name: What the registry holds, for messages (``arch``, ``dataset`` …).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[str, Callable[..., Any]] = {}
        self._sources: dict[str, PartSource] = {}

    @overload
    def register(self, obj: None = None, suffix: str | None = None, name: str | None = None) -> Callable[[T], T]: ...
    @overload
    def register(self, obj: T, suffix: str | None = None, name: str | None = None) -> T: ...
    def register(
        self, obj: T | None = None, suffix: str | None = None, name: str | None = None
    ) -> T | Callable[[T], T]:
        """Registers ``obj``; usable as ``@R.register()``.

        Args:
            obj: A class or function.
            suffix: Ending of its name, after an underscore.
            name: Its name; absent: its ``__name__``.

        Raises:
            KeyError: If the name is taken, unless one of the two objects is this package's and the other is not.
        """
        if obj is None:
            return lambda target: self.register(target, suffix, name)
        key = "_".join(filter(None, (name or obj.__name__, suffix)))
        present = self._entries.setdefault(key, obj)
        if _origin(present) == _origin(obj):
            self._entries[key] = obj
        elif is_own(present) == is_own(obj):
            raise KeyError(f"{self.name} registry: {key!r} is already registered by {_origin(present)}")
        else:
            ours, theirs = (present, obj) if is_own(present) else (obj, present)
            self._entries |= {key: theirs, f"{key}_{_OWN}": ours}
            text = "%s %s is that of %s now; that of %s is called %s_%s"
            logger.warning(text, self.name, key, theirs.__module__, ours.__module__, key, _OWN)
        return obj

    def add_source(self, prefix: str, source: PartSource) -> None:
        """Has ``PREFIX/NAME`` stand for what the source knows as ``NAME``."""
        self._sources[prefix] = source

    def get(self, name: str, suffix: str = _OWN) -> Callable[..., Any]:
        """What ``name``, or else ``name`` with the suffix after an underscore, stands for.

        Raises:
            UnknownNameError: If nothing is registered under either; the message gives the nearest names.
        """
        prefix, _, rest = name.partition("/")
        if rest and prefix in self._sources:
            return self._sources[prefix].find(rest)
        found = self._entries.get(name) or self._entries.get(f"{name}_{suffix}")
        if found is None:
            raise UnknownNameError(self.explain_missing(name))
        return found

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
        """One sentence for a name that is not registered: why it stays out, the nearest names, or all of them."""
        if name in TYPES:
            return f"no {self.name} {name!r}: {REASON}"
        text = str(name)
        prefix, _, rest = text.partition("/")
        if rest and prefix in self._sources:
            try:
                self._sources[prefix].find(rest)
            except UnknownNameError as error:
                return str(error)
        near = difflib.get_close_matches(text, self._entries, n=3, cutoff=0.6)
        near += [f"{key}/{text}" for key, source in self._sources.items() if text in source.names()]
        known = ", ".join(sorted([*self._entries, *(f"{key}/…" for key in self._sources)])) or "none"
        return f"unknown {self.name} {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else f"known: {known}")

    def list_all(self) -> dict[str, Callable[..., Any]]:
        """Everything by name, what sources know included."""
        offered = {f"{key}/{name}": src.find(name) for key, src in self._sources.items() for name in src.names()}
        return {**self._entries, **offered}

    def keys(self) -> KeysView[str]:
        return self._entries.keys()

    def items(self) -> ItemsView[str, Callable[..., Any]]:
        return self._entries.items()

    def __contains__(self, name: object) -> bool:
        prefix, _, rest = str(name).partition("/")
        if not rest or prefix not in self._sources:
            return name in self._entries
        try:
            return self._sources[prefix].find(rest) is not None
        except UnknownNameError:
            return False

    def __iter__(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        return iter(self._entries.items())


def is_own(constructor: Callable[..., Any]) -> bool:
    """Whether a registered class or function is part of this package."""
    return (getattr(constructor, "__module__", None) or "").split(".")[0] == _OWN


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
