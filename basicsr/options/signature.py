"""Checks the keys of a ``type:`` block against the signature of the class or function that it names."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from basicsr.options.messages import describe_mismatch, describe_type, suggest
from basicsr.utils.errors import Problem

_POSITIONAL_OR_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Signature:
    """What a constructor can be given in an option file.

    Attributes:
        parameters: Its named parameters, without those that the frame supplies.
        annotations: Their types; what is not annotated takes anything.
        is_open: Whether it takes names that it does not list.
        takes_block: Whether it takes the whole block as one mapping, ``opt``.
    """

    parameters: Mapping[str, inspect.Parameter]
    annotations: Mapping[str, Any]
    is_open: bool = False
    takes_block: bool = False


def read_signature(constructor: Callable[..., Any], supplied: Collection[str] = ()) -> Signature:
    """Reads the signature of a registered class or function.

    Args:
        constructor: What the ``type:`` stands for.
        supplied: Parameters that the frame passes itself, such as an optimizer's ``params``.
    """
    try:
        listed = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):  # some built-in types have no signature
        return Signature({}, {}, is_open=True)
    named = {p.name: p for p in listed if p.kind in _POSITIONAL_OR_KEYWORD and p.name not in supplied}
    takes_block = next(iter(named), None) == "opt" and not any(_is_required(p) for p in list(named.values())[1:])
    # Constructors of this package list what they take; **kwargs would swallow mistyped names.
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in listed)
    return Signature(named, _annotations(constructor), takes_any and not is_own(constructor), takes_block)


def is_own(constructor: Callable[..., Any]) -> bool:
    """Whether a registered class or function is part of this package."""
    return (getattr(constructor, "__module__", None) or "").split(".")[0] == "basicsr"


def check_arguments(
    constructor: Callable[..., Any],
    block: Mapping[str, Any],
    path: str,
    supplied: Collection[str] = (),
    also_known: Collection[str] = (),
) -> tuple[dict[str, Any], list[Problem]]:
    """Checks a block's keys and values against a constructor.

    Args:
        constructor: What the block's ``type:`` stands for.
        block: The keys of the block except ``type``.
        path: Where the block is in the option file.
        supplied: Parameters that the frame passes itself.
        also_known: Further names that the block may have, to be suggested for unknown ones.

    Returns:
        The arguments, with numbers in the type that is asked for (``64.0`` as 64 where an integer belongs), and the
        mistakes.
    """
    signature = read_signature(constructor, supplied)
    if signature.takes_block:
        return dict(block), []
    arguments: dict[str, Any] = {}
    problems = []
    for name, value in block.items():
        parameter = signature.parameters.get(name)
        if parameter is None:
            arguments[name] = value
            if not signature.is_open:
                problems.append(
                    Problem(f"{path}.{name}", f"unknown key{suggest(name, [*signature.parameters, *also_known])}")
                )
            continue
        optional = parameter.default is None and value is None
        try:
            arguments[name] = value if optional else convert(value, signature.annotations.get(name, Any))
        except ValueError as error:
            problems.append(Problem(f"{path}.{name}", str(error)))
    for name, parameter in signature.parameters.items():
        if name not in block and _is_required(parameter):
            expected = describe_type(signature.annotations.get(name, Any))
            kind = "" if expected == "Any" else f": expected {expected}"
            problems.append(Problem(f"{path}.{name}", f"missing, and it has no default{kind}"))
    return arguments, problems


def convert(value: Any, annotation: Any) -> Any:
    """Checks one value against a type annotation and returns it as plain data of that type.

    Raises:
        ValueError: If it does not fit; the message says what was expected.
    """
    if annotation is Any or annotation is inspect.Parameter.empty:
        return value
    try:
        adapter = _build_adapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):  # an annotation that no schema can be made of
        return value
    try:
        # JSON in strict mode: lists pass for tuples and sequences, yet "3" is no number and 1 is not true.
        typed = adapter.validate_json(json.dumps(_shorten_floats(value)), strict=True)
        return adapter.dump_python(typed, mode="json", warnings=False)
    except TypeError:  # not plain data: options that were made in Python
        return value
    except ValidationError as error:
        own = [str(entry["ctx"]["error"]) for entry in error.errors() if entry["type"] == "value_error"]
        raise ValueError("; ".join(own) or describe_mismatch(describe_type(annotation), value)) from None


def _build_adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a model or dataclass, which has a configuration of its own
        return TypeAdapter(annotation)


def _shorten_floats(value: Any) -> Any:
    """Writes floats without a fraction as integers, which a strict number takes as well as a strict integer."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_shorten_floats(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _shorten_floats(item) for key, item in value.items()}
    return value


def _annotations(constructor: Callable[..., Any]) -> dict[str, Any]:
    target = constructor.__init__ if inspect.isclass(constructor) else inspect.unwrap(constructor)
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:  # names that only a type checker can see, in other people's code
        hints = getattr(target, "__annotations__", {})
        return {name: hint for name, hint in hints.items() if not isinstance(hint, str)}


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty
