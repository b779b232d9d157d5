"""Parts: what a block with a ``type:`` stands for, validated by the declaration of the class that it names.

A registered class declares its options where it is written: by a nested pydantic model ``Options``, or by the annotated
signature of its constructor. An annotation such as ``Annotated[nn.Module, PartOf(LOSS_REGISTRY)]`` is a part within the
part, so that blocks nest.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    ValidationError,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from basicsr.utils.errors import UserError
from basicsr.utils.fields import (
    Location,
    Section,
    explain,
    fields_of,
    join_path,
    list_problems,
    raise_problems,
    show,
)
from basicsr.utils.registry import Registry, is_own

PART_MARK = "x-part"
"""Key that stands for a part in a JSON schema."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Arguments(Section):
    """Arguments of a registered constructor; a key that it does not know is a mistake, whoever reads the file."""

    is_closed: ClassVar[bool] = True


class OpenArguments(Arguments):
    """The same for constructors of other people that take names which they do not list."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Part:
    """A block with a ``type:`` that has been validated.

    Attributes:
        type: The registered name.
        constructor: What it stands for.
        arguments: The arguments that the block gives, in the types that the constructor asks for.
        settings: Keys that the block has beside the constructor's arguments.
        declared: The arguments as the class's own ``Options``, where it has such a model.
    """

    type: str
    constructor: Callable[..., Any] = field(repr=False, compare=False)
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    declared: Any = field(default=None, repr=False, compare=False)

    def build(self, *supplied: Any, **more: Any) -> Any:
        """Calls the constructor with what the frame supplies and with the block's arguments; parts within are built."""
        arguments = {key: item.build() if isinstance(item, Part) else item for key, item in self.arguments.items()}
        return self.constructor(*supplied, **arguments, **more)

    def get(self, name: str) -> Any:
        """An argument as given, else its default in the declaration; ``None`` if there is neither."""
        if name in self.arguments:
            return self.arguments[name]
        declared = fields_of(declare(self.constructor)).get(name)
        return None if declared is None or declared.is_required() else declared.get_default(call_default_factory=True)

    def takes(self, name: str) -> bool:
        """Whether the constructor has such an argument."""
        return name in names_of(self.constructor)

    def to_plain(self) -> dict[str, Any]:
        """The block as plain data."""
        plain = {k: v.to_plain() if isinstance(v, Part) else v for k, v in {**self.arguments, **self.settings}.items()}
        return {"type": self.type, **plain}


class Unregistered:
    """The constructor of a type that only a model of another package may know; it builds nothing."""

    def __init__(self, registry: Registry, kind: str) -> None:
        self.message = registry.explain_missing(kind)
        self.__module__ = ""  # what it stands for is none of this package's

    def __call__(self, *supplied: Any, **arguments: Any) -> Any:
        raise UserError(self.message)


@dataclass(frozen=True)
class PartOf:
    """Annotation of a part: ``Annotated[Part, PartOf(ARCH_REGISTRY)]``.

    Attributes:
        registry: Where ``type`` is looked up.
        supplied: Arguments that the frame passes itself, such as an optimizer's ``params``.
        beside: Section of the keys that the block may have beside the constructor's arguments.
        also_known: Keys that the block may have in published files; they are offered where a key is mistyped.
    """

    registry: Registry
    supplied: tuple[str, ...] = ()
    beside: type[Section] | None = None
    also_known: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: self.validate(value, info.context),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda part: part.to_plain() if isinstance(part, Part) else part
            ),
        )

    def validate(self, value: Any, context: Any = None) -> Part:
        """Reads a block; raises pydantic's error with every mistake in it."""
        if isinstance(value, Part):
            return value
        if not isinstance(value, Mapping):
            raise_problems(((), f"expected a block, got {show(value)}"))
        kind = value.get("type")
        if kind is None:
            raise_problems((("type",), f"missing; known: {', '.join(sorted(self.registry.keys())) or 'none'}"))
        elif not isinstance(kind, str):
            raise_problems((("type",), f"expected text, got {show(kind)}"))
        elif kind not in self.registry:
            if self.registry.name not in (context or {}).get("passing", ()):
                raise_problems((("type",), self.registry.explain_missing(kind)))
            arguments = {key: item for key, item in value.items() if key != "type"}
            return Part(kind, Unregistered(self.registry, kind), arguments)
        constructor = self.registry.get(kind)
        problems: list[tuple[Location, str, str]] = []
        beside = self.beside.model_fields.keys() if self.beside else ()
        settings = {key: item for key, item in value.items() if key in beside}
        arguments = {key: item for key, item in value.items() if key != "type" and key not in beside}
        section = None
        if self.beside:
            settings, _ = _collect(self.beside, settings, context, problems)
        if not takes_block(constructor):
            declared = declare(constructor, self.supplied, (*self.also_known, *beside))
            if "type" in declared.model_fields:
                arguments["type"] = kind
            arguments, section = _collect(declared, arguments, context, problems)
        raise_problems(*problems)
        return Part(kind, constructor, arguments, settings, section if _options_model(constructor) else None)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A mark of the kind of part, which :mod:`basicsr.options.reference` writes once: parts nest in circles."""
        return {PART_MARK: self.registry.name}


def _collect(
    model: type[BaseModel], data: Mapping[str, Any], context: Any, problems: list[tuple[Location, str, str]]
) -> tuple[dict[str, Any], BaseModel | None]:
    """The values of a block that were given, in their types, and its model; mistakes are added to ``problems``."""
    try:
        section = model.model_validate(data, context=context)
    except ValidationError as error:
        if not issubclass(model, Section):
            error = ValidationError.from_exception_data(model.__name__, explain(error, model, data))
        problems += list_problems(error)
        return dict(data), None
    keys = {name: item.alias or name for name, item in model.model_fields.items()}
    given = {key: getattr(section, name) for name, key in keys.items() if name in section.model_fields_set}
    return {**(section.model_extra or {}), **given}, section


# --- declarations -----------------------------------------------------------------------------------------------------


@cache
def _parameters(constructor: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        return tuple(inspect.signature(constructor).parameters.values())
    except (TypeError, ValueError):  # some built-in types have no signature
        return (inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD),)


def declares_any(constructor: Callable[..., Any]) -> bool:
    """Whether a constructor of other people takes names that it does not list; ours list what they take."""
    return not is_own(constructor) and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in _parameters(constructor))


def takes_block(constructor: Callable[..., Any]) -> bool:
    """Whether it takes the whole block as one mapping ``opt`` and declares no keys, as BasicSR's data sets do."""
    named = [p for p in _parameters(constructor) if p.kind in _NAMED]
    is_block = bool(named) and named[0].name == "opt" and all(p.default is not p.empty for p in named[1:])
    return is_block and _options_model(constructor) is None


