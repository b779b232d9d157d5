"""Degradation pipelines: parts that turn a GT batch into a pair (GT, LQ), for training and for generating data sets.

Each is made from published option names, ``pipeline(batch, generator)`` returns a :class:`DegradedPair`, and those that
draw have ``draw`` and ``apply`` for callers that record parameters.
"""

from __future__ import annotations

from basicsr.degradation.base import DrawnDegradation
from basicsr.degradation.gated import GatedDegradation
from basicsr.degradation.hard_gated import HardGatedDegradation
from basicsr.degradation.pair import DegradedPair, PairedDegradation
from basicsr.degradation.pair_pool import PairPool
from basicsr.degradation.parameters import (
    DegradationParameters,
    GatedDraw,
    NoiseDraw,
    RoundDraw,
    SecondOrderDraw,
)
from basicsr.degradation.second_order import SecondOrderDegradation
from basicsr.degradation.simple_gated import SimpleGatedDegradation
from basicsr.utils.registry import DEGRADATION_REGISTRY

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "DegradationParameters",
    "DegradedPair",
    "DrawnDegradation",
    "GatedDegradation",
    "GatedDraw",
    "HardGatedDegradation",
    "NoiseDraw",
    "PairPool",
    "PairedDegradation",
    "RoundDraw",
    "SecondOrderDegradation",
    "SecondOrderDraw",
    "SimpleGatedDegradation",
]

Degradation = PairedDegradation | HardGatedDegradation | SimpleGatedDegradation | SecondOrderDegradation

DEGRADATIONS: dict[str, type[Degradation]] = {
    "paired": PairedDegradation,
    "hard_gated": HardGatedDegradation,
    "simple_gated": SimpleGatedDegradation,
    "second_order": SecondOrderDegradation,
}
for _name in ("hard_gated", "simple_gated", "second_order"):
    DEGRADATION_REGISTRY.register(DEGRADATIONS[_name], name=_name.title().replace("_", ""))
