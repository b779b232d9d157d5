"""Bootstrap intervals of means."""

from __future__ import annotations

import numpy as np

from basicsr.evaluation.intervals import bootstrap_interval


def test_the_interval_is_that_of_the_mean_and_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 400)
    low, high = bootstrap_interval(values) or (0.0, 0.0)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.01)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values[:1]) is None
    assert bootstrap_interval(np.zeros(3)) == (0, 0)
