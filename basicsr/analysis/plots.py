"""The figures of band errors and of spectral statistics."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from basicsr.analysis.arguments import refuse_equal_labels
from basicsr.analysis.statistics import ProfileStatistics
from basicsr.evaluation.figures import (
    FREQUENCY_LABEL,
    bar_style,
    draw_legend,
    draw_separators,
    legend_room,
    line_style,
    new_figure,
)
from basicsr.spectral import BORDERS
from basicsr.utils.errors import UserError

MAX_BARS = 90
"""Beyond, bars are too thin for their hatches to be told apart, and curves are drawn instead."""
MAX_BAR_BANDS = 10


def plot_profiles(
    profiles: Sequence[ProfileStatistics],
    mode: Literal["mean", "std"] = "mean",
    reference: str | None = None,
    borders: Sequence[float] = BORDERS,
) -> Figure:
    """Overlays spectral statistics over frequency, with their ratio to a reference below.

    Args:
        profiles: Statistics of crops of one size.
        mode: Which statistic to draw.
        reference: Label of the profile that the others are divided by; by default ``GT`` or ``HR``, else the first.
        borders: Low/middle and middle/high borders, fractions of the highest frequency.

    Raises:
        UserError: If there is no profile, two have one label, lengths differ, or no profile is called ``reference``.
    """
    refuse_equal_labels([profile.label for profile in profiles], "profiles", "--stats LABEL=FILE")
    lengths = {profile.label: len(profile.mean) for profile in profiles}
    if len(set(lengths.values())) > 1:
        raise UserError(f"profiles have different numbers of rings: {lengths}; measure them with one --patch_size")
    # Of equal names in different case, the first counts.
    named = {profile.label.upper(): profile for profile in reversed(profiles)}
    if reference is not None and reference.upper() not in named:
        raise UserError(f"no profile is called {reference!r}; there are {', '.join(p.label for p in profiles)}")
    base = named.get("GT") or named.get("HR") or profiles[0] if reference is None else named[reference.upper()]

    # Draw the profiles, and their ratios below.
    compares = len(profiles) > 1
    rows, height, ratios = (2, 4.6, (3, 1.4)) if compares else (1, 3.4, (1,))
    width = 5.2 + legend_room(len(profiles))
    figure, grid = new_figure(rows, 1, (width, height), sharex=True, height_ratios=ratios)
    upper, lower = grid[0, 0], grid[-1, 0]
    for index, profile in enumerate(profiles):
        # The mean of the image (ring 0) is no detail and would flatten the rest.
        values = getattr(profile, mode)[1:]
        upper.plot(profile.frequency[1:], values, label=profile.label, **line_style(index))
        if compares:
            with np.errstate(divide="ignore", invalid="ignore"):
                lower.plot(profile.frequency[1:], values / getattr(base, mode)[1:], **line_style(index))
    upper.set(yscale="log", ylabel=f"{'standard deviation' if mode == 'std' else 'mean'} of power", xlim=(0, 1))
    draw_legend(upper)
    draw_separators(upper, borders)
    if compares:
        lower.set(yscale="log", ylabel=f"ratio to {base.label}")
        draw_separators(lower, borders, labels=False)
    lower.set_xlabel(FREQUENCY_LABEL)
    return figure


def plot_statistics(statistics: ProfileStatistics) -> Figure:
    """Mean and standard deviation of one set of crops over frequency."""
    figure, grid = new_figure()
    axes = grid[0, 0]
    for index, (values, label) in enumerate(((statistics.mean, "mean"), (statistics.std, "standard deviation"))):
        axes.plot(statistics.frequency[1:], values[1:], label=label, **line_style(index))
    axes.set(yscale="log", xlim=(0, 1), xlabel=FREQUENCY_LABEL, ylabel="power")
    axes.set_title(statistics.label, pad=16)
    draw_separators(axes, BORDERS)
    draw_legend(axes)
    return figure


def plot_band_errors(labels: Sequence[str], edges: Sequence[float], errors: np.ndarray) -> Figure:
    """Errors per band: grouped bars, one group per band, or one curve per model where bars would be too many.

    Args:
        labels: Model names.
        edges: Band edges.
        errors: (models, bands) mean magnitude RMSE.
    """
    models, bands = errors.shape
    as_bars = bands <= MAX_BAR_BANDS and errors.size <= MAX_BARS
    width = min(max(4.6, 1.0 + 0.28 * bands * (models + 1)), 10.0) if as_bars else 6.4
    figure, grid = new_figure(size=(width + legend_room(models), 3.4))
    axes = grid[0, 0]
    if as_bars:
        places, thickness = np.arange(bands), 0.8 / models
        for index, (label, row) in enumerate(zip(labels, errors)):
            axes.bar(places + (index - (models - 1) / 2) * thickness, row, thickness, label=label, **bar_style(index))
        names = [f"{low:g}–{high:g}" for low, high in itertools.pairwise(edges)]
        axes.set_xticks(places, names, rotation=45 if bands > 6 else 0)
        axes.set_xlabel("band (fraction of the highest frequency)")
        axes.grid(axis="x", visible=False)
    else:
        centres = (np.asarray(edges[:-1]) + np.asarray(edges[1:])) / 2
        for index, (label, row) in enumerate(zip(labels, errors)):
            axes.plot(centres, row, label=label, **line_style(index + 1, points=True))
        axes.set(xlim=(0, 1), xlabel=f"{FREQUENCY_LABEL}; {bands} bands")
    # Numbers with a common zero are compared on a linear axis; bands far apart need a logarithmic one.
    positive = errors[errors > 0]
    if positive.size and positive.max() > 50 * positive.min():
        axes.set_yscale("log")
    axes.set_ylabel("magnitude RMSE")
    draw_legend(axes)
    return figure
