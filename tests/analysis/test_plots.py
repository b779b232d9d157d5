from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from basicsr.analysis.plots import plot_band_errors, plot_profiles
from basicsr.analysis.robustness import BandScores, RobustnessSettings
from basicsr.analysis.robustness_report import RobustnessReport, plot_robustness
from basicsr.analysis.statistics import ProfileStatistics
from basicsr.evaluation.figures import draw_separators, new_figure, save_figure
from basicsr.spectral import BORDERS
from basicsr.spectral.bands import even_edges
from basicsr.utils.errors import UserError


def make_profile(label: str, factor: float = 1.0, rings: int = 20) -> ProfileStatistics:
    mean = factor * 1e4 / (1 + np.arange(rings)) ** 2
    return ProfileStatistics(mean, mean / 2, 5, 28, label)


@pytest.mark.slow
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
    with pytest.raises(UserError, match="different names; got GT, GT"):
        plot_profiles([make_profile("GT"), make_profile("GT", 0.5)])
    assert len(plot_profiles([make_profile("only")]).axes) == 1


def draw(figure: Figure) -> np.ndarray:
    """The figure as (H, W, 3) uint8, with its layout settled."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_separators_show_where_there_is_a_grid_line():
    figure, grid = new_figure()
    axes = grid[0, 0]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    draw_separators(axes, BORDERS)
    picture = draw(figure).astype(int)

    def column_at(x: float) -> np.ndarray:
        right, top = axes.transData.transform((x, 0.9))
        bottom = axes.transData.transform((x, 0.1))[1]
        rows = slice(len(picture) - round(top), len(picture) - round(bottom))
        return picture[rows, int(right) - 1 : int(right) + 2].mean(axis=2).min(axis=1)

    # 0.8 lies on a grid line, 0.3 does not: dark dashes and white gaps for both.
    for border in (0.3, 0.8):
        column = column_at(border)
        assert (column < 130).mean() > 0.5 and (column > 240).any()
    assert (column_at(0.6) > 200).all()


def looks_of_lines(axes: Axes, count: int) -> set[tuple[str, str]]:
    """What tells curves apart without colours."""
    return {(str(line._dash_pattern), str(line.get_marker())) for line in axes.lines[:count]}


def test_many_curves_differ_without_colours():
    profiles = [make_profile(f"M{index}", 0.9**index) for index in range(28)]
    figure = plot_profiles(profiles)
    assert len(looks_of_lines(figure.axes[0], 28)) == 28
    assert len(figure.legends[0].get_texts()) == 28
    # The first seven are plain lines, as dash patterns suffice.
    assert {str(line.get_marker()) for line in figure.axes[0].lines[:7]} == {"None"}


def test_many_bars_differ_without_colours():
    errors = np.arange(1.0, 85).reshape(28, 3)
    figure = plot_band_errors([f"M{index}" for index in range(28)], (0, 0.3, 0.8, 1), errors)
    bars = [container.patches[0] for container in figure.axes[0].containers]
    looks = {(bar.get_hatch(), to_hex(bar.get_facecolor()) == "#ffffff") for bar in bars}
    assert len(looks) == 28
    assert figure.get_size_inches()[0] < 14


@pytest.mark.parametrize(("models", "bands"), [(8, 20), (28, 20), (40, 3), (1, 11)])
def test_where_bars_would_be_too_many_there_are_curves(models: int, bands: int):
    errors = np.arange(1.0, models * bands + 1).reshape(models, bands)
    figure = plot_band_errors([f"M{index}" for index in range(models)], even_edges(bands), errors)
    axes = figure.axes[0]
    assert not axes.containers and len(axes.lines) == models
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), errors[-1])
    np.testing.assert_allclose(axes.lines[0].get_xdata(), (np.arange(bands) + 0.5) / bands)
    assert len(looks_of_lines(axes, models)) == models
    assert figure.get_size_inches()[0] < 12


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

    report = RobustnessReport({"D": scores(), "S": scores()}, settings)
    left, right = plot_robustness(report).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), report.curves[0].masked.absolute)
    np.testing.assert_allclose(right.lines[2].get_ydata(), report.curves[2].noisy.absolute)
    np.testing.assert_allclose(left.lines[0].get_xdata(), [0.125, 0.375, 0.625, 0.875])
    relative = plot_robustness(report, relative=True).axes[0].lines[1].get_ydata()
    assert np.log(relative).mean() == pytest.approx(0, abs=1e-9)


def test_switch_over_is_drawn_with_its_name_and_only_where_curves_cross():
    settings = RobustnessSettings(input_size=8, divide=5)
    bump, flat = np.exp([0.0, 3, 4, 3, 0]), np.full(5, 3.0)

    def scores(change: np.ndarray) -> BandScores:
        return BandScores(("a",), np.zeros(1), change[None], np.arange(1.0, 6)[None])

    report = RobustnessReport({"D": scores(flat), "S": scores(bump), "T": scores(bump)}, settings)
    switch = report.switch_over["masked"]
    for axes in plot_robustness(report).axes:
        assert len(axes.lines) == 4 and not axes.texts
    left, right = plot_robustness(report, relative=True).axes
    assert [line.get_xdata()[0] for line in left.lines[4:]] == [switch.r1, switch.r2]
    assert [text.get_text() for text in left.texts] == ["r1", "r2"]
    assert left.get_legend().get_title().get_text() == "r1, r2: D and S cross"
    assert len(right.lines) == 4 and not right.texts
    once = RobustnessReport({"D": scores(np.exp(np.arange(5.0))), "S": scores(np.exp(-np.arange(5.0)))}, settings)
    assert [text.get_text() for text in plot_robustness(once, relative=True).axes[0].texts] == ["r1 = r2"]
    never = RobustnessReport({"D": scores(bump), "S": scores(bump)}, settings)
    assert plot_robustness(never, relative=True).axes[0].get_legend().get_title().get_text() == ""
