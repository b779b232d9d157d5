"""Option values: the kinds that blocks of an option file can hold, and mistakes in them put into words.

A block is a :class:`Section`, a pydantic model with a closed set of keys. Values are never converted silently: ``"3"``
is not a number and ``1`` is not ``true``. Only whole floats stand for integers and integers for floats, because
published files write ``val_freq: !!float 5e3``.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

Location = tuple[str | int, ...]

PROBLEM, FOREIGN = "problem", "foreign"
"""Kinds of pydantic error that a section raises: a mistake, and a key that only code of other people can know.

Each has the message as ``text``, and as ``near`` the key that was meant, where one is mistyped.
"""

MAX_EDITS = 2
"""A key that so few edits turn into one of its block is a mistyped key."""

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
_MAX_SHOWN = 60
_QUOTED = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?|true|false", re.IGNORECASE)
"""Numbers and switches that quotes have made text."""


# --- words ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepts:
    """Says in words what a type takes, where its Python type does not."""

    text: str


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


def find_near(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The closest of the known names; an empty text if none is close."""
    return next(iter(difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=cutoff)), "")


def suggest(name: object, known: Iterable[str]) -> str:
    """``; did you mean X?``, or ``; known: …`` where nothing is close."""
    names = sorted(known)
    near = find_near(name, names)
    return f"; did you mean {near}?" if near else f"; known: {', '.join(names) or 'none'}"


def count_edits(text: str, other: str) -> int:
    """How many characters must be inserted, removed or replaced to turn one text into the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for index, character in enumerate(text, 1):
        former, row = row, [index]
        for place, wanted in enumerate(other):
            row.append(min(former[place + 1] + 1, row[place] + 1, former[place] + (character != wanted)))
    return row[-1]


def describe_type(annotation: Any, plural: bool = False) -> str:
    """A type annotation in words: ``a list of 2 numbers``, ``one of 'a', 'b'``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        told = [item.text for item in annotation.__metadata__ if isinstance(item, Accepts)]
        is_part = any(hasattr(item, "registry") for item in annotation.__metadata__)
        return told[0] if told else _NOUNS[dict][plural] if is_part else describe_type(arguments[0], plural)
    if origin is Literal:
        return "one of " + ", ".join(show(item) for item in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(item, plural) for item in arguments))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        kinds = dict.fromkeys(describe_type(item, plural=len(arguments) > 1) for item in arguments)
        return f"{_NOUNS[list][plural]} of {len(arguments)} {' and '.join(kinds)}"
    if isinstance(origin, type) and issubclass(origin, (Mapping, Sequence)):
        noun = _NOUNS[dict if issubclass(origin, Mapping) else list][plural]
        inner = describe_type(arguments[-1] if issubclass(origin, Mapping) else arguments[0], plural=True)
        return noun if inner.startswith("blocks") else f"{noun} of {inner}"
    if origin is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _NOUNS[dict][plural]
    return _NOUNS[annotation][plural] if annotation in _NOUNS else str(getattr(annotation, "__name__", annotation))


