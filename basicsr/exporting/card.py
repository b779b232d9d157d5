"""A model card: a Markdown page of what a network is, what it was made of, how good it is and how to use it.

Source: M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from basicsr import __version__
from basicsr.evaluation.dataset_images import GENERATOR
from basicsr.evaluation.intervals import bootstrap_interval
from basicsr.exporting.card_figure import draw_curves
from basicsr.exporting.card_run import CardRun, Listing
from basicsr.models.options import DERIVED
from basicsr.options import load_options
from basicsr.reporting.curves import read_curves
from basicsr.reporting.runs import SetScores
from basicsr.utils.atomic import atomic_write_text, hash_file
from basicsr.utils.errors import TrainingError, UserError, first_line
from basicsr.utils.fields import extra_of, fields_of
from basicsr.utils.folders import sizeof_fmt
from basicsr.utils.parts import Part, declare, takes_block
from basicsr.weights.architectures import describe_block

NOT_STATED = "not stated"
MIN_IMAGES = 5
"""Fewest images with an interval: of fewer, resampling tells little more than their range."""
_ELSEWHERE = re.compile(r"^(name|path\.\w+_root|datasets\.\w+\.(name|phase|scale|seed|(dataroot|meta_info)\w*))$")
"""Options that the card says elsewhere, or that say where the run lies."""
PIPE = r"\|"
"""A bar within a cell of a table."""


def write_card(run: CardRun, file: Path, licence: str | None = None, num_pictures: int = 4) -> list[Path]:
    """Writes the card, and its pictures to a folder beside it.

    Args:
        run: The training.
        file: The card; pictures go to ``<stem>_pictures``.
        licence: What the card says of the licence.
        num_pictures: Most example pictures.

    Returns:
        The files.

    Raises:
        TrainingError: If something cannot be written.
    """
    folder = file.with_name(f"{file.stem}_pictures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        curves = draw_curves(read_curves(run.folder), folder / "curves")
        examples = [_copy(picture, folder) for picture in _choose(run.find_pictures(), num_pictures)]
        kept = _copy(run.option_file, folder)
        sections = [
            _describe_model(run, licence),
            _describe_use(run),
            _describe_scores(run.scores),
            _describe_course(curves, file),
            _describe_examples(examples, file),
            _describe_recipe(run, kept, file),
            _describe_data([*run.list_data()]),
            _describe_origin(run),
        ]
        atomic_write_text("\n\n".join(filter(None, sections)) + "\n", file)
    except OSError as error:
        raise TrainingError(f"cannot write {file}: {first_line(error)}") from error
    return [file, *filter(None, [curves]), *examples, kept]


def _choose(pictures: Sequence[Path], most: int) -> list[Path]:
    """Pictures from all over the list, of different names."""
    distinct = list({picture.name: picture for picture in pictures}.values())
    step = max(1.0, len(distinct) / most)
    return [distinct[int(index * step)] for index in range(min(most, len(distinct)))]


def _copy(file: Path, folder: Path) -> Path:
    return Path(shutil.copyfile(file, folder / file.name))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', PIPE) for cell in line)} |" for line in lines)


def _link(target: Path, file: Path) -> str:
    return target.relative_to(file.parent).as_posix().replace(" ", "%20")


# --- sections ---------------------------------------------------------------------------------------------------------


def _describe_model(run: CardRun, licence: str | None) -> str:
    options = run.options
    block = json.loads(run.facts.get("architecture", "null"))
    scale = options.get("scale")
    rows = [
        ("network", describe_block(block) if block else "not known"),
        ("parameters and buffers", f"{run.num_values:,}"),
        ("scale", f"×{scale}" if scale else "not known"),
        ("trained as", options.get("model_type") or "own blocks (critics, losses, objective)"),
        ("iterations", _describe_iterations(run)),
        ("licence of the weights", licence or NOT_STATED),
    ]
    digest = hash_file(run.weights, hashlib.sha256())
    weights = [
        ("file", f"`{run.weights.name}`, {sizeof_fmt(run.weights.stat().st_size)}"),
        ("entry", f"`{run.entry}`" if run.entry else "the whole file"),
        ("SHA-256", f"`{digest}`"),
    ]
    return f"# {run.name}\n\n{_table(['model', ''], rows)}\n\n{_table(['weights', ''], weights)}"


def _describe_iterations(run: CardRun) -> str:
    asked = (run.options.get("train") or {}).get("total_iter")
    asked_text = f"{int(float(asked)):,}" if asked else "not known"
    number = run.weights.stem.rpartition("_")[2]
    return f"{int(number):,} of {asked_text}" if number.isdecimal() else asked_text


def _describe_use(run: CardRun) -> str:
    name = run.weights.name
    return f"""## How to use it

```bash
basicsr upscale photo.jpg -m {name} -o enlarged
```

```python
from basicsr import load_model

model = load_model("{name}")
enlarged = model(picture)  # a PIL image, or an array (H, W, 3)
```

With the run's folder on the machine, `-m {run.name}` does the same."""


