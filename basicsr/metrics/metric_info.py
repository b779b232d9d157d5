"""What a metric says about itself: its better direction, whether it needs a reference, and its protocol in words."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from basicsr.utils.errors import UserError
from basicsr.utils.registry import METRIC_REGISTRY

F = TypeVar("F", bound=Callable[..., Any])
Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class MetricInfo:
    """Facts about one registered metric.

    Attributes:
        name: Its name in the registry, the ``type:`` of an option block.
        better: Whether a ``higher`` or a ``lower`` value is better.
        needs_reference: Whether it compares with a reference image.
        protocol: Turns option values (crop, channel …; defaults for what is absent) into one line of text.
    """

    name: str
    better: Direction
    needs_reference: bool
    protocol: Callable[[Mapping[str, Any]], str]

    @property
    def higher_is_better(self) -> bool:
        return self.better == "higher"


def register_metric(
    better: Direction, protocol: Callable[[Mapping[str, Any]], str], needs_reference: bool = True
) -> Callable[[F], F]:
    """Registers a metric function and gives it the attributes of :class:`MetricInfo`.

    Args:
        better: Which direction is better.
        protocol: Called with all of the function's options, defaults filled in.
        needs_reference: Whether the function takes a second image ``img2``.
    """

    def register(function: F) -> F:
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }

        def describe(options: Mapping[str, Any]) -> str:
            return protocol({**defaults, **options})

        info = MetricInfo(function.__name__, better, needs_reference, describe)
        vars(function).update(
            info=info,
            better=better,
            higher_is_better=info.higher_is_better,
            needs_reference=needs_reference,
            protocol=describe,
        )
        return METRIC_REGISTRY.register(function)

    return register


def metric_info(name: str) -> MetricInfo:
    """The facts about a registered metric; a metric registered without them counts as higher-is-better with reference.

    Raises:
        UserError: If no metric has that name.
    """
    function = METRIC_REGISTRY.get(name)
    info = getattr(function, "info", None)
    if isinstance(info, MetricInfo):
        return info
    better: Direction = "lower" if getattr(function, "better", "higher") == "lower" else "higher"
    needs_reference = "img2" in inspect.signature(function).parameters
    return MetricInfo(name, better, needs_reference, lambda options: f"{name} with {dict(options)}")


def metric_direction(name: str) -> Direction:
    """``higher`` or ``lower``: which values of a registered metric are better.

    Raises:
        UserError: If no metric has that name.
    """
    return metric_info(name).better


def metric_protocol(opt: Mapping[str, Any]) -> str:
    """One line that says how a number was measured (crop, channel, bit depth), to stand next to it.

    Args:
        opt: The metric's option block: ``type`` and its options; ``better`` is ignored.

    Raises:
        UserError: If the type or an option is unknown.
    """
    options = metric_options(opt)
    return metric_info(str(opt["type"])).protocol(options)


def metric_options(opt: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments that an option block gives to its metric, checked against the metric's signature.

    Raises:
        UserError: If the type or an option is unknown; the message gives the nearest name.
    """
    if "type" not in opt:
        raise UserError(f"a metric block needs a type, one of {', '.join(sorted(METRIC_REGISTRY.keys()))}")
    function = METRIC_REGISTRY.get(str(opt["type"]))
    parameters = inspect.signature(function).parameters
    options = {str(key): value for key, value in opt.items() if key not in ("type", "better")}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    known = [name for name in parameters if name not in ("img", "img2")]
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{opt['type']} has no option {key!r}; {hint}")
    return options
