"""What is known of weights, as texts for the metadata of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from basicsr.analysis.generators import find_network, find_options
from basicsr.analysis.images import digest_file
from basicsr.evaluation.dataset_images import GENERATOR
from basicsr.evaluation.results import Evaluation
from basicsr.utils.source_tree import find_commit
from basicsr.weights.files import DIGEST_KEY, read_metadata


def describe_weights(path: Path, state: Mapping[str, Tensor], key: str) -> dict[str, str]:
    """What is known of weights, for the metadata of a file: texts, of which structured ones are JSON.

    Args:
        path: Their file. Option file and ``summary.json`` are those of the run that it lies in.
        state: The tensors.
        key: Their entry.

    Returns:
        ``architecture`` (the ``network_g`` block), ``scale``, ``recipe`` (the run's name and model type),
        ``commit`` (of the source tree that is at work), ``metrics`` (means of the run's last validation, of its latest
        weights), ``entry`` and ``source``;
        what is not known is absent.
    """
    options = find_options(path) or {}
    block = find_network(path, state, options or None)
    scale = options.get("scale") or (block or {}).get("scale") or (block or {}).get("upscale")
    recipe = {name: options[name] for name in ("name", "model_type") if options.get(name)}
    facts = {
        "architecture": block and json.dumps(block),
        "scale": scale and str(scale),
        "recipe": recipe and json.dumps(recipe),
        "commit": options and find_commit(),
        "metrics": options and path.stem.endswith("_latest") and _read_metrics(path.parent.parent / "summary.json"),
        "entry": key,
        "source": json.dumps({"file": path.name, "digest": digest_file(path)}),
    }
    # Of another file these would not be true.
    said = {name: text for name, text in read_metadata(path).items() if name not in (DIGEST_KEY, "format")}
    return {**said, **{name: str(value) for name, value in facts.items() if value}}


def _read_metrics(summary: Path) -> str:
    """Means of a run's last validation, as JSON; empty where there are none."""
    try:
        images = json.loads(summary.read_text(encoding="utf-8"))
        means = Evaluation("", images).means(GENERATOR)
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
    return json.dumps(means) if means else ""
