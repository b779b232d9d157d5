"""A figure of one profile against its reference that is drawn again and again while a model trains.

Axes and labels are drawn once; after that only the curves are, which takes milliseconds. The axes keep their limits, so
that figures of different iterations can be compared by eye, and widen only when curves leave them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D

from basicsr.analysis.plots import FREQUENCY_LABEL, draw_legend, draw_separators, line_style, new_figure

REFERENCE = "GT"
SIZE = (5.2, 4.6)
DPI = 80
_LEVEL_STEP = 10.0
_RATIO_STEP = 5.0


class ProfileFigure:
    """Levels of generated images and of their reference over frequency, and below their ratio.

    Levels and ratio are in decibels on linear axes: equal ratios of power are equal distances. Without a reference
    there is one curve and no ratio.

    Args:
        title: A line above.
        frequency: (P,), normalised: 1 is the corner of the spectrum.
        label: What the curve that is no reference is called.
    """

    def __init__(self, title: str, frequency: np.ndarray, label: str = "generated") -> None:
        self._title = title
        self._frequency = frequency
        self._label = label
        self._limits: list[tuple[float, float]] = []
        self._lines: list[tuple[Axes, Line2D]] = []
        self._canvas: FigureCanvasAgg | None = None
        self._background: Any = None

    def draw(self, level: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        """Draws curves.

        Args:
            level: (P,) of the generated images, in dB.
            reference: (P,) of the reference; given always or never.

        Returns:
            The figure, (H, W, 3) uint8, RGB.
        """
        curves = [(level,)] if reference is None else [(reference, level), (level - reference,)]
        limits = _widen(self._limits, [_range(group) for group in curves])
        if self._canvas is None or limits != self._limits:
            self._limits = limits
            self._prepare(has_reference=reference is not None)
        canvas = self._canvas
        assert canvas is not None
        canvas.restore_region(self._background)
        for (axes, line), values in zip(self._lines, (values for group in curves for values in group), strict=True):
            line.set_ydata(values)
            axes.draw_artist(line)
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _prepare(self, has_reference: bool) -> None:
        """Draws everything but the curves, and keeps it."""
        rows = 2 if has_reference else 1
        figure, grid = new_figure(rows, 1, SIZE, sharex=True, height_ratios=(3, 1.4)[:rows])
        figure.set_layout_engine(None)
        figure.set_dpi(DPI)
        figure.subplots_adjust(left=0.13, right=0.97, bottom=0.11, top=0.88, hspace=0.12)
        figure.suptitle(self._title, fontsize=9)
        upper: Axes = grid[0, 0]
        labels = (REFERENCE, self._label) if has_reference else (self._label,)
        style = [line_style(index) for index in range(2)]
        blank = np.full_like(self._frequency, np.nan)
        self._lines = [
            (upper, upper.plot(self._frequency, blank, label=label, animated=True, **style[index])[0])
            for index, label in enumerate(labels)
        ]
        upper.set(xlim=(0, 1), ylim=self._limits[0], ylabel="power (dB)")
        draw_legend(upper, "upper right")
        draw_separators(upper)
        if has_reference:
            lower: Axes = grid[1, 0]
            lower.axhline(0.0, **style[0])
            lower.set(ylim=self._limits[1], ylabel=f"ratio to {REFERENCE} (dB)")
            draw_separators(lower, labels=False)
            self._lines.append((lower, lower.plot(self._frequency, blank, animated=True, **style[1])[0]))
        grid[-1, 0].set_xlabel(FREQUENCY_LABEL)
        self._canvas = FigureCanvasAgg(figure)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(figure.bbox)


def _range(curves: Iterable[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest value that is finite."""
    values = np.concatenate([np.ravel(curve) for curve in curves])
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _widen(former: list[tuple[float, float]], ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Limits on round numbers that hold the former ones and the ranges; those of a ratio have 0 in the middle."""
    low, high = (math.floor(value / _LEVEL_STEP) for value in ranges[0])
    limits = [(_LEVEL_STEP * low, _LEVEL_STEP * (high + 1))]
    if len(ranges) > 1:
        reach = _RATIO_STEP * (math.floor(max(map(abs, ranges[1])) / _RATIO_STEP) + 1)
        limits.append((-reach, reach))
    if not former:
        return limits
    return [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(former, limits, strict=True)]