def describe_mismatch(annotation: Any, value: Any) -> str:
    """``expected X, got Y``, with a hint where quotes are the mistake."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = Union[tuple(item for item in get_args(annotation) if item is not type(None))]  # noqa: UP007
    expected, hint = describe_type(annotation), ""
    if isinstance(value, str) and expected in ("an integer", "a number", "true or false"):
        hint = " (without quotes)" if _QUOTED.fullmatch(value) else ""
    elif expected == "text" and isinstance(value, (int, float)):
        hint = " (put it in quotes)"
    return f"expected {expected}{hint}, got {show(value)}"


# --- mistakes ---------------------------------------------------------------------------------------------------------


def raise_problems(*problems: tuple[Location, str] | tuple[Location, str, str]) -> None:
    """Raises mistakes by place, as a pydantic error that keeps the places when blocks nest; nothing for none."""
    if problems:
        raise ValidationError.from_exception_data("options", [_detail(*problem) for problem in problems])


def list_problems(error: ValidationError) -> list[tuple[Location, str, str]]:
    """Place, message and kind (:data:`PROBLEM` or :data:`FOREIGN`) of everything that a section raised."""
    return [(entry["loc"], entry["msg"], entry["type"]) for entry in error.errors(include_url=False)]


def _detail(location: Location, message: str, kind: str = PROBLEM, near: str = "") -> InitErrorDetails:
    """One mistake; ``near`` is the key that was meant, where one is mistyped."""
    # Braces in a message would be taken for places to fill in.
    custom = PydanticCustomError(kind, "{text}", {"text": message, "near": near})
    return InitErrorDetails(type=custom, loc=location, input=None)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by the keys that an option file gives them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


class Section(BaseModel):
    """A block of an option file: a closed, read-only set of keys, whose mistakes come in words and all at once.

    Attributes:
        also_known: Further keys of the block by their published names, translated before validation; they are offered
            where a key is mistyped.
        is_closed: Whether every key that it does not have is a mistake. Otherwise forks of the published framework may
            have added keys, and a key is a mistake only where it is nearly one of the block's.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )
    also_known: ClassVar[tuple[str, ...]] = ()
    is_closed: ClassVar[bool] = False

    @model_validator(mode="wrap")
    @classmethod
    def _validate_in_words(cls, data: Any, handler: Any, info: Any) -> Self:
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise_problems(((), f"expected a block, got {show(data)}"))
        fields, context = fields_of(cls), info.context or {}
        given = dict(data)
        for key in data.keys() & fields.keys():
            # A null asks for the default where it is no value of the key.
            field = fields[key]
            if data[key] is None and not field.is_required() and type(None) not in get_args(field.annotation):
                del given[key]
        details = []
        for key in [key for key in given if key not in fields]:
            # A constructor of other people may take any name, but hardly one that is nearly a name that it lists.
            if cls.model_config["extra"] == "allow" and not find_near(key, fields.keys() - given.keys(), 0.8):
                continue
            del given[key]
            known, home = [*fields, *cls.also_known], context.get("homes", {}).get(key)
            meant = min(known, key=lambda name: count_edits(key, name), default="")
            if cls.is_closed:
                details.append(_detail((key,), f"unknown key{suggest(key, known)}", near=find_near(key, known)))
            elif not context.get("is_open") and count_edits(key, meant) <= MAX_EDITS:
                details.append(_detail((key,), f"unknown key; did you mean {meant}?", near=meant))
            elif not context.get("is_dropping"):
                message = f"unknown key here; it belongs at {home}" if home else "unknown key, which nothing reads here"
                if context.get("is_open"):
                    message = "unknown here; read by the model type alone, if at all"
                details.append(_detail((key,), message, FOREIGN))
        try:
            validated: Self = handler(given)
        except ValidationError as error:
            details += explain(error, cls, given)
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return validated


