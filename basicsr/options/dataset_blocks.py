"""Checks the blocks under ``datasets``: their options, and that the files that they name are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from basicsr.options.blocks import blame, find_type
from basicsr.options.findings import Findings
from basicsr.options.messages import explain_validation, join_path
from basicsr.options.signature import check_arguments
from basicsr.utils.errors import Problem
from basicsr.utils.registry import DATASET_REGISTRY

PHASES = ("train", "val", "test")
_FILE_OPTIONS = ("dataroot", "meta_info")


def check_datasets(options: dict[str, Any], findings: Findings, *, is_train: bool, with_files: bool) -> None:
    """Checks all data sets, and completes their blocks with what the frame knows: name, phase, scale and seed.

    Args:
        options: The frame's options; the blocks in ``datasets`` are replaced.
        findings: Where to report.
        is_train: Whether the file is trained; data sets that are then not used need not be there.
        with_files: Whether to look for files and folders.
    """
    datasets = options.get("datasets") or {}
    for key in list(datasets):
        path = f"datasets.{key}"
        phase = key.split("_")[0]
        if phase not in PHASES:
            message = "unknown key; data sets are called train, val, val_1 … or test_1 …"
            findings.problems.append(Problem(path, message))
            continue
        used = phase != "test" if is_train else phase != "train"
        datasets[key] = check_dataset(path, datasets[key], findings, frame=options, with_files=with_files and used)


def check_dataset(
    path: str, block: Mapping[str, Any], findings: Findings, *, frame: Mapping[str, Any], with_files: bool
) -> dict[str, Any]:
    """Checks one data set.

    Args:
        path: Where the block is, ``datasets.KEY``; an empty path for a file that is one data set's block.
        block: Its content.
        findings: Where to report.
        frame: Where ``scale`` and ``manual_seed`` come from.
        with_files: Whether to look for files and folders.

    Returns:
        The block, completed.
    """
    key = path.rpartition(".")[2]
    completed = {"name": key} | {k: expand_home(v) if k.startswith(_FILE_OPTIONS) else v for k, v in block.items()}
    _complete(path, completed, "phase", key.split("_")[0], findings)
    _complete(path, completed, "scale", frame.get("scale"), findings)
    _complete(path, completed, "seed", frame.get("manual_seed"), findings)
    constructor = find_type(path, block, DATASET_REGISTRY, findings)
    if constructor is None:
        return completed
    schema = getattr(constructor, "Options", None)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        # A class of other code: it gets the whole block, and knows its keys itself.
        arguments = {name: value for name, value in block.items() if name != "type"}
        findings.problems += check_arguments(constructor, arguments, path)[1]
        return completed
    known = {name: value for name, value in completed.items() if name in block or name in schema.model_fields}
    try:
        parsed = schema.model_validate(known)
    except ValidationError as error:
        for location, message in explain_validation(error, schema, known).items():
            findings.problems.append(Problem(join_path(path, *location), message))
        return completed
    completed |= parsed.model_dump(mode="json", by_alias=True, include=set(known), exclude_unset=True)
    messages = _ask(parsed, "find_conflicts")
    if with_files and not _find_missing_files(path, completed, findings):
        messages += _ask(constructor, "check_files", parsed)
    findings.problems += [Problem(blame(path, completed, message), message) for message in dict.fromkeys(messages)]
    return completed


def expand_home(value: Any) -> Any:
    """Writes out a leading ``~`` in a path or in each of a list of paths; other values are left."""
    if isinstance(value, list):
        return [expand_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _ask(subject: Any, method: str, *arguments: Any) -> list[str]:
    """What a data set says about its options or files, if it has that method."""
    ask = getattr(subject, method, None)
    return list(ask(*arguments)) if ask else []


def _complete(path: str, block: dict[str, Any], key: str, value: Any, findings: Findings) -> None:
    """Puts the frame's value into a block, which may state it too but not contradict it."""
    if value is None or value == "":
        return
    given = block.setdefault(key, value)
    if key == "scale" and given != value:
        findings.problems.append(Problem(join_path(path, key), f"is {given}, but the file's scale is {value}"))


def _find_missing_files(path: str, block: Mapping[str, Any], findings: Findings) -> bool:
    """Reports roots and lists that are not there; a data set that makes its files on first use needs none."""
    if block.get("prepare"):
        return False
    missing = []
    for name, value in block.items():
        if not name.startswith(_FILE_OPTIONS):
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, str) and not Path(item).exists():
                missing.append(
                    Problem(join_path(path, name), f"there is no {item}; put the data there or change the path")
                )
    findings.missing += missing
    return bool(missing)
