"""Tables and figures of the study, from its results file alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from study_ladder import STRENGTHS
from study_measures import collect, collect_bicubic, critics_of, find_generated, list_held_out
from study_runs import CONDITIONS, QUALITY, Run

from basicsr.analysis.images import read_image
from basicsr.analysis.robustness_report import relate_to_own_level
from basicsr.evaluation.figures import HATCHES, MARKERS, draw_separators, line_style, new_figure, save_figure
from basicsr.evaluation.pictures import WINDOW, find_window
from basicsr.spectral import BORDERS
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import UserError

METRICS = {
    "psnr": ("PSNR-Y, dB", 2),
    "ssim": ("SSIM-Y", 4),
    "spectral": ("spectral distance, dB", 2),
    "spectral_low": ("low", 2),
    "spectral_middle": ("middle", 2),
    "spectral_high": ("high", 2),
}
LADDER_CONDITIONS = ("both", "both_log", QUALITY)
LADDER_NAMES = {**CONDITIONS, QUALITY: "Wasserstein, simple gated"}
CRITIC_NAMES = {"D": "D (images)", "S": "S (spectra)", "ensemble": "D + S"}


def write_report(results: dict[str, Any], runs: Path, figures: Path, page: Path) -> list[Path]:
    """Draws the figures and puts the tables between the marks of a page.

    Args:
        results: From ``measure_all``.
        runs: The study's folder; if it holds the first seed's runs, their images are shown too.
        figures: Folder of the figures.
        page: A Markdown file with ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` for each of :func:`tables`.

    Returns:
        Everything written.
    """
    drawn = {
        "study_images": plot_images(results),
        "study_critics": plot_critics(results),
        "study_ladder": plot_ladder(results),
    }
    pictures = find_pictures(results, runs)
    if pictures:
        drawn["study_pictures"] = plot_pictures(pictures)
    paths = [path for name, figure in drawn.items() for path in save_figure(figure, figures / name, ("png",), dpi=160)]
    text = page.read_text(encoding="utf-8")
    for name, table in tables(results).items():
        text = replace_between(text, name, table)
    atomic_write_text(text, page)
    return [*paths, page]


def replace_between(text: str, name: str, table: str) -> str:
    """Puts a table between its marks.

    Raises:
        UserError: If a mark is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"the page needs the lines {begin} and {end} once each")
    return f"{text.split(begin)[0]}{begin}\n{table}\n{end}{text.split(end)[1]}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    return {
        "images": tabulate_images(results),
        "changes": tabulate_changes(results),
        "critics": tabulate_critics(results),
        "ladder": tabulate_ladder(results),
    }


def tabulate_images(results: dict[str, Any]) -> str:
    """Image metrics of every condition, mean over seeds ± standard deviation over seeds."""
    bicubic = collect_bicubic(results)
    rows = [["bicubic", *(f"{bicubic[key]:.{digits}f}" for key, (_, digits) in METRICS.items())]]
    for condition, label in CONDITIONS.items():
        values = collect(results, condition)
        rows.append([label, *(_with_spread(values[key], digits) for key, (_, digits) in METRICS.items())])
    return _markdown(["", *(title for title, _ in METRICS.values())], rows)


def tabulate_changes(results: dict[str, Any]) -> str:
    """Differences to the runs without critic, seed by seed: mean and the least and greatest of the seeds."""
    base = collect(results, "none")
    rows = []
    for condition, label in CONDITIONS.items():
        if condition != "none":
            change = {key: collect(results, condition)[key] - base[key] for key in METRICS}
            rows.append(
                [label, *(_with_range(change[key], digits) for key, (_, digits) in METRICS.items())],
            )
    return _markdown(["less no critic", *(title for title, _ in METRICS.values())], rows)


def tabulate_critics(results: dict[str, Any]) -> str:
    """How often critics score a real crop above a generated one, and above one with a generated band, by thirds."""
    edges = np.asarray(results["bands"])
    rows = []
    for condition, label in CONDITIONS.items():
        for critic in critics_of(condition):
            found = [entry[critic]["discernment"] for entry in _critics(results, condition)]
            bands = np.array([entry["bands"] for entry in found])
            cells = [_with_spread(np.array([entry["whole"] for entry in found]), 2)]
            cells += [_with_spread(bands[:, _inside(edges, low, high)].mean(axis=1), 2) for low, high in _THIRDS]
            rows.append([f"{critic} of {label}", *cells])
    names = [f"{low:g}–{high:g}" for low, high in _THIRDS]
    return _markdown(["critic", "whole crop", *(f"a band in {name}" for name in names)], rows)


_THIRDS = ((0.0, 0.3), (0.3, 0.8), (0.8, 1.0))


def _inside(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    centres = (edges[:-1] + edges[1:]) / 2
    return (centres > low) & (centres < high)


def tabulate_ladder(results: dict[str, Any]) -> str:
    """Rank correlations of scores with mildness, within photographs and across them."""
    rows = []
    for condition in LADDER_CONDITIONS:
        for critic, name in CRITIC_NAMES.items():
            found = [results["ladder"][Run(condition, seed).name][critic] for seed in results["seeds"]]
            cells = [
                _with_spread(np.array([entry[kind][scope] for entry in found]), 2)
                for scope in ("within", "across")
                for kind in STRENGTHS
            ]
            rows.append([LADDER_NAMES[condition], name, *cells])
    header = ["trained with", "critic", *(f"{kind}, {scope}" for scope in ("within", "across") for kind in STRENGTHS)]
    return _markdown(header, rows)


def _critics(results: dict[str, Any], condition: str) -> list[dict[str, Any]]:
    return [results["critics"][Run(condition, seed).name] for seed in results["seeds"]]


def _with_spread(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0:.{digits}f}"


def _with_range(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():+.{digits}f} ({values.min():+.{digits}f} … {values.max():+.{digits}f})"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def plot_images(results: dict[str, Any]) -> Figure:
    """Left: PSNR against spectral distance, a mark per seed. Right: spectral distance per band."""
    figure, grid = new_figure(1, 2, (8.4, 3.4))
    plane, bands = grid[0]
    keys = ("spectral_low", "spectral_middle", "spectral_high")
    width = 0.8 / len(CONDITIONS)
    for index, (condition, label) in enumerate(CONDITIONS.items()):
        values = collect(results, condition)
        colour = line_style(index)["color"]
        plane.plot(values["spectral"], values["psnr"], MARKERS[index], color=colour, label=label, markersize=6)
        position = np.arange(len(keys)) + (index - (len(CONDITIONS) - 1) / 2) * width
        means = np.array([values[key].mean() for key in keys])
        spread = np.array(
            [[values[key].mean() - values[key].min(), values[key].max() - values[key].mean()] for key in keys]
        )
        bands.bar(position, means, 0.9 * width, yerr=spread.T, **_bar_style(index))
    plane.set(xlabel="spectral distance, dB (lower is better)", ylabel="PSNR-Y, dB", title="each mark is a seed")
    _add_legend_below(figure, plane)
    bands.set_xticks(np.arange(len(keys)), ["low\n0–0.3", "middle\n0.3–0.8", "high\n0.8–1"])
    bands.set(ylabel="spectral distance, dB", title="by band; bars to least and greatest seed")
    bands.grid(axis="x", visible=False)
    return figure


def _bar_style(index: int) -> dict[str, Any]:
    """Bars with error bars that differ in print without colours too."""
    style = {"color": line_style(index)["color"], "hatch": HATCHES[index % len(HATCHES)], "edgecolor": "white"}
    return {**style, "capsize": 2, "ecolor": "#333333"}


def _add_legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all axes, where it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=len(names))


def plot_critics(results: dict[str, Any]) -> Figure:
    """Sensitivity to removed bands, to noise in bands, and discernment of generated bands: D and S, linear and log."""
    figure, grid = new_figure(1, 3, (10.4, 3.4))
    frequency = (np.asarray(results["bands"])[:-1] + np.asarray(results["bands"])[1:]) / 2
    shown = {"D": ("both", "D"), "S, linear": ("both", "S"), "S, decibels": ("both_log", "S")}
    for index, (label, (condition, critic)) in enumerate(shown.items()):
        entries = [entry[critic] for entry in _critics(results, condition)]
        curves = [
            np.array([relate_to_own_level(np.asarray(entry[kind])) for entry in entries])
            for kind in ("masked", "noisy")
        ]
        curves.append(np.array([entry["discernment"]["bands"] for entry in entries]))
        for axes, values in zip(grid[0], curves):
            _draw_spread(axes, frequency, values, index, label)
    for axes, title in zip(grid[0], ("band removed", "noise added in band", "band taken from the generator")):
        axes.set(title=title, xlim=(0, 1), xlabel="frequency / highest frequency")
        draw_separators(axes, BORDERS, labels=False)
    for axes in grid[0, :2]:
        axes.set(yscale="log", ylabel="|score change| / its geometric mean")
    grid[0, 2].axhline(0.5, color="#777777", linewidth=0.9)
    grid[0, 2].set(ylabel="share of real crops scored higher", ylim=(0, 1))
    _add_legend_below(figure, grid[0, 0])
    return figure


def _draw_spread(axes: Axes, x: np.ndarray, values: np.ndarray, index: int, label: str) -> None:
    """Mean over seeds with a band from the least to the greatest."""
    style = line_style(index + 1)
    axes.plot(x, values.mean(axis=0), marker=MARKERS[index], label=label, **style)
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15)


def plot_ladder(results: dict[str, Any]) -> Figure:
    """Rank correlation within photographs, for every kind of degradation and critic."""
    figure, grid = new_figure(1, len(LADDER_CONDITIONS), (9.6, 3.2), sharey=True)
    kinds = list(STRENGTHS)
    width = 0.8 / len(CRITIC_NAMES)
    for axes, condition in zip(grid[0], LADDER_CONDITIONS):
        for index, (critic, name) in enumerate(CRITIC_NAMES.items()):
            found = [results["ladder"][Run(condition, seed).name][critic] for seed in results["seeds"]]
            values = np.array([[entry[kind]["within"] for kind in kinds] for entry in found])
            position = np.arange(len(kinds)) + (index - 1) * width
            mean = values.mean(axis=0)
            spread = np.stack([mean - values.min(axis=0), values.max(axis=0) - mean])
            axes.bar(position, mean, 0.9 * width, yerr=spread, label=name, **_bar_style(index + 1))
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_xticks(np.arange(len(kinds)), kinds)
        axes.set(title=LADDER_NAMES[condition], ylim=(-1.05, 1.05))
        axes.grid(axis="x", visible=False)
    grid[0, 0].set_ylabel("rank correlation with mildness")
    _add_legend_below(figure, grid[0, 0])
    return figure


def find_pictures(results: dict[str, Any], runs: Path) -> dict[str, dict[str, np.ndarray]]:
    """GT and the first seed's images, BGR, by photograph and label; empty if the runs are not there."""
    places = {label: runs / Run(condition, results["seeds"][0]).name for condition, label in CONDITIONS.items()}
    if not all(place.is_dir() for place in places.values()):
        return {}
    pictures = {}
    for name, path in list_held_out(places[CONDITIONS["none"]]).items():
        files = {"ground truth": path, **{label: find_generated(place, name) for label, place in places.items()}}
        pictures[name] = {label: read_image(file).permute(1, 2, 0).numpy()[..., ::-1] for label, file in files.items()}
    return pictures


def plot_pictures(pictures: dict[str, dict[str, np.ndarray]]) -> Figure:
    """For each photograph the window in which the run without critic errs most, as every condition renders it."""
    labels = list(next(iter(pictures.values())))
    figure, grid = new_figure(len(pictures), len(labels), (1.75 * len(labels), 1.85 * len(pictures)))
    for row, images in zip(grid, pictures.values()):
        window = find_window(images["ground truth"], images[CONDITIONS["none"]], WINDOW)
        for axes, label in zip(row, labels):
            axes.imshow(images[label][window][..., ::-1], interpolation="nearest")
            axes.set_axis_off()
    for axes, label in zip(grid[0], labels):
        axes.set_title(label, fontsize=8)
    return figure
