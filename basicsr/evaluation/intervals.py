"""Intervals of means over images, by resampling the images."""

from __future__ import annotations

import numpy as np

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95


def bootstrap_interval(values: np.ndarray) -> tuple[float, float] | None:
    """A percentile bootstrap interval of a mean (Efron and Tibshirani, 1993, chapter 13).

    Images are drawn with replacement 10,000 times, by a generator of seed 0: equal numbers give equal intervals.

    Args:
        values: (N,), one for each image.

    Returns:
        The ends between which 95% of the means lie; ``None`` for fewer than two images.
    """
    number = len(values)
    if number < 2:
        return None
    rng = np.random.default_rng(SEED)
    # In pieces: thousands of images would take gigabytes at once.
    piece = max(1, 2_000_000 // number)
    means = [
        values[rng.integers(0, number, (min(piece, RESAMPLES - start), number))].mean(axis=1)
        for start in range(0, RESAMPLES, piece)
    ]
    low, high = np.quantile(np.concatenate(means), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
