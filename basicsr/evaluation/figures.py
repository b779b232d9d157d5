"""Figures that are readable in print, in grey and by colour-blind readers; no LaTeX, no display.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/). There are seven, and in grey fewer; so colour
alone tells nothing apart: every curve has its own pair of dash pattern and marker, every bar its own of hatch and fill.

Importing this module imports neither matplotlib nor PyTorch, which are slow; drawing a figure does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from basicsr.utils.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
FREQUENCY_LABEL = "frequency / highest frequency"
_LEGEND_INSIDE = 5
_LEGEND_ROWS = 14

# Without a date, equal results give equal files.
_UNDATED: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
FIGURE_FORMATS = tuple(_UNDATED)

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
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save_figure(
    figure: Figure, base: str | os.PathLike[str], formats: Sequence[str] = ("png", "pdf"), dpi: int = 200
) -> list[Path]:
    """Writes ``<base>.<format>`` for every format; a file is whole or absent.

    Raises:
        UserError: If a format is not one of png, pdf, svg.
    """
    import matplotlib

    from basicsr.utils.atomic import atomic_path

    paths = []
    for kind in formats:
        if kind not in FIGURE_FORMATS:
            raise UserError(f"figure format must be one of {', '.join(FIGURE_FORMATS)}; got {kind!r}")
        paths.append(Path(f"{base}.{kind}"))
        with atomic_path(paths[-1]) as temporary, matplotlib.rc_context(_STYLE):
            figure.savefig(temporary, format=kind, dpi=dpi, metadata=_UNDATED[kind])
    return paths


def line_style(index: int, points: bool = False) -> dict[str, Any]:
    """Colour, dash pattern and, where needed, marker of the ``index``-th curve; those of the first 49 differ in grey.

    Args:
        index: Number of the curve, from 0.
        points: Mark every point, for curves of few points. Other curves are marked here and there once dash patterns
            repeat.
    """
    turn, place = divmod(index, len(PALETTE))
    style: dict[str, Any] = {"color": PALETTE[place], "linestyle": LINE_STYLES[place]}
    if points or turn:
        style["marker"] = MARKERS[(index + turn) % len(MARKERS)]
    if turn and not points:
        style["markevery"] = (0.02 * place, 0.15)
    return style


def bar_style(index: int) -> dict[str, Any]:
    """Fill, edge and hatch of the ``index``-th bar; those of the first 28 differ in grey.

    Seven hatches are drawn in white on colour, then in colour on white, then both again twice as dense.
    """
    turn, place = divmod(index, len(HATCHES))
    colour = PALETTE[(index + 1) % len(PALETTE)]
    face, edge = ("white", colour) if turn % 2 else (colour, "white")
    hatch = HATCHES[place] if turn < 2 else 2 * HATCHES[place] or "--"
    return {"facecolor": face, "edgecolor": edge, "hatch": hatch}


def legend_room(entries: int) -> float:
    """Inches that the legend of :func:`draw_legend` takes beside the axes."""
    return 1.4 * -(-entries // _LEGEND_ROWS) if entries > _LEGEND_INSIDE else 0.0


def draw_legend(axes: Axes, loc: Literal["best", "upper right"] = "best") -> Legend:
    """The legend of an axis: inside it (at ``loc``) for a few entries, right of the figure for many."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure()
    # Its ground hides what would otherwise run through the words.
    ground: Any = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
    if len(labels) <= _LEGEND_INSIDE or figure is None:
        return axes.legend(loc=loc, **ground)
    columns = -(-len(labels) // _LEGEND_ROWS)
    # Long handles, or dash patterns do not show.
    return figure.legend(handles, labels, loc="outside right upper", handlelength=3, ncols=columns, **ground)


def draw_separators(axes: Axes, borders: Sequence[float], labels: bool = True, names: Sequence[str] = ()) -> None:
    """Marks borders on a frequency axis from 0 to 1, over the grid and under the curves.

    Args:
        axes: Where.
        borders: Frequencies.
        labels: Name the ranges that two borders separate (low, middle, high), above the axis.
        names: Names of the borders themselves, written beside them.
    """
    across = axes.get_xaxis_transform()
    for border in borders:
        # White gaps, or a grid line at the same place shows through them.
        axes.axvline(border, color="#444444", gapcolor="white", linewidth=1.2, linestyle=(0, (4, 2)), zorder=1.5)
    if labels and len(borders) == 2:
        edges = (0.0, *borders, 1.0)
        for name, low, high in zip(("low", "middle", "high"), edges, edges[1:]):
            axes.text((low + high) / 2, 1.01, name, transform=across, ha="center", va="bottom")
    for row, (name, border) in enumerate(zip(names, borders)):
        side, beside = ("left", 3) if border < 0.9 else ("right", -3)
        # Each on a line of its own, because borders may lie close together.
        axes.annotate(name, (border, 1), (beside, -2 - 11 * row), across, "offset points", ha=side, va="top")