def _describe_scores(scores: Sequence[tuple[str, SetScores]]) -> str:
    if not scores:
        return "## Metrics\n\nNone: the run has no finished validation of these weights with ground truth."
    rows, protocols, is_short = [], dict[str, None](), False
    metrics = list(dict.fromkeys(name for _, part in scores for name in part.protocols))
    for dataset, part in scores:
        protocols.update(dict.fromkeys(f"- {name}: {line}" for name, line in part.protocols.items()))
        for method in part.methods:
            cells = [_describe_mean(part, method, metric) for metric in metrics]
            is_short |= len(part.images) < MIN_IMAGES
            rows.append([dataset, len(part.images), "this model" if method == GENERATOR else method, *cells])
    notes = ["Means over images, with 95% bootstrap intervals over images in brackets."]
    if is_short:
        notes.append(f"Fewer than {MIN_IMAGES} images have no interval.")
    table = _table(["data set", "images", "method", *metrics], rows)
    return "\n\n".join(["## Metrics", table, " ".join(notes), "How they are measured:", "\n".join(protocols)])


def _describe_mean(part: SetScores, method: str, metric: str) -> str:
    values = [scores[method][metric] for scores in part.images.values() if metric in scores.get(method, {})]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return "–"
    ends = bootstrap_interval(np.array(finite)) if len(finite) >= MIN_IMAGES else None
    interval = f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else ""
    left_out = "" if len(finite) == len(values) else f" ({len(finite)} of {len(values)})"
    return f"{fmean(finite):.4g}{interval}{left_out}"


def _describe_course(curves: Path | None, file: Path) -> str:
    if curves is None:
        return ""
    return f"## Training\n\n![Losses and metrics over iterations]({_link(curves, file)})\n\nFrom the run's log."


def _describe_examples(examples: Sequence[Path], file: Path) -> str:
    if not examples:
        return ""
    shown = [f"![{path.stem.removesuffix('_comparison')}]({_link(path, file)})" for path in examples]
    text = "From left to right: the input, bicubic interpolation, this model, the ground truth."
    return "\n\n".join(["## Examples", text, *shown])


def _describe_recipe(run: CardRun, kept: Path, file: Path) -> str:
    """The options that are not at their defaults."""
    try:
        options = load_options(run.option_file).typed
        given = dict(list_differing(options))
        intro = "Options that differ from their defaults, in today's form"
    except UserError as error:
        given = dict(list_differing(dict(run.options)))
        intro = f"All options as they are written, as this version does not read them ({first_line(error)})"
    rows = [(f"`{path}`", f"`{value}`") for path, value in given.items() if not _ELSEWHERE.match(path)]
    text = f"{intro}; the whole file: [{kept.name}]({_link(kept, file)})."
    return f"## Recipe\n\n{text}\n\n{_table(['option', 'value'], rows)}"


def _describe_data(data: Sequence[Listing]) -> str:
    if not data:
        return ""
    rows = []
    for option, path, images, size, digest in data:
        is_here = images is not None
        known = [f"{images:,}", sizeof_fmt(size), f"`{digest}`"] if is_here else ["not on this machine", "", ""]
        rows.append([f"`{option}`", f"`{path}`", *known])
    text = (
        "A digest is the beginning of a SHA-256: of the names and sizes of all files in a folder, not of their pixels; "
        "of the content of a single file, whose lines stand under images. All is as it was when this card was written."
    )
    return f"## Data\n\n{_table(['option', 'place', 'images', 'size', 'digest'], rows)}\n\n{text}"


def _describe_origin(run: CardRun) -> str:
    import numpy
    import torch

    today = f"basicsr {__version__}, Python {platform.python_version()}, PyTorch {torch.__version__}"
    rows = [("commit of the source tree that wrote this card", run.facts.get("commit", "none: an installed package"))]
    rows += [("versions that wrote this card", f"{today}, NumPy {numpy.__version__}")]
    rows += [("versions that trained", line) for line in _read_versions(run.folder)]
    return f"## Origin\n\n{_table(['', ''], rows)}"


def _read_versions(folder: Path) -> list[str]:
    """What the first log says of versions and devices; nothing without a log of ours."""
    for log in sorted(folder.glob("train_*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[:10]
        found = [
            re.sub(r"^.* INFO: ", "", line) for line in lines if re.search(r"\b(basicsr|Python|PyTorch|CUDA): ", line)
        ]
        if found:
            return ["; ".join(found)]
    return []


# --- options ----------------------------------------------------------------------------------------------------------


def list_differing(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Options that are given and are not at their defaults, by their dotted paths; learning rates always.

    Args:
        value: Typed options, a part, a mapping, or a plain value.
        path: Where it stands.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = [name for name in value.model_fields_set if extra_of(fields[name], "unused") != DERIVED]
        given = {name: getattr(value, name) for name in fields if name in kept}
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in given}
    elif isinstance(value, Part):
        given = {**value.arguments, **value.settings}
        declared = {} if takes_block(value.constructor) else fields_of(declare(value.constructor))
        defaults = {name: item.get_default(call_default_factory=True) for name, item in declared.items()}
        yield f"{path}.type", value.type
    elif isinstance(value, Mapping):
        given, defaults = {str(key): item for key, item in value.items()}, {}
    else:
        yield path, value
        return
    for name, item in given.items():
        default = defaults.get(name, PydanticUndefined)
        is_default = type(item) is type(default) and item == default and name != "lr"
        if item is not None and not is_default:
            yield from list_differing(item, f"{path}.{name}".strip("."))
