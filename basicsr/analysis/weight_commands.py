"""The commands that write weights: in another format for other programs, and between two networks.

Their flags are built without PyTorch; what does the work is imported when a command runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.analysis.arguments import print_files, print_result
from basicsr.utils.errors import TrainingError, UserError, first_line

FORMATS = (".safetensors", ".pth")
_MODEL = "a weights file, the name of published weights, or a run: its folder or name"


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--param_key", metavar="KEY", help="entry to take, params or params_ema; default: averaged ones"
    )
    text = f"file to write, {' or '.join(FORMATS)}"
    parser.add_argument("-o", "--output", required=True, metavar="FILE", type=Path, help=text)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_export`."""
    parser.add_argument("model", metavar="MODEL", help=f"{_MODEL}, whose latest generator is taken")
    _add_common_arguments(parser)


def add_interpolate_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_interpolate`."""
    parser.add_argument("models", nargs=2, metavar="MODEL", help=f"{_MODEL}; two of one architecture")
    parser.add_argument("--alpha", type=float, default=0.5, metavar="A", help="share of the second, from 0 to 1")
    _add_common_arguments(parser)


def run_export(args: argparse.Namespace) -> int:
    """Writes one network's weights for other programs; returns the exit status."""
    from basicsr.analysis.generators import find_weights_file
    from basicsr.weights import read_entry

    _check_output(args.output)
    path = find_weights_file(args.model)
    state, key = read_entry(path, args.param_key, prefer="params_ema")
    _write(args.output, state, key or "params", describe_weights(path, state, key))
    return 0


def run_interpolate(args: argparse.Namespace) -> int:
    """Writes the network between two; returns the exit status."""
    from basicsr.analysis.generators import find_weights_file
    from basicsr.weights import read_entry
    from basicsr.weights.interpolation import interpolate

    _check_output(args.output)
    paths = [find_weights_file(model) for model in args.models]
    entries = [read_entry(path, args.param_key, prefer="params_ema") for path in paths]
    shares = list(zip((1 - args.alpha, args.alpha), paths, entries, strict=True))
    state = interpolate(entries[0].state, entries[1].state, args.alpha, (str(paths[0]), str(paths[1])))
    said = "; ".join(f"{share:g} of {path} ({entry.key or 'bare'})" for share, path, entry in shares)
    described = describe_weights(paths[0], entries[0].state, entries[0].key)
    kept = {name: text for name, text in described.items() if name in ("architecture", "scale")}
    _write(args.output, state, entries[0].key or "params", {**kept, "interpolation": said})
    print_result(said)
    return 0


def describe_weights(path: Path, state: Mapping[str, Any], key: str) -> dict[str, str]:
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
    from basicsr.analysis.generators import find_network, find_options
    from basicsr.analysis.images import digest_file
    from basicsr.weights.files import read_metadata

    options = find_options(path) or {}
    block = find_network(path, state, options or None)
    scale = options.get("scale") or (block or {}).get("scale") or (block or {}).get("upscale")
    recipe = {name: options[name] for name in ("name", "model_type") if options.get(name)}
    facts = {
        "architecture": block and json.dumps(block),
        "scale": scale and str(scale),
        "recipe": recipe and json.dumps(recipe),
        "commit": options and _find_commit(),
        "metrics": options and path.stem.endswith("_latest") and _read_metrics(path.parent.parent / "summary.json"),
        "entry": key,
        "source": json.dumps({"file": path.name, "digest": digest_file(path)}),
    }
    return {**read_metadata(path), **{name: str(value) for name, value in facts.items() if value}}


def _check_output(path: Path) -> None:
    if path.suffix not in FORMATS:
        raise UserError(f"-o {path}: expected a file that ends in {' or '.join(FORMATS)}")


def _write(path: Path, state: Mapping[str, Any], entry: str, metadata: Mapping[str, str]) -> None:
    from basicsr.weights.files import write_tensors

    try:
        write_tensors(state, path, metadata, entry)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise TrainingError(f"cannot write {path}: {first_line(error)}") from error
    print_files([path])


def _find_commit() -> str:
    """The commit of the source tree that this package is run from; empty where that is none."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _read_metrics(summary: Path) -> str:
    """Means of a run's last validation, as JSON; empty where there are none."""
    from basicsr.evaluation.dataset_images import GENERATOR
    from basicsr.evaluation.results import Evaluation

    try:
        images = json.loads(summary.read_text(encoding="utf-8"))
        means = Evaluation("", images).means(GENERATOR)
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
    return json.dumps(means) if means else ""
