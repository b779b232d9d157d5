"""The kinds of values that an option can have, stricter than Python and laxer than YAML where files need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A block of the option file with a closed set of keys.

    Values are never converted silently: ``"3"`` is not a number and ``1`` is not ``true``. The one exception is a float
    without a fraction where an integer belongs, because published files write ``val_freq: !!float 5e3``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


@dataclass(frozen=True)
class Accepts:
    """Says in words what a type takes, where its Python type does not."""

    text: str


def _drop_zero_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_order(value: list[float]) -> list[float]:
    if len(value) != 2:
        raise ValueError(f"expected a list of two numbers, [low, high], got {len(value)}")
    if value[0] > value[1]:
        raise ValueError(f"expected [low, high], but {value[0]:g} > {value[1]:g}")
    return value


def _check_not_negative(value: list[float]) -> list[float]:
    if min(value) < 0:
        raise ValueError(f"expected numbers that are not negative, got {value[0]:g}")
    return value


def _check_positive(value: list[float]) -> list[float]:
    if min(value) <= 0:
        raise ValueError(f"expected positive numbers, got {value[0]:g}")
    return value


def _check_jpeg_quality(value: list[float]) -> list[float]:
    if value[0] < 1 or value[1] > 100:
        raise ValueError(f"expected JPEG qualities from 1 to 100, got {value[0]:g} to {value[1]:g}")
    return value


def _check_distribution(value: list[float]) -> list[float]:
    if len(value) != 3 or min(value) < 0:
        raise ValueError("expected three probabilities, [up, down, keep]")
    if abs(sum(value) - 1) > 1e-6:
        raise ValueError(f"expected probabilities that add up to 1, these add up to {sum(value):g}")
    return value


Integer = Annotated[int, BeforeValidator(_drop_zero_fraction)]
PositiveInt = Annotated[Integer, Field(gt=0)]
Count = Annotated[Integer, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Ordered = Annotated[list[float], AfterValidator(_check_order)]
Range = Annotated[Ordered, AfterValidator(_check_not_negative), Accepts("[low, high], ≥ 0")]
PositiveRange = Annotated[Ordered, AfterValidator(_check_positive), Accepts("[low, high], > 0")]
JpegRange = Annotated[Ordered, AfterValidator(_check_jpeg_quality), Accepts("[low, high] in 1…100")]
Distribution = Annotated[list[float], AfterValidator(_check_distribution), Accepts("[up, down, keep], sum 1")]
Block = dict[str, Any]
"""A block with a ``type:``; its other keys are the registered constructor's arguments."""


def option(default: Any, description: str, *, implied: Any = None, unused: str | None = None) -> Any:
    """Declares an option.

    Args:
        default: Its value when the file does not set it; ``None`` means that it is then absent.
        description: One line for the reference page and for messages.
        implied: What its absence means to those who read it. It is not filled in, because not every model type does.
        unused: Why it has no effect, for keys that published files carry; setting one gives a notice.
    """
    extra = {name: value for name, value in (("implied", implied), ("unused", unused)) if value is not None}
    return Field(default, description=description, json_schema_extra=extra or None)


def default_of(field: FieldInfo) -> Any:
    """What leaving an option out comes to: its default, filled in or implied; ``None`` without one."""
    extra = field.json_schema_extra
    implied = extra.get("implied") if isinstance(extra, dict) else None
    return field.get_default(call_default_factory=True) if implied is None else implied
