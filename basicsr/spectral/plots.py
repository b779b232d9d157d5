"""Figures of spectral analysis: readable in print, in grey and by colour-blind readers; no LaTeX, no display.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/); every line also has its own style or marker.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr.spectral.robustness_report import RobustnessReport, relate_to_own_level
from basicsr.spectral.statistics import ProfileStatistics
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import UserError

PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
FIGURE_FORMATS = ("png", "pdf", "svg")

SEPARATORS = (0.3, 0.8)
"""Borders between low, middle and high frequency in the paper's Table 1, fractions of the highest frequency."""

_STYLE: Any = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "basicsr",
}


def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (5.2, 3.4), **options: Any
) -> tuple[Figure, np.ndarray]:
    """An empty figure in the package's style, without any global plotting state.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        size: Width and height in inches.
        options: Passed to ``Figure.subplots``.

    Returns:
        The figure and its axes (rows, columns).
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def save_figure(
    figure: Figure, base: str | os.PathLike[str], formats: Sequence[str] = ("png", "pdf"), dpi: int = 200
) -> list[Path]:
    """Writes ``<base>.<format>`` for every format; a file is whole or absent.

    Raises:
        UserError: If a format is not one of png, pdf, svg.
    """
    paths = []
    for kind in formats:
        if kind not in FIGURE_FORMATS:
            raise UserError(f"figure format must be one of {', '.join(FIGURE_FORMATS)}; got {kind!r}")
        path = Path(f"{base}.{kind}")
        # Without a date, equal results give equal files.
        metadata: dict[str, Any] = {} if kind == "png" else {"CreationDate" if kind == "pdf" else "Date": None}
        with atomic_path(path) as temporary, matplotlib.rc_context(_STYLE):
            figure.savefig(temporary, format=kind, dpi=dpi, metadata=metadata)
        paths.append(path)
    return paths


def line_style(index: int) -> dict[str, Any]:
    """Colour and line style of the ``index``-th curve."""
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": LINE_STYLES[index % len(LINE_STYLES)]}


def draw_separators(axes: Axes, borders: Sequence[float] = SEPARATORS, labels: bool = True) -> None:
    """Marks the borders of low, middle and high frequency on an axis from 0 to 1."""
    for border in borders:
        axes.axvline(border, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.5)
    if labels and len(borders) == 2:
        edges = (0.0, *borders, 1.0)
        for name, low, high in zip(("low", "middle", "high"), edges, edges[1:]):
            axes.text((low + high) / 2, 1.01, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom")


def plot_profiles(
    profiles: Sequence[ProfileStatistics],
    mode: Literal["mean", "std"] = "mean",
    reference: str | None = None,
    borders: Sequence[float] = SEPARATORS,
) -> Figure:
    """Overlays spectral statistics over frequency, with their ratio to a reference below.

    Args:
        profiles: Statistics of crops of one size.
        mode: Which statistic to draw.
        reference: Label of the profile that the others are divided by; by default ``GT`` or ``HR``, else the first.
        borders: Low/middle and middle/high borders, fractions of the highest frequency.

    Raises:
        UserError: If there is no profile, lengths differ, or no profile is called ``reference``.
    """
    if not profiles:
        raise UserError("no statistics file to plot; give --stats LABEL=FILE")
    lengths = {profile.label: len(profile.mean) for profile in profiles}
    if len(set(lengths.values())) > 1:
        raise UserError(f"profiles have different numbers of rings: {lengths}; measure them with one --patch_size")
    base = _find_reference(profiles, reference)
    rows = 2 if len(profiles) > 1 else 1
    figure, grid = new_figure(
        rows, 1, (5.2, 4.6 if rows == 2 else 3.4), sharex=True, height_ratios=(3, 1.4) if rows == 2 else None
    )
    upper: Axes = grid[0, 0]
    for index, profile in enumerate(profiles):
        # The mean of the image (ring 0) is no detail and would flatten the rest.
        values = getattr(profile, mode)[1:]
        upper.plot(profile.frequency[1:], values, label=profile.label, **line_style(index))
        if rows == 2:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = values / getattr(base, mode)[1:]
            grid[1, 0].plot(profile.frequency[1:], ratio, **line_style(index))
    upper.set(yscale="log", ylabel=f"{'standard deviation' if mode == 'std' else 'mean'} of power", xlim=(0, 1))
    upper.legend(frameon=False)
    draw_separators(upper, borders)
    if rows == 2:
        grid[1, 0].set(yscale="log", ylabel=f"ratio to {base.label}")
        draw_separators(grid[1, 0], borders, labels=False)
    grid[-1, 0].set_xlabel("frequency / highest frequency")
    return figure


def _find_reference(profiles: Sequence[ProfileStatistics], label: str | None) -> ProfileStatistics:
    wanted = [label] if label is not None else ["GT", "HR"]
    for name in wanted:
        for profile in profiles:
            if profile.label.upper() == name.upper():
                return profile
    if label is not None:
        raise UserError(f"no profile is called {label!r}; there are {', '.join(p.label for p in profiles)}")
    return profiles[0]


def plot_band_errors(labels: Sequence[str], edges: Sequence[float], errors: np.ndarray) -> Figure:
    """Grouped bars: one group per band, one bar per model.

    Args:
        labels: Model names.
        edges: Band edges.
        errors: (models, bands) mean magnitude RMSE.
    """
    bands = len(edges) - 1
    figure, grid = new_figure(size=(max(4.6, 1.0 + 0.28 * bands * (len(labels) + 1)), 3.2))
    axes: Axes = grid[0, 0]
    width = 0.8 / len(labels)
    for index, (label, row) in enumerate(zip(labels, errors)):
        position = np.arange(bands) + (index - (len(labels) - 1) / 2) * width
        colour = PALETTE[(index + 1) % len(PALETTE)]
        hatch = HATCHES[index % len(HATCHES)]
        axes.bar(position, row, width, label=label, color=colour, hatch=hatch, edgecolor="white")
    # Numbers with a common zero are compared on a linear axis; bands far apart need a logarithmic one.
    positive = errors[errors > 0]
    if positive.size and positive.max() > 50 * positive.min():
        axes.set_yscale("log")
    names = [f"{low:g}–{high:g}" for low, high in zip(edges, edges[1:])]  # noqa: RUF007
    axes.set_xticks(np.arange(bands), names, rotation=45 if bands > 6 else 0)
    axes.set(xlabel="band (fraction of the highest frequency)", ylabel="magnitude RMSE")
    axes.grid(axis="x", visible=False)
    axes.legend(frameon=False)
    return figure


def plot_robustness(report: RobustnessReport, relative: bool = False) -> Figure:
    """Score change over frequency: bands removed on the left, noise added on the right, one line per critic.

    Args:
        report: The analysis.
        relative: Divide each curve by its geometric mean, so that critics of different scale can be compared.
    """
    figure, grid = new_figure(1, 2, (7.6, 3.3), sharey=relative)
    for axes, kind, title in zip(grid[0], ("masked", "noisy"), ("band removed", "noise added in band")):
        for index, curve in enumerate(report.curves):
            change = getattr(curve, kind)
            values = relate_to_own_level(change.absolute) if relative else change.absolute
            style = line_style(index + 1)
            axes.plot(curve.frequency, values, marker=MARKERS[index % len(MARKERS)], label=curve.label, **style)
            if not relative and np.isfinite(change.error).all():
                low, high = values - change.error, values + change.error
                axes.fill_between(curve.frequency, np.maximum(low, values / 10), high, color=style["color"], alpha=0.15)
        axes.set(title=title, xlim=(0, 1), xlabel="frequency / highest frequency")
        if any(getattr(curve, kind).absolute.max() > 0 for curve in report.curves):
            # The band of the image's mean changes scores hundreds of times more than the rest.
            axes.set_yscale("log")
        switch = report.switch_over.get(kind)
        if switch is not None and switch.r1 is not None and switch.r2 is not None:
            draw_separators(axes, sorted({switch.r1, switch.r2}), labels=False)
    grid[0, 0].set_ylabel("|score change| / its geometric mean" if relative else "mean |score change|")
    grid[0, 0].legend(frameon=False)
    return figure


def plot_statistics(statistics: ProfileStatistics) -> Figure:
    """Mean and standard deviation of one set of crops over frequency."""
    figure, grid = new_figure()
    axes: Axes = grid[0, 0]
    for index, (values, label) in enumerate(((statistics.mean, "mean"), (statistics.std, "standard deviation"))):
        axes.plot(statistics.frequency[1:], values[1:], label=label, **line_style(index))
    axes.set(yscale="log", xlim=(0, 1), xlabel="frequency / highest frequency", ylabel="power")
    axes.set_title(statistics.label, pad=16)
    draw_separators(axes)
    axes.legend(frameon=False)
    return figure
