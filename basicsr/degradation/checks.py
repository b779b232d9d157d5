"""Checks of degradation options; every message begins with the option's name."""

from __future__ import annotations

import math
from collections.abc import Sequence

Range = Sequence[float]


def check_range(name: str, bounds: Range, low: float, high: float = math.inf) -> tuple[float, float]:
    """Returns ``bounds`` as floats if they are in order and within ``low`` … ``high``; else raises ``ValueError``."""
    if isinstance(bounds, (int, float)) or len(bounds) != 2:
        raise ValueError(f"{name}: expected two numbers [low, high], got {bounds!r}")
    first, second = float(bounds[0]), float(bounds[1])
    if first > second:
        raise ValueError(f"{name}: out of order, {bounds[0]} is above {bounds[1]}; write [{bounds[1]}, {bounds[0]}]")
    if not (low <= first and second <= high):
        raise ValueError(f"{name}: must lie within [{low:g}, {high:g}], got {list(bounds)}")
    return first, second


def check_probability(name: str, value: float) -> float:
    """Returns ``value`` if it lies in [0, 1]; else raises ``ValueError``."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: a probability lies in [0, 1], got {value}")
    return float(value)


def check_probabilities(name: str, values: Sequence[float], count: int) -> tuple[float, ...]:
    """Returns ``values`` if they are ``count`` probabilities that sum to 1; else raises ``ValueError``."""
    if len(values) != count or min(values) < 0 or not math.isclose(sum(values), 1, abs_tol=1e-4):
        raise ValueError(f"{name}: expected {count} probabilities that sum to 1, got {list(values)}")
    return tuple(float(value) for value in values)


def check_jpeg_range(name: str, bounds: Range) -> tuple[float, float]:
    """Returns a range of JPEG qualities if it is in order and within 1 … 100; else raises ``ValueError``."""
    return check_range(name, bounds, 1, 100)


def check_crop(gt_size: int | None, scale: int) -> None:
    """Raises ``ValueError`` unless ``scale`` is a positive integer and ``gt_size`` a multiple of it, or None."""
    if not isinstance(scale, int) or scale < 1:
        raise ValueError(f"scale: expected a positive integer, got {scale!r}")
    if gt_size is not None and (gt_size < scale or gt_size % scale):
        raise ValueError(f"gt_size: must be a positive multiple of scale {scale}, got {gt_size}")


def check_gate(gate: str) -> None:
    """Raises ``ValueError`` unless ``gate`` is ``batch`` or ``sample``."""
    if gate not in ("batch", "sample"):
        raise ValueError(
            f"gate: expected 'batch' (one draw for a batch) or 'sample' (one for each image), got {gate!r}"
        )