def names_of(constructor: Callable[..., Any]) -> set[str]:
    """Names of the options that a registered class or function declares."""
    return set(fields_of(declare(constructor)))


def _options_model(constructor: Callable[..., Any]) -> Any:
    model = getattr(constructor, "Options", None)
    return model if isinstance(model, type) and hasattr(model, "model_fields") else None


@cache
def declare(
    constructor: Callable[..., Any], supplied: tuple[str, ...] = (), also_known: tuple[str, ...] = ()
) -> type[Section]:
    """The options of a registered class or function as a model: its ``Options``, or made of its signature.

    Args:
        constructor: The class or function.
        supplied: Parameters that the frame passes itself.
        also_known: Further keys that are offered where one is mistyped.
    """
    if _options_model(constructor) is not None:
        return _options_model(constructor)
    hints = _annotations(constructor)
    described = describe_arguments(constructor)
    fields: dict[str, Any] = {}
    for parameter in _parameters(constructor):
        if parameter.kind not in _NAMED or parameter.name in supplied:
            continue
        name, default = parameter.name, ... if parameter.default is parameter.empty else parameter.default
        annotation = _accept_lists(hints.get(name, Any))
        if default is None:
            annotation = Union[annotation, None]  # noqa: UP007
        # An alias, because a field may not be called `copy` or `_x` as arguments of other people's classes are.
        fields[f"arg_{name}"] = (annotation, Field(default, alias=name, description=described.get(name)))
    base = OpenArguments if declares_any(constructor) else Arguments
    model = create_model(getattr(constructor, "__name__", "Part"), __base__=base, **fields)
    model.also_known = also_known
    return model


def _accept_lists(annotation: Any) -> Any:
    """Lets YAML's lists stand for tuples; what is in them stays strict."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        parameters = (_accept_lists(arguments[0]), *annotation.__metadata__)
        return Annotated[parameters]
    if origin is tuple:
        inner = tuple(item if item is Ellipsis else _accept_lists(item) for item in arguments)
        return Annotated[tuple[inner], Strict(False)]  # type: ignore[valid-type]
    if origin in (Union, types.UnionType):
        return Union[tuple(_accept_lists(item) for item in arguments)]  # noqa: UP007
    return annotation


def _annotations(constructor: Callable[..., Any]) -> dict[str, Any]:
    target = constructor.__init__ if inspect.isclass(constructor) else inspect.unwrap(constructor)
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:  # names that only a type checker can see, in other people's code
        hints = getattr(target, "__annotations__", {})
        return {name: hint for name, hint in hints.items() if not isinstance(hint, str)}


def describe_arguments(constructor: Callable[..., Any]) -> dict[str, str]:
    """The ``Args:`` of a Google docstring: one line for each argument."""
    section = re.search(r"^Args:\n((?: +.*\n?|\s*\n)+)", inspect.getdoc(constructor) or "", re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+):(.*(?:\n {5}.*|\n *$)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def check_arguments(constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Checks arguments of a direct call as strictly as those of an option file.

    Missing arguments, and names that the constructor does not have, are left to Python.

    Raises:
        ValueError: For wrong values; the message begins with the name of the first.
    """
    names = names_of(constructor) & arguments.keys()
    try:
        declare(constructor).model_validate({name: arguments[name] for name in arguments if name in names})
    except ValidationError as error:
        found = [f"{join_path(*where)}: {text}" for where, text, _ in list_problems(error) if where[0] in names]
        if found:
            raise ValueError("; ".join(found)) from None
