"""Checks what no single block can see: sizes, scales and names that have to fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.options.findings import Findings
from basicsr.options.schema import NETWORKS
from basicsr.options.signature import read_signature
from basicsr.utils.errors import Problem
from basicsr.utils.registry import ARCH_REGISTRY

_SCALE_ARGUMENTS = ("scale", "upscale")
_SIZE_ARGUMENTS = ("img_size", "input_size")
_GRADIENT_MAP_PADDING = 2
"""SPSR's gradient maps are padded by two pixels, so that their critic sees larger images than the others."""


def check_consistency(options: Mapping[str, Any], findings: Findings, *, is_train: bool) -> None:
    """Checks sizes and scales.

    Args:
        options: The frame's options, as far as they are right.
        findings: Where to report; what is blamed there already is not blamed again.
        is_train: Whether the file is trained.
    """
    _check_generator_scale(options, findings)
    if is_train:
        _check_crop_sizes(options, findings)
        _check_critic_sizes(options, findings)
        _check_milestones(options, findings)
        _check_pool(options, findings)


def _report(findings: Findings, path: str, message: str) -> None:
    if not findings.blames(path):
        findings.problems.append(Problem(path, message))


def _crop_size(options: Mapping[str, Any]) -> tuple[str, Any]:
    """Where the side of the training crop is set, and what it is."""
    if options.get("gt_size") is not None:
        return "gt_size", options["gt_size"]
    block = (options.get("datasets") or {}).get("train") or {}
    return "datasets.train.gt_size", block.get("gt_size")


def _check_crop_sizes(options: Mapping[str, Any], findings: Findings) -> None:
    scale = options.get("scale")
    block = (options.get("datasets") or {}).get("train") or {}
    for path, size in (("gt_size", options.get("gt_size")), ("datasets.train.gt_size", block.get("gt_size"))):
        if isinstance(size, int) and isinstance(scale, int) and size % scale:
            near = max(1, round(size / scale)) * scale
            _report(findings, path, f"{size} is not divisible by scale {scale}; {near} would be")


def _check_generator_scale(options: Mapping[str, Any], findings: Findings) -> None:
    block = options.get("network_g") or {}
    scale = options.get("scale")
    name, value = _argument(block, _SCALE_ARGUMENTS)
    if name is None or not isinstance(value, int) or not isinstance(scale, int) or value == scale:
        return
    given = f"is {value}" if name in block else f"is {value} by default"
    _report(findings, f"network_g.{name}", f"{given}, but the file's scale is {scale}; set {name}: {scale}")


def _check_critic_sizes(options: Mapping[str, Any], findings: Findings) -> None:
    where, crop = _crop_size(options)
    if not isinstance(crop, int) or findings.blames(where):
        return
    for short, key in NETWORKS.items():
        block = options.get(key)
        if short == "g" or not block:
            continue
        name, value = _argument(block, _SIZE_ARGUMENTS)
        seen = crop + _GRADIENT_MAP_PADDING if short == "grad_d" else crop
        sides = list(value) if isinstance(value, (list, tuple)) else [value]
        if name is None or not all(isinstance(side, int) for side in sides) or set(sides) == {seen}:
            continue
        shown = "x".join(map(str, sides))
        given = f"is {shown}" if name in block else f"is {shown} by default"
        why = f"{where} is {crop}" + (f" and gradient maps are padded to {seen}" if seen != crop else "")
        _report(findings, f"{key}.{name}", f"{given}, but {why}; set {name}: {seen}")


def _argument(block: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str | None, Any]:
    """The first of ``names`` that a network's constructor takes, and the value that the block gives it."""
    kind = str(block.get("type"))
    if kind not in ARCH_REGISTRY:
        return None, None
    parameters = read_signature(ARCH_REGISTRY.get(kind)).parameters
    name = next((name for name in names if name in parameters), None)
    return name, block.get(name, parameters[name].default) if name else None


def _check_milestones(options: Mapping[str, Any], findings: Findings) -> None:
    train = options.get("train") or {}
    milestones = (train.get("scheduler") or {}).get("milestones")
    total = train.get("total_iter")
    if isinstance(milestones, list) and milestones and isinstance(total, int):
        numbers = [item for item in milestones if isinstance(item, int)]
        if numbers and min(numbers) > total:
            message = f"none is reached in {total} iterations, so the learning rate never falls"
            findings.notices.append(Problem("train.scheduler.milestones", message))


def _check_pool(options: Mapping[str, Any], findings: Findings) -> None:
    if options.get("queue_size") and (options.get("degradation") or {}).get("gate") == "sample":
        findings.notices.append(Problem("queue_size", "has no effect: with gate: sample a batch needs no pool"))


def check_weights(options: Mapping[str, Any], findings: Findings, *, is_train: bool, with_files: bool) -> None:
    """Checks that the weights and states that ``path`` names are for networks of this file, and that they are there."""
    for key, value in (options.get("path") or {}).items():
        is_state = key == "resume_state"
        if not isinstance(value, str) or not (is_state or key.startswith("pretrain_network_")):
            continue
        network = NETWORKS.get(key.removeprefix("pretrain_network_"))
        if not is_train and network != "network_g":
            continue
        if network is not None and not options.get(network):
            findings.notices.append(Problem(f"path.{key}", f"has no effect: there is no {network}"))
        elif with_files and not Path(value).expanduser().is_file():
            kind = "state" if is_state else "weights file"
            without = ", or set it to ~ to start without" if is_train else ""
            message = f"there is no {kind} {value}; put it there{', ' if without else ' or '}change the path{without}"
            findings.missing.append(Problem(f"path.{key}", message))
