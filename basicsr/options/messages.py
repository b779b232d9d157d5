"""Mistakes in words: what was expected, what was found, and the nearest valid name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_NOUNS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    type(None): ("null", "null"),
    dict: ("a block", "blocks"),
    list: ("a list", "lists"),
    tuple: ("a list", "lists"),
}
_EXPECTED_BY_ERROR = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a block",
    "mapping": "a block",
    "model": "a block",
    "none": "null",
}
_MAX_SHOWN = 60

Location = tuple[str | int, ...]


def show(value: Any) -> str:
    """A value as it would be written in an option file, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a block"
    text = repr(list(value)) if isinstance(value, (list, tuple)) else repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def nearest(name: object, known: Iterable[str]) -> str:
    """The closest of the known names, or an empty text."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return near[0] if near else ""


def suggest(name: object, known: Iterable[str]) -> str:
    """``; did you mean X?``, or ``; known: …`` where nothing is close."""
    names = list(known)
    near = nearest(name, names)
    return f"; did you mean {near}?" if near else f"; known: {', '.join(sorted(names)) or 'none'}"


def describe_mismatch(expected: str, value: Any) -> str:
    """``expected X, got Y``, with a hint where quotes are the mistake."""
    hint = ""
    if isinstance(value, str) and expected in ("an integer", "a number", "true or false"):
        hint = " (without quotes)" if _looks_like(value) else ""
    if expected == "text" and isinstance(value, (int, float)):
        hint = " (put it in quotes)"
    return f"expected {expected}{hint}, got {show(value)}"


def describe_type(annotation: Any, plural: bool = False) -> str:
    """A type annotation in words: ``a list of 2 numbers``, ``one of 'a', 'b'``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0], plural)
    if origin is Literal:
        return "one of " + ", ".join(show(item) for item in arguments)
    if origin in (Union, types.UnionType):
        parts = list(dict.fromkeys(describe_type(item, plural) for item in arguments))
        return " or ".join(parts)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        kinds = dict.fromkeys(describe_type(item, plural=len(arguments) > 1) for item in arguments)
        noun = f"{len(arguments)} {' and '.join(kinds)}"
        return f"lists of {noun}" if plural else f"a list of {noun}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = f" of {describe_type(arguments[1], plural=True)}" if arguments else ""
        return f"blocks{inner}" if plural else f"a block{inner}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        inner = f" of {describe_type(arguments[0], plural=True)}" if arguments else ""
        return f"lists{inner}" if plural else f"a list{inner}"
    if annotation in _NOUNS:
        return _NOUNS[annotation][plural]
    return str(getattr(annotation, "__name__", annotation))


def explain_validation(error: ValidationError, schema: type[BaseModel], data: Any) -> dict[Location, str]:
    """What pydantic found, in words, by place.

    Args:
        error: What ``schema`` raised for ``data``.
        schema: The model.
        data: The block that was validated.

    Returns:
        A message for each place, given by its keys and indices from ``data`` on.
    """
    messages: dict[Location, list[str]] = {}
    for entry in error.errors(include_url=False):
        location = _location_in(data, entry)
        message = _explain_entry(entry, schema, location)
        if message not in messages.setdefault(location, []):
            messages[location].append(message)
    return {location: "; or ".join(found) for location, found in messages.items()}


def join_path(*parts: str | int) -> str:
    """A dotted path, without empty parts."""
    return ".".join(str(part) for part in parts if part != "")


def _location_in(data: Any, entry: Any) -> Location:
    """The part of an error's location that exists in the file, and the last key if that is what is missing."""
    path: list[str | int] = []
    location = [part for part in entry["loc"] if part != "[key]"]
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        if isinstance(data, Mapping) and (part in data or (is_last and entry["type"] == "missing")):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue  # pydantic's name for a member of a union
        path.append(part)
    return tuple(path)


def _explain_entry(entry: Any, schema: type[BaseModel], path: Sequence[str | int]) -> str:
    kind, value = entry["type"], entry["input"]
    if kind == "missing":
        return "missing, and it has no default"
    if kind == "extra_forbidden":
        return explain_unknown_key(schema, path)
    if kind == "value_error":
        return str(entry["ctx"]["error"])
    if kind == "literal_error":
        return f"expected {entry['ctx']['expected']}, got {show(value)}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{entry['msg'].replace('Input should be', 'expected a value')}, got {show(value)}"
    expected = _EXPECTED_BY_ERROR.get(kind.split("_")[0])
    if expected:
        return describe_mismatch(expected, value)
    return f"{entry['msg']}, got {show(value)}"


def explain_unknown_key(schema: type[BaseModel], path: Sequence[str | int]) -> str:
    """``unknown key``, with the nearest key of its section, or the section that a key of that name belongs to."""
    *parents, key = path
    section = section_at(schema, parents) or schema
    fields = list(section.model_fields)
    near = nearest(key, fields)
    if near:
        return f"unknown key; did you mean {near}?"
    home = next((where for where in list_paths(schema) if where.split(".")[-1] == str(key)), None)
    if home:
        return f"unknown key here; it belongs at {home}"
    return f"unknown key{suggest(key, fields)}"


def section_at(schema: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel] | None:
    """The model of the section at a path, or ``None`` where the schema has no section there."""
    section: type[BaseModel] | None = schema
    for part in path:
        field = section.model_fields.get(str(part)) if section else None
        section = model_in(field.annotation) if field else None
    return section


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return next((found for part in get_args(annotation) if (found := model_in(part))), None)
    return None


def list_paths(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all keys of a schema, outer ones first."""
    paths = [f"{prefix}{name}" for name in schema.model_fields]
    for name, field in schema.model_fields.items():
        inner = model_in(field.annotation)
        if inner:
            paths += list_paths(inner, f"{prefix}{name}.")
    return paths


def _looks_like(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false")
    return True
