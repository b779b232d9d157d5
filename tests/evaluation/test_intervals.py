"""Bootstrap intervals of means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from basicsr.evaluation.intervals import MIN_IMAGES, bootstrap_mean


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(3, 1, (200, 30))
    found = [bootstrap_mean(list(sample), (index,), 400) for index, sample in enumerate(samples)]
    covered = np.mean([low <= 3 <= high for low, high in found])
    assert 0.88 < covered <= 1
    width = np.mean([high - low for low, high in found])
    assert width == pytest.approx(2 * 1.96 / math.sqrt(30), rel=0.1)


def test_equal_draws_for_equal_keys_and_undefined_values_left_out() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 7.0]
    assert bootstrap_mean(values, ("a",)) == bootstrap_mean([*values, math.nan, math.inf], ("a",))
    assert bootstrap_mean(values, ("a",)) != bootstrap_mean(values, ("b",))
    assert all(math.isnan(end) for end in bootstrap_mean(values[: MIN_IMAGES - 1]))
    assert bootstrap_mean([2.0] * 6) == (2, 2)
