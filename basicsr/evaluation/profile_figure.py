"""A figure of one profile against its reference that is drawn again and again while a model trains.

Axes and labels are drawn once; after that only the curves are, which takes milliseconds. The axes keep their limits, so
that figures of different iterations can be compared by eye, and widen only when curves leave them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from basicsr.evaluation.figures import FREQUENCY_LABEL, draw_legend, draw_separators, line_style, new_figure
from basicsr.spectral import BORDERS

REFERENCE, GENERATED = "GT", "generated"
_LEVEL_STEP = 10.0
_RATIO_STEP = 5.0

Limits = tuple[float, float]


class ProfileFigure:
    """Levels of generated images and of their reference over frequency, and below their ratio.

    Levels and ratio are in decibels on linear axes: equal ratios of power are equal distances. Without a reference
    there is one curve and no ratio.

    Args:
        title: A line above.
        frequency: (P,), normalised: 1 is the corner of the spectrum.
        has_reference: Whether there is one.
    """

    _background: Any

    def __init__(self, title: str, frequency: np.ndarray, has_reference: bool = True) -> None:
        rows = 2 if has_reference else 1
        figure, grid = new_figure(rows, 1, (5.2, 4.6), sharex=True, height_ratios=(3, 1.4)[:rows])
        figure.set_layout_engine(None)
        figure.set_dpi(80)
        figure.subplots_adjust(left=0.13, right=0.97, bottom=0.11, top=0.88, hspace=0.12)
        figure.suptitle(title, fontsize=9)
        self._axes: list[Axes] = list(grid[:, 0])
        upper, lower = self._axes[0], self._axes[-1]
        curves = [(upper, 0, GENERATED)]
        if has_reference:
            curves = [(upper, 0, REFERENCE), (upper, 1, GENERATED), (lower, 1, "")]
            lower.axhline(0.0, **line_style(0))
            lower.set_ylabel(f"ratio to {REFERENCE} (dB)")
            draw_separators(lower, BORDERS, labels=False)
        self._lines = [
            axes.plot(frequency, np.full_like(frequency, np.nan), label=label, animated=True, **line_style(index))[0]
            for axes, index, label in curves
        ]
        upper.set(xlim=(0, 1), ylabel="power (dB)")
        draw_legend(upper, "upper right")
        draw_separators(upper, BORDERS)
        lower.set_xlabel(FREQUENCY_LABEL)
        self._canvas = FigureCanvasAgg(figure)
        self._limits: list[Limits] = []

    def draw(self, level: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
        """Draws curves.

        Args:
            level: (P,) of the generated images, in dB.
            reference: (P,) of the reference, if there is one.

        Returns:
            The figure, (H, W, 3) uint8, RGB.
        """
        groups = [[level]] if reference is None else [[reference, level], [level - reference]]
        # Limits lie on round numbers and hold the former ones and the curves; those of a ratio have 0 in the middle.
        low, high = (math.floor(value / _LEVEL_STEP) for value in _range(groups[0]))
        limits = [(_LEVEL_STEP * low, _LEVEL_STEP * (high + 1))]
        for ratio in groups[1:]:
            reach = _RATIO_STEP * (math.floor(max(map(abs, _range(ratio))) / _RATIO_STEP) + 1)
            limits.append((-reach, reach))
        limits = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(self._limits or limits, limits, strict=True)]
        # Draw everything but the curves, and keep it.
        if limits != self._limits:
            self._limits = limits
            for axes, bounds in zip(self._axes, limits, strict=True):
                axes.set_ylim(bounds)
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self._canvas.figure.bbox)
        # Draw the curves.
        self._canvas.restore_region(self._background)
        for line, values in zip(self._lines, itertools.chain(*groups), strict=True):
            line.set_ydata(values)
            line.draw(self._canvas.get_renderer())
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def _range(curves: Sequence[np.ndarray]) -> Limits:
    """Lowest and highest value that is finite."""
    values = np.concatenate(curves)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
