"""Checks the insides of ``type:`` blocks: what each may contain is said by the class that it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, Literal

from pydantic import ValidationError

from basicsr.options.findings import Findings
from basicsr.options.frame import unused_reason
from basicsr.options.messages import explain_validation, join_path, show
from basicsr.options.schema import LOSSES, NETWORKS
from basicsr.options.schema_train import CriticOptions
from basicsr.options.signature import check_arguments
from basicsr.utils.errors import Problem
from basicsr.utils.fields import Section, option
from basicsr.utils.frozen import thaw
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    OPTIMIZER_REGISTRY,
    SCHEDULER_REGISTRY,
    Registry,
)

_PACKAGES = ("archs", "data", "losses", "metrics", "models")


class MetricOptions(Section):
    """Keys of a metric's block beside the metric's own arguments."""

    better: Literal["higher", "lower"] | None = option(None, "Which values are better; absent: the metric knows.")


def fill_registries() -> None:
    """Imports the packages that register what a ``type:`` may name.

    Option files are resolved late on purpose: at import, this package knows none of those that build on it.
    """
    for package in _PACKAGES:
        import_module(f"basicsr.{package}")


def check_blocks(options: dict[str, Any], findings: Findings) -> None:
    """Checks all blocks but data sets', and puts numbers in the types that constructors ask for.

    Args:
        options: The frame's options; the blocks in it are replaced.
        findings: Where to report.
    """
    for key in [key for key in options if is_network(key) and isinstance(options[key], Mapping)]:
        options[key] = check_network(key, options[key], findings)
    train = options.get("train") or {}
    for key in list(train):
        path, block = f"train.{key}", train[key]
        if not isinstance(block, Mapping):
            continue
        if key.startswith("optim_"):
            train[key] = check_block(path, block, OPTIMIZER_REGISTRY, findings, supplied=("params",))
        elif key.startswith("scheduler"):
            train[key] = check_block(path, block, SCHEDULER_REGISTRY, findings, supplied=("optimizer",))
        elif key == "gan_opt":
            train[key] = check_block(path, block, LOSS_REGISTRY, findings, beside=CriticOptions)
        elif key in LOSSES or (key.endswith("_opt") and block.get("type") in LOSS_REGISTRY):
            train[key] = check_block(path, block, LOSS_REGISTRY, findings)
    metrics = (options.get("val") or {}).get("metrics") or {}
    for name, block in metrics.items():
        path = f"val.metrics.{name}"
        images = ("img", "img2")
        metrics[name] = check_block(path, block, METRIC_REGISTRY, findings, supplied=images, beside=MetricOptions)


def is_network(key: str) -> bool:
    """Whether a top-level key holds a network."""
    return key in NETWORKS.values() or key.startswith(("network_", "net_"))


def check_block(
    path: str,
    block: Mapping[str, Any],
    registry: Registry,
    findings: Findings,
    *,
    supplied: Collection[str] = (),
    beside: type[Section] | None = None,
) -> dict[str, Any]:
    """Checks one block: its ``type`` against a registry, its other keys against the signature behind it.

    Args:
        path: Where the block is.
        block: Its content.
        registry: Where its ``type`` is looked up.
        findings: Where to report.
        supplied: Parameters that the frame passes itself.
        beside: Schema of keys that the block may have beside the constructor's arguments.

    Returns:
        The block with numbers in the types that were asked for.
    """
    constructor = find_type(path, block, registry, findings)
    if constructor is None:
        return dict(block)
    own = {key: value for key, value in block.items() if beside and key in beside.model_fields}
    if beside:
        own = _check_section(path, own, beside, findings)
    rest = {key: value for key, value in block.items() if key != "type" and not (beside and key in beside.model_fields)}
    known = list(beside.model_fields) if beside else []
    arguments, problems = check_arguments(constructor, rest, path, supplied, known)
    findings.problems += problems
    checked = {"type": block["type"]} | arguments | own
    return {key: checked[key] for key in [*block, *checked] if key in checked}


def find_type(path: str, block: Mapping[str, Any], registry: Registry, findings: Findings) -> Callable[..., Any] | None:
    """Looks up a block's ``type``; reports one that is missing or unknown and returns ``None``."""
    kind = block.get("type")
    if kind is None:
        known = ", ".join(sorted(registry.keys())) or "none"
        findings.problems.append(Problem(join_path(path, "type"), f"missing; known: {known}"))
    elif not isinstance(kind, str):
        findings.problems.append(Problem(join_path(path, "type"), f"expected text, got {show(kind)}"))
    elif kind not in registry:
        findings.problems.append(Problem(join_path(path, "type"), registry.explain_missing(kind)))
    else:
        return registry.get(kind)
    return None


def _check_section(path: str, data: dict[str, Any], schema: type[Section], findings: Findings) -> dict[str, Any]:
    try:
        section = schema.model_validate(data)
    except ValidationError as error:
        for location, message in explain_validation(error, schema, data).items():
            findings.problems.append(Problem(join_path(path, *location), message))
        return data
    checked = {}
    for key in data:
        reason = unused_reason(schema.model_fields[key])
        if reason:
            findings.notices.append(Problem(f"{path}.{key}", f"has no effect: {reason}"))
        elif getattr(section, key) is not None:
            checked[key] = getattr(section, key)
    return checked


def check_network(path: str, block: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Checks a network's block, then builds the network without memory, which tells whether its sizes fit together."""
    before = len(findings.problems)
    checked = check_block(path, block, ARCH_REGISTRY, findings)
    if len(findings.problems) == before:
        arguments = {key: value for key, value in checked.items() if key != "type"}
        message = find_construction_error(ARCH_REGISTRY.get(checked["type"]), arguments)
        if message:
            findings.problems.append(Problem(blame(path, arguments, message), message))
    return checked


def find_construction_error(constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> str | None:
    """What a network's constructor objects to, or ``None`` if it builds.

    The network is built on torch's ``meta`` device, where tensors have shapes and no content. One that cannot be built
    there (its constructor reads values) is built on the CPU.
    """
    import torch

    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device):
                constructor(**thaw(arguments))
            return None
        except (ValueError, AssertionError, KeyError, TypeError) as error:
            return str(error) or f"{type(error).__name__} in the constructor"
        except Exception as error:  # meta tensors refuse in several ways
            if device == "cpu":
                return f"{type(error).__name__}: {error}"
    return None


def blame(path: str, block: Mapping[str, Any], message: str) -> str:
    """The path of the key that a message names first, or the block's."""
    named = [word for word in re.findall(r"\w+", message) if word in block]
    return join_path(path, named[0]) if named else path
