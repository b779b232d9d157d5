"""Figures of spectral analysis: readable in print, in grey and by colour-blind readers; no LaTeX, no display.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/). There are seven, and in grey fewer; so colour
alone tells nothing apart: every curve has its own pair of dash pattern and marker, every bar its own of hatch and fill.
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
from matplotlib.legend import Legend

from basicsr.analysis.labels import refuse_equal_labels
from basicsr.analysis.statistics import ProfileStatistics
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import UserError

PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
MAX_BARS = 90
"""Beyond, bars are too thin for their hatches to be told apart, and curves are drawn instead."""
MAX_BAR_BANDS = 10
_LEGEND_INSIDE = 5
_LEGEND_ROWS = 14
FIGURE_FORMATS = ("png", "pdf", "svg")

FREQUENCY_LABEL = "frequency / highest frequency"

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


def line_style(index: int, points: bool = False) -> dict[str, Any]:
    """Colour, dash pattern and, where needed, marker of the ``index``-th curve; those of the first 49 differ in grey.

    Args:
        index: Number of the curve, from 0.
        points: Mark every point, for curves of few points. Other curves are marked here and there once dash patterns
            repeat.
    """
    turn = index // len(LINE_STYLES)
    style = {"color": PALETTE[index % len(PALETTE)], "linestyle": LINE_STYLES[index % len(LINE_STYLES)]}
    if points or turn:
        style["marker"] = MARKERS[(index + turn) % len(MARKERS)]
    if turn and not points:
        style["markevery"] = (0.02 * (index % len(MARKERS)), 0.15)
    return style


def bar_style(index: int) -> dict[str, Any]:
    """Fill, edge and hatch of the ``index``-th bar; those of the first 28 differ in grey.

    Seven hatches are drawn in white on colour, then in colour on white, then both again twice as dense.
    """
    turn = index // len(HATCHES)
    colour = PALETTE[(index + 1) % len(PALETTE)]
    hatch = HATCHES[index % len(HATCHES)] if turn < 2 else 2 * HATCHES[index % len(HATCHES)] or "--"
    if turn % 2:
        return {"facecolor": "white", "edgecolor": colour, "hatch": hatch}
    return {"facecolor": colour, "edgecolor": "white", "hatch": hatch}


def legend_room(entries: int) -> float:
    """Inches that the legend of :func:`draw_legend` takes beside the axes."""
    return 1.4 * -(-entries // _LEGEND_ROWS) if entries > _LEGEND_INSIDE else 0.0


def draw_legend(axes: Axes, loc: Literal["best", "upper right"] = "best") -> Legend:
    """The legend of an axis: inside it (at ``loc``) for a few entries, right of the figure for many."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure()
    # Its ground hides what would otherwise run through the words.
    ground: Any = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
    if len(labels) <= _LEGEND_INSIDE or not isinstance(figure, Figure):
        return axes.legend(loc=loc, **ground)
    columns = -(-len(labels) // _LEGEND_ROWS)
    # Long handles, or dash patterns do not show.
    return figure.legend(handles, labels, loc="outside right upper", handlelength=3, ncols=columns, **ground)


def draw_separators(
    axes: Axes, borders: Sequence[float] = SEPARATORS, labels: bool = True, names: Sequence[str] = ()
) -> None:
    """Marks borders on a frequency axis from 0 to 1, over the grid and under the curves.

    Args:
        axes: Where.
        borders: Frequencies; by default the borders of low, middle and high.
        labels: Name the three ranges between two borders, above the axis.
        names: Names of the borders themselves, written beside them.
    """
    for border in borders:
        # White gaps, or a grid line at the same place shows through them.
        axes.axvline(border, color="#444444", gapcolor="white", linewidth=1.2, linestyle=(0, (4, 2)), zorder=1.5)
    if labels and len(borders) == 2:
        edges = (0.0, *borders, 1.0)
        for name, low, high in zip(("low", "middle", "high"), edges, edges[1:]):
            axes.text((low + high) / 2, 1.01, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    for row, (name, border) in enumerate(zip(names, borders)):
        # Each on a line of its own, because borders may lie close together.
        beside = 3 if border < 0.9 else -3
        axes.annotate(
            name,
            (border, 1),
            (beside, -2 - 11 * row),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if beside > 0 else "right",
            va="top",
        )


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
        UserError: If there is no profile, two have one label, lengths differ, borders do not increase within (0, 1), or
            no profile is called ``reference``.
    """
    if not profiles:
        raise UserError("no statistics file to plot; give --stats LABEL=FILE")
    refuse_equal_labels([profile.label for profile in profiles], "profiles", "LABEL=FILE")
    lengths = {profile.label: len(profile.mean) for profile in profiles}
    if len(set(lengths.values())) > 1:
        raise UserError(f"profiles have different numbers of rings: {lengths}; measure them with one --patch_size")
    base = _find_reference(profiles, reference)
    rows = 2 if len(profiles) > 1 else 1
    size = (5.2 + legend_room(len(profiles)), 4.6 if rows == 2 else 3.4)
    figure, grid = new_figure(rows, 1, size, sharex=True, height_ratios=(3, 1.4) if rows == 2 else None)
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
    draw_legend(upper)
    draw_separators(upper, borders)
    if rows == 2:
        grid[1, 0].set(yscale="log", ylabel=f"ratio to {base.label}")
        draw_separators(grid[1, 0], borders, labels=False)
    grid[-1, 0].set_xlabel(FREQUENCY_LABEL)
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
    """Errors per band: grouped bars, one group per band, or one curve per model where bars would be too many.

    Args:
        labels: Model names.
        edges: Band edges.
        errors: (models, bands) mean magnitude RMSE.
    """
    bands = len(edges) - 1
    as_bars = bands <= MAX_BAR_BANDS and errors.size <= MAX_BARS
    width = min(max(4.6, 1.0 + 0.28 * bands * (len(labels) + 1)), 10.0) if as_bars else 6.4
    figure, grid = new_figure(size=(width + legend_room(len(labels)), 3.4))
    axes: Axes = grid[0, 0]
    (_draw_bars if as_bars else _draw_levels)(axes, labels, edges, errors)
    # Numbers with a common zero are compared on a linear axis; bands far apart need a logarithmic one.
    positive = errors[errors > 0]
    if positive.size and positive.max() > 50 * positive.min():
        axes.set_yscale("log")
    axes.set_ylabel("magnitude RMSE")
    draw_legend(axes)
    return figure


def _draw_bars(axes: Axes, labels: Sequence[str], edges: Sequence[float], errors: np.ndarray) -> None:
    bands = len(edges) - 1
    width = 0.8 / len(labels)
    for index, (label, row) in enumerate(zip(labels, errors)):
        position = np.arange(bands) + (index - (len(labels) - 1) / 2) * width
        axes.bar(position, row, width, label=label, **bar_style(index))
    names = [f"{low:g}–{high:g}" for low, high in zip(edges, edges[1:])]  # noqa: RUF007
    axes.set_xticks(np.arange(bands), names, rotation=45 if bands > 6 else 0)
    axes.set_xlabel("band (fraction of the highest frequency)")
    axes.grid(axis="x", visible=False)


def _draw_levels(axes: Axes, labels: Sequence[str], edges: Sequence[float], errors: np.ndarray) -> None:
    bounds = np.asarray(edges)
    for index, (label, row) in enumerate(zip(labels, errors)):
        axes.plot((bounds[:-1] + bounds[1:]) / 2, row, label=label, **line_style(index + 1, points=True))
    axes.set(xlim=(0, 1), xlabel=f"{FREQUENCY_LABEL}; {len(bounds) - 1} bands")


def plot_statistics(statistics: ProfileStatistics) -> Figure:
    """Mean and standard deviation of one set of crops over frequency."""
    figure, grid = new_figure()
    axes: Axes = grid[0, 0]
    for index, (values, label) in enumerate(((statistics.mean, "mean"), (statistics.std, "standard deviation"))):
        axes.plot(statistics.frequency[1:], values[1:], label=label, **line_style(index))
    axes.set(yscale="log", xlim=(0, 1), xlabel=FREQUENCY_LABEL, ylabel="power")
    axes.set_title(statistics.label, pad=16)
    draw_separators(axes)
    draw_legend(axes)
    return figure
