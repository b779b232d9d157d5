from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex

from basicsr.spectral.plots import (
    new_figure,
    plot_band_errors,
    plot_profiles,
    plot_robustness,
    save_figure,
)
from basicsr.spectral.robustness import BandScores, RobustnessSettings
from basicsr.spectral.robustness_report import build_report
from basicsr.spectral.statistics import ProfileStatistics
from basicsr.utils.errors import UserError


def make_profile(label: str, factor: float = 1.0, rings: int = 20) -> ProfileStatistics:
    mean = factor * 1e4 / (1 + np.arange(rings)) ** 2
    return ProfileStatistics(mean, mean / 2, 5, 28, label)


def test_figures_are_written_in_three_formats_and_reproducibly(tmp_path: Path):
    first = save_figure(
        plot_profiles([make_profile("GT"), make_profile("SR", 0.5)]), tmp_path / "a", ("png", "pdf", "svg")
    )
    again = save_figure(
        plot_profiles([make_profile("GT"), make_profile("SR", 0.5)]), tmp_path / "b", ("png", "pdf", "svg")
    )
    assert [path.suffix for path in first] == [".png", ".pdf", ".svg"]
    image = cv2.imread(str(first[0]))
    assert image is not None and image.shape[1] > 800 and (image < 250).mean() > 0.01
    assert first[1].read_bytes()[:5] == b"%PDF-"
    svg = first[2].read_text()
    assert "GT" in svg and "ratio to GT" in svg and "middle" in svg
    for one, other in zip(first, again):
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(UserError, match="png, pdf, svg"):
        save_figure(new_figure()[0], tmp_path / "c", ("jpg",))


def test_profile_plot_draws_what_it_is_given():
    figure = plot_profiles([make_profile("SR", 0.5), make_profile("GT")], "std")
    upper, lower = figure.axes
    np.testing.assert_allclose(upper.lines[0].get_ydata(), 0.5 * make_profile("").std[1:])
    np.testing.assert_allclose(lower.lines[0].get_ydata(), 0.5)
    np.testing.assert_allclose(lower.lines[1].get_ydata(), 1.0)
    assert upper.get_yscale() == "log" and upper.lines[0].get_xdata()[-1] == 1
    borders = [line.get_xdata()[0] for line in upper.lines[2:]]
    assert borders == [0.3, 0.8]
    assert {text.get_text() for text in upper.texts} == {"low", "middle", "high"}
    # Every curve differs from the others in colour and in dash pattern.
    assert len({to_hex(line.get_color()) for line in upper.lines[:2]}) == 2
    assert len({str(line.get_linestyle()) for line in upper.lines[:2]}) == 2


def test_profile_plot_refuses_what_cannot_be_compared():
    with pytest.raises(UserError, match="patch_size"):
        plot_profiles([make_profile("GT"), make_profile("SR", rings=30)])
    with pytest.raises(UserError, match="called 'HQ'"):
        plot_profiles([make_profile("GT"), make_profile("SR")], reference="HQ")
    with pytest.raises(UserError, match="--stats"):
        plot_profiles([])
    assert len(plot_profiles([make_profile("only")]).axes) == 1


def test_band_bars():
    errors = np.array([[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]])
    axes = plot_band_errors(["A", "B"], (0, 0.3, 0.8, 1), errors).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [3, 2, 1, 6, 5, 4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0–0.3", "0.3–0.8", "0.8–1"]
    assert axes.get_yscale() == "linear"
    assert plot_band_errors(["A"], (0, 0.5, 1), np.array([[1000.0, 1.0]])).axes[0].get_yscale() == "log"


def test_robustness_plot():
    settings = RobustnessSettings(input_size=8, divide=4)
    rng = np.random.default_rng(0)

    def scores() -> BandScores:
        return BandScores(("a", "b"), rng.random(2), rng.random((2, 4)), rng.random((2, 4)))

    report = build_report({"D": scores(), "S": scores()}, settings)
    left, right = plot_robustness(report).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), report.curves[0].masked.absolute)
    np.testing.assert_allclose(right.lines[2].get_ydata(), report.curves[2].noisy.absolute)
    np.testing.assert_allclose(left.lines[0].get_xdata(), [0.125, 0.375, 0.625, 0.875])
    relative = plot_robustness(report, relative=True).axes[0].lines[1].get_ydata()
    assert np.log(relative).mean() == pytest.approx(0, abs=1e-9)
