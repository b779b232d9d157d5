"""The figure that is drawn again and again: its curves follow what it is given, everything else stays."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from basicsr.evaluation.figures import PALETTE
from basicsr.evaluation.profile_figure import ProfileFigure

FREQUENCY = (np.arange(64) + 0.5) / 64
GT = -20 - 40 * np.sqrt(FREQUENCY)
BLUE = np.round(255 * np.array(to_rgb(PALETTE[1])))


def is_blue(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - BLUE).max(axis=2) < 40


def test_curves_follow_the_levels_and_nothing_else_changes() -> None:
    figure = ProfileFigure("Set5: mean over 5 images", FREQUENCY)
    near, far = figure.draw(GT - 1, GT), figure.draw(GT - 4 * FREQUENCY, GT)
    assert near.dtype == np.uint8
    assert near.shape == far.shape
    changed = (near != far).any(axis=2)
    assert 0 < changed.mean() < 0.03
    assert is_blue(near).any() and is_blue(far).any()
    np.testing.assert_array_equal(figure.draw(GT - 1, GT), near)


def test_the_axes_widen_and_do_not_narrow() -> None:
    figure = ProfileFigure("Set5", FREQUENCY)
    narrow = figure.draw(GT - 1, GT)
    figure.draw(GT - 30, GT)
    wide = figure.draw(GT - 1, GT)
    assert (narrow != wide).any()
    alike = ProfileFigure("Set5", FREQUENCY)
    alike.draw(GT - 30, GT)
    np.testing.assert_array_equal(alike.draw(GT - 1, GT), wide)
    (level, ratio), lines = alike._limits, alike._lines
    assert level == (-90, -20)
    assert ratio == (-35, 35)
    np.testing.assert_allclose(lines[2].get_ydata(), -1)


def test_without_a_reference_there_is_one_curve_and_no_ratio() -> None:
    figure = ProfileFigure("Set5", FREQUENCY, has_reference=False)
    figure.draw(GT)
    assert len(figure._lines) == 1
    assert len(figure._lines[0].figure.axes) == 1


def test_levels_that_are_not_finite_leave_a_gap() -> None:
    levels = np.where(FREQUENCY > 0.5, np.nan, GT)
    picture = ProfileFigure("Set5", FREQUENCY).draw(levels, GT)
    assert is_blue(picture)[:, : picture.shape[1] // 2].any()


def test_global_plotting_state_is_untouched() -> None:
    before = dict(matplotlib.rcParams)
    ProfileFigure("Set5", FREQUENCY).draw(GT - 1, GT)
    assert dict(matplotlib.rcParams) == before
    pyplot = __import__("sys").modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
