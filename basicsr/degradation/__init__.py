"""Degradation pipelines: parts that turn a GT batch into a pair (GT, LQ), for training and for generating data sets.

Each is registered under the name that option files write, ``degradation(batch, generator)`` returns a
:class:`~basicsr.utils.batch.Batch`, and those that draw have ``draw`` and ``apply`` for callers that record parameters.
"""

# ruff: noqa: F401
from __future__ import annotations

from basicsr.degradation.base import Degradation, DrawnDegradation, PairedDegradation
from basicsr.degradation.gated import HardGatedDegradation, SimpleGatedDegradation
from basicsr.degradation.pair_pool import PairPool
from basicsr.degradation.parameters import (
    DegradationParameters,
    GatedDraw,
    NoiseDraw,
    RoundDraw,
    SecondOrderDraw,
)
from basicsr.degradation.second_order import SecondOrderDegradation

DEGRADATIONS: dict[str, type[Degradation]] = {
    "paired": PairedDegradation,
    "hard_gated": HardGatedDegradation,
    "simple_gated": SimpleGatedDegradation,
    "second_order": SecondOrderDegradation,
}
