"""Option files as plain data, in the order of the file and with the line of every key, and ``--force_yml``.

The loader is PyYAML's safe one with three differences, each against a mistake that option files invite: a key that is
given twice is an error; ``1e-4`` is a number, as in YAML 1.2 (PyYAML alone reads text); dates and binary data are not
built, so that everything in an option file is a number, text, ``true``/``false``, null, a list or a block.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basicsr.utils.errors import OptionsError, Problem

_FLOAT_TAG = "tag:yaml.org,2002:float"
_UNUSED_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq", "merge")}
_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+")
MAX_DEPTH = 50
MAX_VALUES = 100_000


class OptionLoader(yaml.SafeLoader):
    """PyYAML's safe loader, narrowed to plain data."""


OptionLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNUSED_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
OptionLoader.add_implicit_resolver(_FLOAT_TAG, re.compile(rf"^{_EXPONENT.pattern}$"), list("-+0123456789."))


@dataclass
class LoadedOptions:
    """What an option file says.

    Attributes:
        data: Nested dicts, lists and scalars, in file order.
        places: Line (from 1) of every key, or the flag that set it, by dotted path.
        problems: Keys given twice, and keys that are not text.
        source: The file, for messages.
    """

    data: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    source: str | None = None


def load_file(path: str | os.PathLike[str]) -> LoadedOptions:
    """Reads an option file.

    Raises:
        OptionsError: If there is no such file, or it is not a YAML block.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionsError([Problem("-opt", f"there is no file {file}{_suggest_sibling(file)}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError([Problem("-opt", f"cannot read {file}: {error}")]) from None
    return load_text(text, source=str(file))


def load_text(text: str, source: str | None = None) -> LoadedOptions:
    """Reads the text of an option file; see :func:`load_file`."""
    reader = _Reader()
    try:
        data = reader.read(text)
    except _SyntaxError as error:
        raise OptionsError([Problem(error.where, str(error))], source) from None
    if not isinstance(data, dict):
        raise OptionsError([Problem("file", "expected a block of `key: value` lines")], source)
    return LoadedOptions(data, reader.places, reader.problems, source)


def load_value(text: str) -> Any:
    """Reads one value as an option file would.

    Raises:
        ValueError: If it is not YAML.
    """
    reader = _Reader()
    value = reader.read(text)
    if reader.problems:
        raise ValueError("; ".join(map(str, reader.problems)))
    return value


class _SyntaxError(ValueError):
    def __init__(self, message: str, where: str) -> None:
        super().__init__(f"not valid YAML: {message}")
        self.where = where


class _Reader:
    """Turns a YAML node tree into data, noting lines and mistakes on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self._num_values = 0
        self._own_keys: dict[int, set[int]] = {}

    def read(self, text: str) -> Any:
        try:
            loader = OptionLoader(text)
        except yaml.YAMLError as error:
            raise _SyntaxError(" ".join(str(error).split()), "file") from None
        try:
            node = loader.get_single_node()
            return None if node is None else self._build(loader, node, "")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
            raise _SyntaxError(str(error.problem or error.context), where) from None
        finally:
            loader.dispose()

    def _build(self, loader: OptionLoader, node: yaml.Node, path: str, depth: int = 0) -> Any:
        self._num_values += 1
        if depth > MAX_DEPTH or self._num_values > MAX_VALUES:
            raise _error_at(node, f"more than {MAX_DEPTH} levels or {MAX_VALUES} values; does an alias hold itself?")
        if node.tag not in _PLAIN_TAGS:
            raise _error_at(node, f"the tag {node.tag!r} is not allowed")
        if isinstance(node, yaml.MappingNode):
            return self._build_block(loader, node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self._build(loader, item, _join(path, index), depth + 1) for index, item in items]
        try:
            return loader.construct_object(node)
        except ValueError as error:
            raise _error_at(node, str(error)) from None

    def _build_block(self, loader: OptionLoader, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        # Merging (<<) writes the merged keys into the node, which an alias may bring here again.
        own = self._own_keys.setdefault(id(node), {id(key) for key, _ in node.value})
        loader.flatten_mapping(node)
        block: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = loader.construct_object(key_node)
            if not isinstance(key, str):
                message = f"expected text as a key, got {key!r}; put it in quotes"
                self.problems.append(Problem(_join(path, str(key)), message, f"line {line}"))
                continue
            inner = _join(path, key)
            if id(key_node) in own:
                if key in first_lines:
                    message = f"given twice, first in line {first_lines[key]}"
                    self.problems.append(Problem(inner, message, f"line {line}"))
                first_lines[key] = line
            self.places[inner] = f"line {line}"
            block[key] = self._build(loader, value_node, inner, depth + 1)
        return block


def _error_at(node: yaml.Node, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)


def _suggest_sibling(file: Path) -> str:
    from difflib import get_close_matches

    folder = file.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = [entry.name for entry in folder.glob("*.y*ml")]
    near = get_close_matches(file.name, names, n=1) or get_close_matches(file.stem, names, n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""


# --- changes on the command line --------------------------------------------------------------------------------------


def apply_overrides(loaded: LoadedOptions | dict[str, Any], overrides: Iterable[str]) -> list[Problem]:
    """Sets options, in order; blocks that are not there are made, as the schema will check them after.

    Args:
        loaded: The option file's content, changed in place.
        overrides: Texts like ``train:optim_g:lr=2e-4`` or ``train:scheduler:milestones:0=1000``. The first ``=`` ends
            the name; the value is YAML, so ``null``, lists, blocks and quoted text work. An index may be that of a
            list's item, or the list's length to append.

    Returns:
        The overrides that could not be applied, and why.
    """
    problems = []
    data, places = (loaded.data, loaded.places) if isinstance(loaded, LoadedOptions) else (loaded, {})
    for override in overrides:
        try:
            path = _apply(data, override)
        except ValueError as error:
            problems.append(Problem(f"--force_yml {override}", str(error)))
            continue
        for known in [known for known in places if known.startswith(f"{path}.")]:
            del places[known]
        places[path] = f"--force_yml {override}"
    return problems


def _apply(data: dict[str, Any], override: str) -> str:
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
    return ".".join(keys)


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


# --- published names --------------------------------------------------------------------------------------------------


def yaml_load(f: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a YAML file, or YAML text, as plain nested data; nothing is validated.

    Raises:
        OptionsError: If it is not a YAML block, or a key is given twice.
    """
    is_text = isinstance(f, str) and not os.path.isfile(f) and ("\n" in f or ":" in f)
    loaded = load_text(str(f)) if is_text else load_file(Path(f))
    if loaded.problems:
        raise OptionsError(loaded.problems, loaded.source)
    return loaded.data


def ordered_yaml() -> tuple[type, type]:
    """A YAML loader and dumper that keep the order of keys.

    Python's own dicts do so, and the loader's result is one; the dumper also writes ``OrderedDict``.
    """

    class OrderedDumper(yaml.SafeDumper):
        pass

    def represent(dumper: yaml.SafeDumper, data: Mapping[str, Any]) -> yaml.Node:
        return dumper.represent_mapping("tag:yaml.org,2002:map", data.items())

    OrderedDumper.add_representer(dict, represent)
    OrderedDumper.add_representer(OrderedDict, represent)
    return OptionLoader, OrderedDumper
