"""Reading YAML: plain data only, in the order of the file, with the line of every key.

The loader is PyYAML's safe one with three differences, each against a mistake that option files invite: a key that is
given twice is an error; ``1e-4`` is a number, as in YAML 1.2 (PyYAML alone reads text); dates and binary data are not
built, so that everything in an option file is a number, text, ``true``/``false``, null, a list or a block.
"""

from __future__ import annotations

import os
import re
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
        lines: Line number (from 1) of every key, by dotted path.
        problems: Keys given twice, and keys that are not text.
        source: The file, for messages.
    """

    data: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
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
    return LoadedOptions(data, reader.lines, reader.problems, source)


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
        self.lines: dict[str, int] = {}
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
                message = f"expected text as a key, got {key!r}; put it in quotes (line {line})"
                self.problems.append(Problem(_join(path, str(key)), message))
                continue
            inner = _join(path, key)
            if id(key_node) in own:
                if key in first_lines:
                    message = f"given twice, in lines {first_lines[key]} and {line}"
                    self.problems.append(Problem(inner, message))
                first_lines[key] = line
            self.lines[inner] = line
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
