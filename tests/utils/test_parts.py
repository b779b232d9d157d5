from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, ValidationError
from torch import Tensor, nn, optim

from basicsr.utils.fields import drop_zero_fractions, list_problems
from basicsr.utils.parts import Part, PartOf, declare, declares_any
from basicsr.utils.registry import Registry

if TYPE_CHECKING:
    from nowhere import Thing


def read(constructor: Any, block: dict[str, Any], supplied: tuple[str, ...] = ()) -> Part:
    registry = Registry("toy")
    registry.register(constructor, name="toy")
    return PartOf(registry, supplied).validate({"type": "toy", **drop_zero_fractions(block)})


def convert(value: Any, annotation: Any) -> Any:
    def constructor(value: Any) -> None: ...

    constructor.__annotations__ = {"value": annotation}
    try:
        return read(constructor, {"value": value}).arguments["value"]
    except ValidationError as error:
        raise ValueError(list_problems(error)[0][1]) from None


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"expected an odd number, got {value}")
    return value


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (5e3, int, 5000),
        (3, float, 3.0),
        (0.5, float | None, 0.5),
        (None, float | None, None),
        ([8.0, 2], Sequence[int], [8, 2]),
        ([0.9, 1], tuple[float, float], (0.9, 1.0)),
        ([4, 4], int | tuple[int, int], (4, 4)),
        (4, int | Sequence[int], 4),
        ({"conv5_4": 1}, Mapping[str, float], {"conv5_4": 1.0}),
        ("swin", Literal["swin", "mlp"], "swin"),
        (3, Annotated[int, AfterValidator(_odd)], 3),
        ("x", Any, "x"),
        (0.1, Tensor | float, 0.1),
        ({"a": [1, "x"]}, dict, {"a": [1, "x"]}),
    ],
)
def test_values_that_fit(value: Any, annotation: Any, expected: Any) -> None:
    result = convert(value, annotation)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (5.5, int, "expected an integer, got 5.5"),
        (True, int, "expected an integer, got true"),
        (True, float, "expected a number, got true"),
        (1, bool, "expected true or false, got 1"),
        ("3", int, "expected an integer (without quotes), got '3'"),
        (3, str, "expected text (put it in quotes), got 3"),
        (None, float, "expected a number, got null"),
        ([8, "x"], Sequence[int], "expected a list of integers, got [8, 'x']"),
        ([0.9], tuple[float, float], "expected a list of 2 numbers, got [0.9]"),
        (3, tuple[float, ...], "expected a list of numbers, got 3"),
        ({"a": "x"}, Mapping[str, float], "expected a block of numbers, got a block"),
        ("spin", Literal["swin", "mlp"], "expected one of 'swin', 'mlp', got 'spin'"),
        ("x", int | Sequence[int] | None, "expected an integer or a list of integers, got 'x'"),
        (4, Annotated[int, AfterValidator(_odd)], "expected an odd number, got 4"),
        ("nn.ReLU", Callable[..., nn.Module], "expected Callable, got 'nn.ReLU'"),
        ("x", nn.Module, "expected Module, got 'x'"),
    ],
)
def test_values_that_do_not_fit(value: Any, annotation: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        convert(value, annotation)
    assert str(caught.value) == message


class Network:
    def __init__(self, num_feat: int, num_block: int = 3, norm: Callable[[], Any] | None = None) -> None: ...


class Inheriting(Network):
    pass


class Implicit:
    def __init__(self, size: int = None, thing: Thing = 3, plain=4) -> None:  # type: ignore[name-defined, assignment, no-untyped-def] # noqa: RUF013
        ...


class Open:
    def __init__(self, width: int, **kwargs: Any) -> None: ...


class OwnOpen(Open):
    __module__ = "basicsr.archs.own"


class WithBlock:
    def __init__(self, opt: dict[str, Any], log: bool = False) -> None: ...


@dataclass
class Record:
    width: int
    depth: float = 1.0


def paths(constructor: Any, block: dict[str, Any], **kwargs: Any) -> list[str]:
    try:
        read(constructor, block, **kwargs)
    except ValidationError as error:
        return [f"{'.'.join(['net', *map(str, where)])}: {text}" for where, text, _ in list_problems(error)]
    return []


@pytest.mark.parametrize("constructor", [Network, Inheriting])
def test_unknown_missing_and_wrong_together(constructor: Any) -> None:
    assert paths(constructor, {"num_blok": 1, "num_block": "x"}) == [
        "net.num_blok: unknown key; did you mean num_block?",
        "net.num_feat: missing, and it has no default: expected an integer",
        "net.num_block: expected an integer, got 'x'",
    ]


def test_unknown_key_with_nothing_near_lists_all() -> None:
    assert paths(Network, {"num_feat": 1, "zzz": 1}) == ["net.zzz: unknown key; known: norm, num_block, num_feat"]


def test_other_peoples_annotations() -> None:
    assert paths(Implicit, {"size": None, "thing": "anything", "plain": [1]}) == []
    assert paths(Open, {"width": 1, "whatever": 2}) == []
    assert paths(Open, {"whatever": 2}) == ["net.width: missing, and it has no default: expected an integer"]
    assert paths(WithBlock, {"anything": 1}) == []
    assert paths(Record, {"width": "x"}) == ["net.width: expected an integer, got 'x'"]


def test_own_constructors_are_never_open() -> None:
    assert paths(OwnOpen, {"width": 1, "witdh": 2}) == ["net.witdh: unknown key; did you mean width?"]


def test_supplied_parameters_cannot_be_given() -> None:
    assert paths(optim.Adam, {"lr": 1e-4, "betas": [0.9, 0.99]}, supplied=("params",)) == []
    assert paths(optim.Adam, {"params": 1}, supplied=("params",))[0].startswith("net.params: unknown key")


def test_functions_and_built_in_types() -> None:
    def metric(img: Any, img2: Any, crop_border: int) -> float: ...

    assert read(metric, {"crop_border": 4.0}, supplied=("img", "img2")).arguments == {"crop_border": 4}
    assert declares_any(dict)


class Inner(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.width = width


INNER = Registry("inner")
INNER.register(Inner)


class Outer(nn.Module):
    """A part around a part.

    Args:
        inner: What it holds,
            over two lines.
        depth: How often.
    """

    def __init__(self, inner: Annotated[nn.Module, PartOf(INNER)], depth: int = 1) -> None:
        super().__init__()
        self.inner, self.depth = inner, depth


def test_parts_nest_and_are_built_from_within() -> None:
    part = read(Outer, {"inner": {"type": "Inner", "width": 3}})
    built = part.build()
    assert (built.inner.width, built.depth) == (3, 1)
    assert part.to_plain() == {"type": "toy", "inner": {"type": "Inner", "width": 3}}
    assert (part.get("depth"), part.takes("depth"), part.takes("width")) == (1, True, False)
    assert paths(Outer, {"inner": {"type": "Inner", "widht": 3}}) == [
        "net.inner.widht: unknown key; did you mean width?"
    ]
    assert paths(Outer, {"inner": {"type": "Iner"}})[0].startswith("net.inner.type: unknown inner 'Iner'; did you mean")


def test_docstrings_describe_the_arguments() -> None:
    described = {field.alias: field.description for field in declare(Outer).model_fields.values()}
    assert described == {"inner": "What it holds, over two lines.", "depth": "How often."}