def explain(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> list[InitErrorDetails]:
    """What pydantic found, in words, one message for each place."""
    fields = fields_of(model)
    found: dict[tuple[Location, str], InitErrorDetails] = {}
    for entry in error.errors(include_url=False):
        kind, location, near = entry["type"], _within(data, entry["loc"]), ""
        key = str(entry["loc"][0]) if entry["loc"] else ""
        annotation = fields[key].annotation if key in fields else Any
        if kind in (PROBLEM, FOREIGN):
            message, near = entry["msg"], entry["ctx"]["near"]
        elif kind == "extra_forbidden":
            message = f"unknown key{suggest(location[-1], fields)}"
        elif kind == "missing" and len(entry["loc"]) == 1:
            expected = describe_type(annotation)
            message = "missing, and it has no default" + ("" if expected == "Any" else f": expected {expected}")
        elif kind == "value_error":
            message = str(entry["ctx"]["error"])
        elif kind == "literal_error" and get_origin(annotation) is not Literal:
            message = f"expected {entry['ctx']['expected']}, got {show(entry['input'])}"
        elif kind.startswith(("greater_than", "less_than")):
            message = f"{entry['msg'].replace('Input should be', 'expected a value')}, got {show(entry['input'])}"
        else:
            location, message = (key,), describe_mismatch(annotation, data[key])
        kind = kind if kind == FOREIGN else PROBLEM
        found[location, kind] = _detail(location, message, kind, near)
    return list(found.values())


def _within(data: Any, location: Location) -> Location:
    """A place without the parts that pydantic adds, such as the name of a union's member."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        if isinstance(data, Mapping) and (part in data or index == len(location) - 1):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def join_path(*parts: str | int) -> str:
    """A dotted path, without empty parts."""
    return ".".join(str(part) for part in parts if part != "")


def drop_zero_fractions(value: Any) -> Any:
    """Writes floats without a fraction as integers, at any depth: a strict number takes both, a strict integer not."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, (list, tuple)):
        return [drop_zero_fractions(item) for item in value]
    if isinstance(value, Mapping):
        return {key: drop_zero_fractions(item) for key, item in value.items()}
    return value


# --- values -----------------------------------------------------------------------------------------------------------


def _drop_zero_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected a list of numbers, got {value!r}")
    return value


def _check_order(value: Sequence[float]) -> Sequence[float]:
    if len(value) != 2:
        raise ValueError(f"expected a list of two numbers, [low, high], got {len(value)}")
    if not value[0] <= value[1]:
        raise ValueError(f"expected [low, high], but {value[0]:g} > {value[1]:g}")
    return value


def _check_not_negative(value: Sequence[float]) -> Sequence[float]:
    if min(value) < 0:
        raise ValueError(f"expected numbers that are not negative, got {min(value):g}")
    return value


def _check_positive(value: Sequence[float]) -> Sequence[float]:
    if min(value) <= 0:
        raise ValueError(f"expected positive numbers, got {value[0]:g}")
    return value


def _check_around_one(value: Sequence[float]) -> Sequence[float]:
    if not 0 < value[0] <= 1 <= value[1]:
        raise ValueError(f"expected [low, high] with 0 < low <= 1 <= high, got {list(value)}")
    return value


def _check_jpeg_quality(value: Sequence[float]) -> Sequence[float]:
    if value[0] < 1 or value[1] > 100:
        raise ValueError(f"expected JPEG qualities from 1 to 100, got {value[0]:g} to {value[1]:g}")
    return value


def _check_sum(value: Sequence[float]) -> Sequence[float]:
    # Lists such as [0.3333, 0.3333, 0.3334] are meant to sum to 1; draws divide by the sum.
    if not abs(sum(value) - 1) <= 1e-4:
        raise ValueError(f"expected probabilities that add up to 1, these add up to {sum(value):g}")
    return value


def _check_three(value: Sequence[float]) -> Sequence[float]:
    if len(value) != 3:
        raise ValueError("expected three probabilities, [up, down, keep]")
    return value


def _number_to_switch(value: object) -> object:
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


Integer = Annotated[int, BeforeValidator(_drop_zero_fraction)]
PositiveInt = Annotated[Integer, Field(gt=0)]
Count = Annotated[Integer, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Switch = Annotated[bool, BeforeValidator(_number_to_switch), Accepts("true or false")]
Numbers = Annotated[Sequence[float], BeforeValidator(_check_list)]
Ordered = Annotated[Numbers, AfterValidator(_check_order)]
Range = Annotated[Ordered, AfterValidator(_check_not_negative), Accepts("[low, high], ≥ 0")]
PositiveRange = Annotated[Ordered, AfterValidator(_check_positive), Accepts("[low, high], > 0")]
RangeAroundOne = Annotated[Ordered, AfterValidator(_check_around_one), Accepts("[low, high], 0 < low ≤ 1 ≤ high")]
JpegRange = Annotated[Ordered, AfterValidator(_check_jpeg_quality), Accepts("[low, high] in 1…100")]
_Shares = Annotated[Numbers, Field(min_length=1), AfterValidator(_check_not_negative), AfterValidator(_check_sum)]
Probabilities = Annotated[_Shares, Accepts("list of probabilities, sum 1")]
Distribution = Annotated[_Shares, AfterValidator(_check_three), Accepts("[up, down, keep], sum 1")]


def option(default: Any = None, *, unused: str | None = None, needs: str | None = None) -> Any:
    """Declares an option that has no effect in every run or in some; its docstring describes it, as that of all others.

    Args:
        default: Its value when the file does not set it.
        unused: Why it has no effect, for keys that published files carry; setting one gives a notice.
        needs: What a run must have for it to have an effect: ``critics``, ``diffaug`` …
    """
    return Field(default, json_schema_extra={"unused": unused} if unused else {"needs": needs})


def extra_of(field: FieldInfo, name: str) -> Any:
    """What :func:`option` noted about a field; ``None`` if it did not."""
    extra = field.json_schema_extra
    return extra.get(name) if isinstance(extra, dict) else None
