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
from basicsr.utils.fields import find_near, join_path

_UNUSED_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq", "merge")}
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
MAX_DEPTH = 50
MAX_VALUES = 100_000


class OptionLoader(yaml.SafeLoader):
    """PyYAML's safe loader, narrowed to plain data; :meth:`build` notes lines and mistakes on the way.

    Attributes:
        places: Line (from 1) of every key, by dotted path.
        problems: Keys given twice, and keys that are not text.
    """

    def __init__(self, text: Any) -> None:
        super().__init__(text)
        self.places: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._num_values = 0
        self._own_keys: dict[int, set[int]] = {}

    def build(self, node: yaml.Node, path: str = "", depth: int = 0) -> Any:
        """What a node of the text stands for, as nested dicts, lists and scalars."""
        self._num_values += 1
        if depth > MAX_DEPTH or self._num_values > MAX_VALUES:
            raise _error_at(node, f"more than {MAX_DEPTH} levels or {MAX_VALUES} values; does an alias hold itself?")
        if node.tag not in _PLAIN_TAGS:
            raise _error_at(node, f"the tag {node.tag!r} is not allowed")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, join_path(path, index), depth + 1) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            try:
                return self.construct_object(node)
            except ValueError as error:
                raise _error_at(node, str(error)) from None

        # Merging (<<) writes the merged keys into the node, which an alias may bring here again.
        own = self._own_keys.setdefault(id(node), {id(key) for key, _ in node.value})
        self.flatten_mapping(node)
        block: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.construct_object(key_node)
            inner = join_path(path, str(key))
            if not isinstance(key, str):
                message = f"expected text as a key, got {key!r}; put it in quotes"
                self.problems.append(Problem(inner, message, f"line {line}"))
                continue
            if id(key_node) in own:
                if key in first_lines:
                    message = f"given twice, first in line {first_lines[key]}"
                    self.problems.append(Problem(inner, message, f"line {line}"))
                first_lines[key] = line
            self.places[inner] = f"line {line}"
            block[key] = self.build(value_node, inner, depth + 1)
        return block


def _error_at(node: yaml.Node, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


OptionLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNUSED_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
OptionLoader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789."))


@dataclass
class LoadedOptions:
    """What an option file says.

    Attributes:
        data: Nested dicts, lists and scalars, in file order.
        places: Line (from 1) of every key, or the flag that set it, by dotted path.
        problems: Keys given twice, and keys that are not text.
    """

    data: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def load_file(path: str | os.PathLike[str]) -> LoadedOptions:
    """Reads an option file.

    Raises:
        OptionsError: If there is no such file, or it is not a YAML block.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f"; there is no folder {file.parent} either"
        if file.parent.is_dir():
            names = [entry.name for entry in file.parent.glob("*.y*ml")]
            near = find_near(file.name, names) or find_near(file.stem, names)
            hint = f"; did you mean {file.parent / near}?" if near else ""
        raise OptionsError([Problem("-opt", f"there is no file {file}{hint}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError([Problem("-opt", f"cannot read {file}: {error}")]) from None
    return load_text(text, source=str(file))


def load_text(text: str, source: str | None = None) -> LoadedOptions:
    """Reads the text of an option file; see :func:`load_file`."""
    loaded = _load(text, source)
    if not isinstance(loaded.data, dict):
        raise OptionsError([Problem("file", "expected a block of `key: value` lines")], source)
    return loaded


def load_value(text: str) -> Any:
    """Reads one value as an option file would.

    Raises:
        ValueError: If it is not YAML.
    """
    try:
        loaded = _load(text)
    except OptionsError as error:
        raise ValueError(error.problems[0].message) from None
    if loaded.problems:
        raise ValueError("; ".join(map(str, loaded.problems)))
    return loaded.data


def _load(text: str, source: str | None = None) -> LoadedOptions:
    """Any YAML document."""
    try:
        loader = OptionLoader(text)
        node = loader.get_single_node()
        data: Any = None if node is None else loader.build(node)
        return LoadedOptions(data, loader.places, loader.problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        message = str(error.problem or error.context)
    except yaml.YAMLError as error:
        where, message = "file", " ".join(str(error).split())
    except RecursionError:
        where, message = "file", f"more than {MAX_DEPTH} levels"
    raise OptionsError([Problem(where, f"not valid YAML: {message}")], source)


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
    """Sets one option; returns its dotted path."""
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(":")]
    if not equals or not all(keys):
        raise ValueError("expected KEY:KEY:…=VALUE, e.g. train:optim_g:lr=2e-4")
    if len(keys) == 1 and "." in name and name not in data:
        raise ValueError(f"keys are separated by colons: {name.replace('.', ':')}={text}")
    value = load_value(text)
    target: Any = data
    for depth, key in enumerate(keys, 1):
        where = ".".join(keys[: depth - 1])
        slot: Any = key
        if isinstance(target, list):
            if not key.isdecimal() or int(key) > len(target):
                count = len(target)
                raise ValueError(f"{where} is a list of {count}; expected an index from 0 to {count}, got {key!r}")
            slot = int(key)
            target += [None] if slot == len(target) else []
        elif isinstance(target, dict):
            target.setdefault(key, None)
        else:
            raise ValueError(f"{where} is {target!r}, not a block, so it has no {key!r}")
        if depth == len(keys):
            target[slot] = value
        elif target[slot] is None:
            target[slot] = {}
        target = target[slot]
    return ".".join(keys)


# --- published names --------------------------------------------------------------------------------------------------


def yaml_load(f: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a YAML file, or YAML text, as plain nested data; nothing is validated.

    Raises:
        OptionsError: If it is not a YAML block, or a key is given twice.
    """
    is_text = isinstance(f, str) and not os.path.isfile(f) and ("\n" in f or ":" in f)
    loaded = load_text(str(f)) if is_text else load_file(Path(f))
    if loaded.problems:
        raise OptionsError(loaded.problems, None if is_text else str(f))
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
