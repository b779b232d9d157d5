"""Programs as ONNX files, run by onnxruntime before they are written."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from basicsr.exporting.program import INPUT, OUTPUT, silent
from basicsr.utils.errors import UserError, first_line

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_onnx(path: Path) -> None:
    """Raises UserError if a package is missing that writes or checks ONNX files, or PyTorch is too old."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        install = f"pip install {' '.join(missing)} (or, in a checkout, pip install -e '.[onnx]')"
        raise UserError(f"-o {path}: ONNX needs {', '.join(missing)}, which is not installed: {install}")
    # Older ones do not take a program, which needs no images to run on.
    if inspect.signature(torch.onnx.export).parameters["args"].default is inspect.Parameter.empty:
        raise UserError(
            f"-o {path}: ONNX needs PyTorch 2.5 or newer, here is {torch.__version__}; -o FILE.pt2 does not"
        )


def pack_onnx(
    traced: ExportedProgram, metadata: Mapping[str, str], opset: int, label: str
) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """A program as an ONNX file, and as onnxruntime runs it on the CPU.

    Args:
        traced: The program.
        metadata: What the file shall say of itself, beside the version.
        opset: Version of the operators.
        label: What messages call the file.

    Raises:
        UserError: If it cannot be written with that version, or not be run.
    """
    import onnx
    import onnxruntime

    failure = f"-o {label}: with --opset {opset}, "
    try:
        with silent():
            program: Any = torch.onnx.export(
                traced, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
        model = program.model_proto
    except Exception as error:  # whatever the exporter meets
        raise UserError(f"{failure}PyTorch cannot write it: {first_line(error)}; give another") from error
    found = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if found != opset:
        raise UserError(f"{failure}PyTorch cannot write it, but with {found}; give that")
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]  # traces of this machine's source files, larger than small networks
    _name_sides(graph)
    model.producer_name = "basicsr"
    onnx.helper.set_model_props(model, {**metadata, "opset": str(opset)})
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that neither package documents
        raise UserError(f"{failure}onnxruntime cannot run it: {first_line(error)}; give another") from error
    return content, lambda image: torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])


def _name_sides(graph: Any) -> None:
    """Calls free sides ``batch``, ``height`` and ``width`` (in steps of 8: ``8*height``) instead of ``s40``."""
    sides = graph.input[0].type.tensor_type.shape.dim
    named = [(side.dim_param, name) for side, name in zip(sides, ("batch", "", "height", "width")) if name]
    names = {symbol: name for text, name in named for symbol in re.findall(r"\bs\d+\b", text)}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = re.sub(r"\bs\d+\b", lambda found: names.get(found[0], found[0]), side.dim_param)
