"""The reference of all options and their JSON schema, generated from the model and from what is registered.

``basicsr options --write docs/options.md`` renews the generated parts of the page.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from basicsr.adversarial.critic import CriticOptions
from basicsr.data.dataset_options import DatasetOptions
from basicsr.evaluation.validation import MetricOptions, ValOptions
from basicsr.models.options import FlatRegions, PathOptions, TrainOptions
from basicsr.models.presets import PRESETS, PUBLISHED_KEYS
from basicsr.options import schema
from basicsr.options.validate import fill_registries
from basicsr.utils import registry as registries
from basicsr.utils.fields import Accepts, describe_type, extra_of
from basicsr.utils.parts import PART_MARK, declare, declares_any, is_own, takes_block
from basicsr.utils.registry import DATASET_REGISTRY, Registry

SCHEMA_FILE = Path(__file__).with_name("schema.json")
"""The schema of this package's own parts, which shipped option files name in their first line."""

_PART = re.compile(r"(<!-- generated: (?P<name>[\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}


REGISTRIES: dict[str, tuple[Registry, tuple[str, ...]]] = {
    "networks": (registries.ARCH_REGISTRY, ()),
    "degradations": (registries.DEGRADATION_REGISTRY, ("scale",)),
    "losses": (registries.LOSS_REGISTRY, ()),
    "objectives": (registries.OBJECTIVE_REGISTRY, ()),
    "views": (registries.VIEW_REGISTRY, ()),
    "optimizers": (registries.OPTIMIZER_REGISTRY, ("params",)),
    "schedulers": (registries.SCHEDULER_REGISTRY, ("optimizer",)),
    "metrics": (registries.METRIC_REGISTRY, ("img", "img2")),
}
"""Kinds of part by the name that the page and ``basicsr options`` give them, with what the frame supplies."""

SECTIONS: dict[str, type[BaseModel]] = {
    "general": schema.RunOptions,
    "critics": CriticOptions,
    "path": PathOptions,
    "train": TrainOptions,
    "train.flat_regions": FlatRegions,
    "val": ValOptions,
    "val.metrics": MetricOptions,
    "logger": schema.LoggerOptions,
    "logger.wandb": schema.Wandb,
    "dist_params": schema.DistParams,
}


def renew_page(text: str) -> str:
    """Renews the parts of a page between ``<!-- generated: NAME -->`` and ``<!-- end -->``.

    Raises:
        KeyError: If a part has a name that nothing generates.
    """
    return _PART.sub(lambda match: f"{match[1]}{write_part(match['name'])}{match[3]}", text)


def list_parts() -> list[str]:
    """Names that :func:`write_part` knows."""
    return [*SECTIONS, *REGISTRIES, "datasets", "models", "published"]


def write_part(name: str, *, only_own: bool = True) -> str:
    """One part of the reference as Markdown.

    Args:
        name: A section, a kind of part, ``datasets``, ``models`` or ``published``.
        only_own: Leave out what other packages have registered.

    Raises:
        KeyError: If nothing has that name.
    """
    fill_registries()
    if name in SECTIONS:
        return _tabulate(SECTIONS[name])
    if name in REGISTRIES:
        return "\n".join(_list_arguments(*REGISTRIES[name], only_own=only_own))
    return {"datasets": _list_datasets, "models": _list_models, "published": _list_published}[name](only_own)


def _tabulate(model: type[BaseModel], names: Iterable[str] | None = None, supplied: tuple[str, ...] = ()) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        if (names is not None and name not in names) or key in supplied:
            continue
        meaning, reason, needed = (
            (field.description or "").replace("\n", " "),
            extra_of(field, "unused"),
            extra_of(field, "needs"),
        )
        meaning += f" *No effect: {reason}.*" if reason else f" *Needs {needed}.*" if needed else ""
        cells = (f"`{key}`", describe_values(field.annotation, field.metadata), _describe_default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def describe_values(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What values a type takes, in a few words: ``integer > 0``, ``[low, high]``, ``v1, v2``.

    Args:
        annotation: The type.
        metadata: What ``Annotated`` would add to it, where that has been taken apart.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return describe_values(get_args(annotation)[0], [*annotation.__metadata__, *metadata])
    told = [item.text for item in metadata if isinstance(item, Accepts)]
    bounds = ", ".join(_list_bounds(metadata))
    return told[0] if told else f"{_describe_type(annotation)} {bounds}".rstrip()


def _describe_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin in (Union, types.UnionType):
        kinds = [describe_values(item) for item in arguments if item is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is dict or (inspect.isclass(annotation) and not annotation.__module__.startswith("builtins")):
        return "block"
    if origin is list and get_origin(arguments[0]) is Literal:
        return f"list of {describe_values(arguments[0])}"
    return re.sub(r"^an? ", "", describe_type(annotation))


def _list_bounds(metadata: Iterable[Any]) -> list[str]:
    bounds = []
    for item in metadata:
        for part in [item, *getattr(item, "metadata", ())]:
            for name, text in _BOUNDS.items():
                if getattr(part, name, None) is not None:
                    bounds.append(text.format(f"{getattr(part, name):g}"))
    return list(dict.fromkeys(bounds))


def _describe_default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ({}, []) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    shown = list(default) if isinstance(default, tuple) else getattr(default, "__name__", default)
    return f"`{shown}`"


def _list_arguments(registry: Registry, supplied: tuple[str, ...], only_own: bool) -> Iterator[str]:
    """A heading with the first line of its docstring and a table of arguments for each registered name."""
    for name, constructor in sorted(registry.items()):
        if only_own and not is_own(constructor):
            continue
        summary = (inspect.getdoc(constructor) or "").split("\n\n")[0].replace("\n", " ")
        yield f"\n`{name}`: {summary}\n"
        if not takes_block(constructor):
            table = _tabulate(declare(constructor, supplied))
            yield table if table.count("\n") > 2 else "No options.\n"


def _list_models(only_own: bool) -> str:
    lines = ["| model_type | degradation | objective | critics |", "|---|---|---|---|"]
    for name, preset in sorted(PRESETS.items()):
        parts = [preset.get(key, {}).get("type", "–") for key in ("degradation", "objective")]
        critics = ", ".join(f"`{critic}`" for critic in preset.get("critics", ())) or "–"
        lines.append(f"| `{name}` | {parts[0]} | {parts[1]} | {critics} |")
    return "\n".join(lines) + "\n"


def _list_published(only_own: bool) -> str:
    lines = ["| published key | today's key |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{key}` | `{target}` |" for key, target in PUBLISHED_KEYS)]) + "\n"


def _list_datasets(only_own: bool) -> str:
    sections = ["Every data set:\n", _tabulate(DatasetOptions)]
    for name, dataset in sorted(DATASET_REGISTRY.items()):
        if (only_own and not is_own(dataset)) or takes_block(dataset):
            continue
        model = declare(dataset)
        own = [key for key in model.model_fields if _is_new(model, key, DatasetOptions)]
        sections += [f"\n`{name}`, beside these:\n", _tabulate(model, own)]
    return "\n".join(sections)


def _is_new(model: type[BaseModel], key: str, base: type[BaseModel]) -> bool:
    ours, theirs = model.model_fields[key], base.model_fields.get(key)
    return theirs is None or (ours.description, ours.default) != (theirs.description, theirs.default)


# --- JSON schema ------------------------------------------------------------------------------------------------------


class _Generator(GenerateJsonSchema):
    """Leaves types that JSON does not know open, such as a network's norm layer."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def write_schema(*, only_own: bool = False) -> str:
    """The JSON schema of option files, published keys included, for editors that complete and check them.

    Args:
        only_own: Leave out what other packages have registered.
    """
    fill_registries()
    root = schema.RunOptions.model_json_schema(schema_generator=_Generator)
    kinds = {**REGISTRIES, "datasets": (DATASET_REGISTRY, ())}
    for registry, supplied in kinds.values():
        beside = MetricOptions if registry is registries.METRIC_REGISTRY else None
        names = [name for name, part in sorted(registry.items()) if is_own(part) or not only_own]
        root["$defs"][registry.name] = _describe_kind(root, registry, names, supplied, beside)
    _link_parts(root)
    for key, target in sorted(PUBLISHED_KEYS, key=lambda row: row[0].count(".")):  # outer keys first
        found = _find_property(root, target)
        if key == "train.gan_opt":
            found = copy.deepcopy(root["$defs"]["loss"])  # a copy, which holds keys that other losses do not take
        if found is not None:
            _add_property(root, key, {**found, "description": f"Published key of `{target}`."})
    # The published sections `degradation` and `losses` need no `type`.
    root["properties"]["degradation"] = {"anyOf": [root["properties"]["degradation"], {"type": "object"}]}
    root |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "basicsr option file"}
    return json.dumps(root, indent=1, ensure_ascii=False) + "\n"


def _describe_kind(
    root: dict[str, Any],
    registry: Registry,
    names: Iterable[str],
    supplied: tuple[str, ...],
    beside: type[BaseModel] | None,
) -> dict[str, Any]:
    """One alternative for each registered name, with that constructor's arguments."""
    alternatives = []
    for name in names:
        constructor = registry.get(name)
        properties: dict[str, Any] = {}
        required: list[str] = []
        is_open = takes_block(constructor)
        for model in (beside, None if is_open else declare(constructor, supplied)):
            if model is not None:
                inner = model.model_json_schema(schema_generator=_Generator)
                properties |= inner.get("properties", {})
                required += inner.get("required", [])
                root["$defs"] |= inner.get("$defs", {})
        alternatives.append(
            {
                "title": name,
                "description": (inspect.getdoc(constructor) or name).splitlines()[0],
                "type": "object",
                "properties": {**properties, "type": {"const": name}},
                "required": sorted({"type", *required}),
                "additionalProperties": is_open or declares_any(constructor),
            }
        )
    return {"type": "object", "required": ["type"], "oneOf": alternatives}


def _link_parts(node: Any) -> None:
    """Replaces marks of parts by references to their kind, and line breaks in descriptions."""
    if isinstance(node, dict) and PART_MARK in node:
        node["$ref"] = f"#/$defs/{node.pop(PART_MARK)}"
    if isinstance(node, dict) and isinstance(node.get("description"), str):
        node["description"] = node["description"].replace("\n", " ")
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _link_parts(inner)


def _resolve(root: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node and all alternatives in it, references followed."""
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    yield node
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in node.get(key, ()):
            yield from _resolve(root, inner)


def _find_property(root: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The schema of a place in today's form; of alternatives the first that has it."""
    nodes = [root]
    for part in path.split("."):
        found: list[dict[str, Any]] = []
        for node in (inner for outer in nodes for inner in _resolve(root, outer)):
            more = node.get("additionalProperties")
            if part in node.get("properties", {}):
                found.append(node["properties"][part])
            elif isinstance(more, dict):
                found.append(more)
        nodes = found
    return nodes[0] if nodes else None


def _add_property(root: dict[str, Any], path: str, value: dict[str, Any]) -> None:
    *parents, key = path.split(".")
    holder: dict[str, Any] | None = _find_property(root, ".".join(parents)) if parents else root
    for node in _resolve(root, holder) if holder else ():
        if "properties" in node:
            node["properties"].setdefault(key, value)
