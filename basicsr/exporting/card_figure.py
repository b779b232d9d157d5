"""The picture of a training's course: losses, and each metric, over iterations."""

from __future__ import annotations

from pathlib import Path

from basicsr.evaluation.figures import PALETTE, line_style, new_figure, save_figure
from basicsr.reporting.curves import Curves

MOST_METRICS = 3
_PANEL = (3.3, 2.6)
"""Inches of one panel."""
_LOSSES_WIDTH = 1.6
"""Panels that the one of the losses is wide."""


def draw_curves(curves: Curves, base: Path) -> Path | None:
    """Draws a panel of losses and one for each of the first metrics; nothing where there is no curve.

    Args:
        curves: As :func:`~basicsr.reporting.curves.read_curves` gives them.
        base: Path of the picture without suffix.

    Returns:
        The file.
    """
    losses = {name.removeprefix("losses/"): series for name, series in curves.items() if name.startswith("losses/")}
    metrics = {name.removeprefix("metrics/"): series for name, series in curves.items() if name.startswith("metrics/")}
    shown = list(metrics.items())[:MOST_METRICS]
    panels = bool(losses) + len(shown)
    if not panels:
        return None
    # The legend of the losses stands beside them.
    widths = [_LOSSES_WIDTH] * bool(losses) + [1.0] * len(shown)
    figure, grid = new_figure(1, panels, (_PANEL[0] * sum(widths), _PANEL[1]), width_ratios=widths)
    axes = list(grid[0])
    if losses:
        first = axes.pop(0)
        for index, (name, series) in enumerate(losses.items()):
            style = line_style(index, points=len(series) < 20)
            first.plot(list(series), list(series.values()), label=name, **style)
        if all(value > 0 for series in losses.values() for value in series.values()):
            first.set_yscale("log")
        first.set_title("losses", fontsize=9)
        first.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    for panel, (name, series) in zip(axes, shown, strict=True):
        panel.plot(list(series), list(series.values()), color=PALETTE[1], marker="o")
        panel.set_title(name, fontsize=9)
    for panel in grid[0]:
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("iteration")
    return save_figure(figure, base, ["png"], dpi=120)[0]
