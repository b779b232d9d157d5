"""Intervals of means over images, by resampling the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from basicsr.utils.seeding import KeyPart, numpy_rng

MIN_IMAGES = 5
"""Fewest images with an interval: of fewer, resampling tells little more than their range."""


class Interval(NamedTuple):
    """Ends of an interval; undefined where there are too few images."""

    low: float
    high: float


def bootstrap_mean(
    values: Sequence[float], key: tuple[KeyPart, ...] = (), num_resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """The percentile bootstrap interval of a mean.

    Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        values: One value of each image; those that are not finite are left out.
        key: What the random draws depend on.
        num_resamples: Number of resamples.
        confidence: Coverage of the interval.

    Returns:
        Its ends, ``nan`` for fewer than :data:`MIN_IMAGES` finite values.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < MIN_IMAGES:
        return Interval(math.nan, math.nan)
    rng = numpy_rng("bootstrap", *key)
    means = [finite[rng.integers(0, len(finite), len(finite))].mean() for _ in range(num_resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
