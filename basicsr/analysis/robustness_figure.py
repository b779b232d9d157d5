"""The figure of how critics react to perturbed frequency bands."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr.analysis.robustness_report import RobustnessReport, SwitchOver, relate_to_own_level
from basicsr.utils.figures import FREQUENCY_LABEL, draw_legend, draw_separators, legend_room, line_style, new_figure


def plot_robustness(report: RobustnessReport, relative: bool = False) -> Figure:
    """Score change over frequency: bands removed on the left, noise added on the right, one line per critic.

    Args:
        report: The analysis.
        relative: Divide each curve by its geometric mean, so that critics of different scale can be compared. These are
            the curves whose first and last crossing are r1 and r2, so these are drawn with them.
    """
    figure, grid = new_figure(1, 2, (7.6 + legend_room(len(report.curves)), 3.3), sharey=relative)
    for axes, kind, title in zip(grid[0], ("masked", "noisy"), ("band removed", "noise added in band")):
        for index, curve in enumerate(report.curves):
            change = getattr(curve, kind)
            values = relate_to_own_level(change.absolute) if relative else change.absolute
            style = line_style(index + 1, points=True)
            axes.plot(curve.frequency, values, label=curve.label, **style)
            if not relative and np.isfinite(change.error).all():
                low, high = values - change.error, values + change.error
                axes.fill_between(curve.frequency, np.maximum(low, values / 10), high, color=style["color"], alpha=0.15)
        axes.set(title=title, xlim=(0, 1), xlabel=FREQUENCY_LABEL)
        if any(getattr(curve, kind).absolute.max() > 0 for curve in report.curves):
            # The band of the image's mean changes scores hundreds of times more than the rest.
            axes.set_yscale("log")
        if relative and (switch := report.switch_over.get(kind)) is not None:
            _draw_switch_over(axes, switch)
    grid[0, 0].set_ylabel("|score change| / its geometric mean" if relative else "mean |score change|")
    legend = draw_legend(grid[0, 0])
    if relative and any(switch.r1 is not None for switch in report.switch_over.values()):
        legend.set_title(f"r1, r2: {' and '.join(report.compared)} cross")
    return figure


def _draw_switch_over(axes: Axes, switch: SwitchOver) -> None:
    if switch.r1 is not None and switch.r2 is not None:
        names = {switch.r1: "r1", switch.r2: "r2"} if switch.r1 < switch.r2 else {switch.r1: "r1 = r2"}
        draw_separators(axes, list(names), labels=False, names=list(names.values()))
