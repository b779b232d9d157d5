"""Options that nothing can change: a nested mapping that reads like a dict and refuses to be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import yaml


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError(
        "options are read-only; work on opt.copy(), which is a mutable deep copy, or set the option in the file or "
        "with --force_yml"
    )


class FrozenOptions(dict[str, Any]):
    """A read-only nested mapping; see :func:`freeze`.

    It is a ``dict``, so that JSON, YAML and code written for BasicSR read it. ``copy()`` and ``copy.deepcopy`` give
    plain mutable dicts and lists, all the way down; pickling keeps it read-only.

    Attributes:
        typed: The same options as validated sections, where they come from an option file.
    """

    __slots__ = ("typed",)
    typed: Any

    __setitem__ = __delitem__ = __ior__ = _refuse
    pop = popitem = clear = update = setdefault = _refuse

    def copy(self, memo: object = None) -> dict[str, Any]:
        """A mutable deep copy in plain dicts and lists; ``memo`` is :func:`copy.deepcopy`'s and not needed."""
        return thaw(self)

    __copy__ = __deepcopy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (dict(self), getattr(self, "typed", None))


def freeze(options: Mapping[str, Any], typed: Any = None) -> FrozenOptions:
    """Makes a read-only copy of nested options: mappings become :class:`FrozenOptions`, lists become tuples.

    Tuples rather than lists of our own, because options reach optimizers' and schedulers' states, and checkpoints must
    hold nothing that ``torch.load(weights_only=True)`` does not know.
    """
    frozen: FrozenOptions = _rebuild(options, FrozenOptions, tuple)
    frozen.typed = typed
    return frozen


def thaw(options: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a mutable deep copy of options in plain dicts and lists, e.g. for code that pops its keys."""
    return _rebuild(options, dict, list)


def _rebuild(value: Any, mapping: type, sequence: type) -> Any:
    """Copies nested options with every mapping and every list or tuple in another type; leaves are shared."""
    if isinstance(value, Mapping):
        return mapping((key, _rebuild(item, mapping, sequence)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return sequence(_rebuild(item, mapping, sequence) for item in value)
    return value


def _represent(dumper: yaml.representer.BaseRepresenter, options: FrozenOptions) -> yaml.Node:
    return dumper.represent_dict(thaw(options))  # type: ignore[attr-defined]


yaml.representer.SafeRepresenter.add_representer(FrozenOptions, _represent)
yaml.representer.Representer.add_representer(FrozenOptions, _represent)


def list_changes(before: object, after: object, place: str = "") -> Iterator[str]:
    """Every value of nested mappings that differs, by its place: ``models.A.digest was 12, is 34``."""
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        former, latter = (each if isinstance(each, Mapping) else {} for each in (before, after))
        for key in {**former, **latter}:
            inner = former.get(key, "absent"), latter.get(key, "absent")
            yield from list_changes(*inner, f"{place}.{key}".strip("."))
    elif before != after:
        yield f"{place} was {before}, is {after}"
