"""``basicsr export`` and ``basicsr interpolate``: files for other programs, and networks between two.

Their flags are built without PyTorch; what does the work is imported when a command runs.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from basicsr.analysis.arguments import list_given, positive_int, print_files, print_result
from basicsr.utils.errors import TrainingError, UserError, first_line

logger = logging.getLogger("basicsr")

WEIGHTS, PROGRAMS = (".safetensors", ".pth"), (".onnx", ".pt2")
PRECISIONS = ("fp32", "fp16")
DEFAULT_OPSET = 18

EXAMPLES = """examples:
  basicsr export experiments/NAME -o generator.onnx
  basicsr export experiments/NAME -o generator.safetensors
  basicsr export RealESRGAN_x4plus -o esrgan.onnx --precision fp16
  basicsr export faithful -o faithful.onnx --size 256 256"""

_MODEL = "a weights file, the name of built-in or published weights, or a run: its folder or name"


def _add_common_arguments(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    text = "entry to take, params or params_ema; default: averaged ones"
    parser.add_argument("--param_key", metavar="KEY", help=text)
    text = f"file to write: {_list(formats)}"
    parser.add_argument("-o", "--output", required=True, metavar="FILE", type=Path, help=text)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_export`."""
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="MODEL", help=f"{_MODEL}, whose latest generator is taken")
    _add_common_arguments(parser, WEIGHTS + PROGRAMS)
    group = parser.add_argument_group(f"programs ({', '.join(PROGRAMS)})")
    # Without defaults of argparse's: weights files refuse these flags.
    group.add_argument("--precision", choices=PRECISIONS, help="of weights and arithmetic; default: fp32")
    text = "take images of this size alone, for a network or a runtime that needs it; default: of any"
    group.add_argument("--size", nargs=2, type=positive_int, metavar=("H", "W"), help=text)
    text = f"version of ONNX's operators; default: {DEFAULT_OPSET}"
    group.add_argument("--opset", type=positive_int, metavar="N", help=text)


def add_interpolate_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_interpolate`."""
    parser.add_argument("models", nargs=2, metavar="MODEL", help=f"{_MODEL}; two of one architecture")
    parser.add_argument("--alpha", type=float, default=0.5, metavar="A", help="share of the second, from 0 to 1")
    _add_common_arguments(parser, WEIGHTS)


def run_export(args: argparse.Namespace) -> int:
    """Writes one network for other programs; returns the exit status."""
    _check_output(args, WEIGHTS + PROGRAMS)
    from basicsr.analysis.generators import find_weights_file
    from basicsr.exporting.description import describe_weights
    from basicsr.weights import read_entry

    path = find_weights_file(args.model)
    state, key = read_entry(path, args.param_key, prefer="params_ema")
    described = describe_weights(path, state, key)
    if args.output.suffix in WEIGHTS:
        _write_weights(args.output, state, key or "params", described)
    else:
        _export_program(args, path, described)
    return 0


def _export_program(args: argparse.Namespace, path: Path, described: Mapping[str, str]) -> None:
    from basicsr.analysis.generators import load_network
    from basicsr.exporting.program import Program, pack_program, write_program

    output = args.output
    pack, kind = pack_program, ""
    if output.suffix == ".onnx":
        from basicsr.exporting.onnx_file import pack_onnx, require_onnx

        require_onnx(output)  # before the network is loaded
        opset = args.opset or DEFAULT_OPSET
        pack, kind = partial(pack_onnx, opset=opset, label=str(output)), f"opset {opset}, "
    # A program runs on any device.
    network = load_network(path, param_key=args.param_key, channels_last=False)
    program = Program(network, args.precision or PRECISIONS[0], args.size and tuple(args.size), str(output))
    try:
        report = write_program(program, output, described, pack)
    except OSError as error:
        raise TrainingError(f"cannot write {output}: {first_line(error)}") from error
    logger.info("%s: %s%s", output, kind, report)
    print_files([output])


def run_interpolate(args: argparse.Namespace) -> int:
    """Writes the network between two; returns the exit status."""
    _check_output(args, WEIGHTS)
    from basicsr.analysis.generators import find_weights_file
    from basicsr.exporting.description import describe_weights
    from basicsr.weights import read_entry
    from basicsr.weights.interpolation import interpolate

    paths = [find_weights_file(model) for model in args.models]
    entries = [read_entry(path, args.param_key, prefer="params_ema") for path in paths]
    shares = list(zip((1 - args.alpha, args.alpha), paths, entries, strict=True))
    state = interpolate(entries[0].state, entries[1].state, args.alpha, (str(paths[0]), str(paths[1])))
    said = "; ".join(f"{share:g} of {path} ({entry.key or 'bare'})" for share, path, entry in shares)
    described = describe_weights(paths[0], entries[0].state, entries[0].key)
    kept = {name: text for name, text in described.items() if name in ("architecture", "scale")}
    _write_weights(args.output, state, entries[0].key or "params", {**kept, "interpolation": said})
    print_result(said)
    return 0


def _list(formats: tuple[str, ...]) -> str:
    return f"{', '.join(formats[:-1])} or {formats[-1]}"


def _check_output(args: argparse.Namespace, formats: tuple[str, ...]) -> None:
    """Refuses a file of another format, and flags that its format has no use for."""
    path = args.output
    if path.suffix not in formats:
        raise UserError(f"-o {path}: expected a file that ends in {_list(formats)}")
    idle = {".onnx": (), ".pt2": ("opset",)}.get(path.suffix, ("precision", "size", "opset"))
    if given := list_given(args, idle):
        raise UserError(f"-o {path}: a {path.suffix} file has no {', '.join(given)}; leave it out")


def _write_weights(path: Path, state: Mapping[str, Any], entry: str, metadata: Mapping[str, str]) -> None:
    from basicsr.weights.files import write_tensors

    try:
        write_tensors(state, path, metadata, entry)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise TrainingError(f"cannot write {path}: {first_line(error)}") from error
    print_files([path])
