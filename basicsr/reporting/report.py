"""One HTML file that shows runs: pictures, numbers and curves; it needs no network and no other file."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from basicsr.reporting.contents import (
    comparison_tables,
    curve_charts,
    describe_run,
    image_tables,
    options_table,
    profile_charts,
    scatter_plots,
    scores_on_picture,
)
from basicsr.reporting.runs import read_runs
from basicsr.reporting.scenes import MAX_BYTES, MAX_IMAGES, average_profiles, collect_scenes
from basicsr.utils.atomic import atomic_write_text
from basicsr.version import __version__

FILE = "report.html"

_SCRIPTS = ("core.js", "viewer.js", "stage.js", "charts.js", "tables.js", "main.js")


def write_report(
    folders: Sequence[Path],
    file: Path,
    max_images: int = MAX_IMAGES,
    max_bytes: int = MAX_BYTES,
    datasets: Sequence[Any] = (),
) -> list[str]:
    """Writes the page of one run or several.

    Args:
        folders: Folders of runs.
        file: Where the page goes.
        max_images: How many images are shown at most.
        max_bytes: Of all pictures together; text takes a third more.
        datasets: Data sets of the runs that are open already; others are opened as the option files say.

    Returns:
        What is not shown, and why, a sentence each.

    Raises:
        DataError: If a folder is not that of a run.
    """
    runs = read_runs(folders)
    scenes, total = collect_scenes(runs, max_images, max_bytes, datasets)
    # Last, as all of the above may note what it misses.
    data = {
        "version": __version__,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "scenes": [scene.to_data(scores_on_picture(runs, scene.dataset, scene.image)) for scene in scenes],
        "images": {"shown": len(scenes), "total": total},
        "comparison": comparison_tables(runs),
        "tables": image_tables(runs),
        "curves": curve_charts(runs),
        "profiles": profile_charts(average_profiles(scenes), runs),
        "scatter": scatter_plots(runs),
        "options": options_table(runs),
        "runs": [describe_run(run) for run in runs],
    }
    atomic_write_text(render(", ".join(run.label for run in runs), data), file)
    return [f"{run.label}: {note}" for run in runs for note in run.notes]


def render(title: str, data: dict[str, Any]) -> str:
    """Puts page, style, scripts and data together; nothing in title or data can end where it stands."""
    parts = files("basicsr.reporting").joinpath("page")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # In a script element all is text but what looks like its end or like a comment.
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    script = "\n".join(parts.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    page = Template(parts.joinpath("page.html").read_text(encoding="utf-8"))
    style = parts.joinpath("page.css").read_text(encoding="utf-8")
    text = page.substitute(title=html.escape(title), style=style, script=script, data=safe)
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files may be no UTF-8
