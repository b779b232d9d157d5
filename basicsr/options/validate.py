"""Validates a whole option file: the frame, every ``type:`` block, what has to fit together, and named files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.options.blocks import check_blocks, fill_registries
from basicsr.options.consistency import check_consistency, check_weights
from basicsr.options.dataset_blocks import check_dataset, check_datasets
from basicsr.options.findings import Findings
from basicsr.options.frame import check_frame
from basicsr.options.leftovers import drop_leftovers
from basicsr.options.load import LoadedOptions
from basicsr.options.schema import DegradationKeys
from basicsr.options.signature import is_own
from basicsr.utils.errors import Problem
from basicsr.utils.registry import MODEL_REGISTRY


def validate_options(
    loaded: LoadedOptions | Mapping[str, Any],
    *,
    is_train: bool = True,
    with_files: bool = True,
    problems: list[Problem] | None = None,
) -> tuple[dict[str, Any], Findings]:
    """Finds everything that is wrong with an option file, without building anything that takes memory or time.

    Args:
        loaded: The file's content, or plain nested data.
        is_train: Whether it is to be trained, or tested.
        with_files: Whether to look for the data and weights that it names.
        problems: Mistakes that are known already, to be reported with the others.

    Returns:
        The options, plain and mutable, with defaults filled in and numbers in the types that are asked for; and what
        was found. Where something was found, the options are not complete.
    """
    if not isinstance(loaded, LoadedOptions):
        loaded = LoadedOptions(dict(loaded))
    fill_registries()
    findings = Findings(problems=[*loaded.problems, *(problems or [])])
    data = dict(loaded.data)
    for section in ("path", "logger", *(() if is_train else ("val",))):
        if data.get(section) is None:
            data[section] = {}
    kind = data.get("model_type")
    model = MODEL_REGISTRY.get(kind) if isinstance(kind, str) and kind in MODEL_REGISTRY else None
    options = check_frame(data, findings, is_closed=model is None or is_own(model))
    options["is_train"] = is_train
    _check_model_type(options, findings)
    _check_required(options, findings, is_train=is_train, needs_scale=model is None or is_own(model))
    if is_train:
        drop_leftovers(options, model, findings, loaded.data)
    check_blocks(options, findings)
    check_datasets(options, findings, is_train=is_train, with_files=with_files)
    check_consistency(options, findings, is_train=is_train)
    check_weights(options, findings, is_train=is_train, with_files=with_files)
    if model is not None:
        _ask_model(model, options, findings)
    findings.sort(loaded.data, loaded.lines)
    return options, findings


def validate_dataset_file(
    loaded: LoadedOptions | Mapping[str, Any], *, with_files: bool = True
) -> tuple[dict[str, Any], Findings]:
    """Validates a file that is one data set's block, such as ``options/DIV2K_valid.yml``."""
    if not isinstance(loaded, LoadedOptions):
        loaded = LoadedOptions(dict(loaded))
    fill_registries()
    findings = Findings(problems=list(loaded.problems))
    block = {"phase": "test"} | loaded.data
    options = check_dataset("", block, findings, frame={"manual_seed": 0}, with_files=with_files)
    findings.sort(loaded.data, loaded.lines)
    return options, findings


def _check_model_type(options: Mapping[str, Any], findings: Findings) -> None:
    kind = options.get("model_type")
    if kind is not None and kind not in MODEL_REGISTRY:
        findings.problems.append(Problem("model_type", MODEL_REGISTRY.explain_missing(kind)))


def _check_required(options: Mapping[str, Any], findings: Findings, *, is_train: bool, needs_scale: bool) -> None:
    required = ["name", "model_type", "datasets"] + (["scale", "network_g"] if needs_scale else [])
    if is_train:
        required += ["train", "train.total_iter", "datasets.train"]
    for path in required:
        holder: Any = options
        *parents, key = path.split(".")
        for parent in parents:
            holder = holder.get(parent) or {}
        parent_missing = bool(parents) and not options.get(parents[0])
        if holder.get(key) in (None, {}) and not parent_missing and not findings.blames(path, inside=True):
            findings.problems.append(Problem(path, f"missing; {'training' if is_train else 'testing'} needs it"))


def _ask_model(model: Any, options: dict[str, Any], findings: Findings) -> None:
    """Lets the model type say what it needs; where the file is wrong already, it may not be able to."""
    check_options = getattr(model, "check_options", None)
    if check_options is None:
        return
    try:
        found = check_options(options)
    except Exception:
        if not findings.problems:
            raise
        return
    for problem in found:
        follows = problem.path == "degradation" and any(findings.blames(key) for key in DegradationKeys.model_fields)
        if not follows and not findings.blames(problem.path, inside=True):
            findings.problems.append(problem)
