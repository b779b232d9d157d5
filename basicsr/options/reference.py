"""The reference of all options and their JSON schema, generated from the model and from what is registered.

``basicsr options --write docs/options.md`` renews the generated parts of the page.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from basicsr.adversarial.critic import CriticOptions
from basicsr.data.dataset_options import DatasetOptions
from basicsr.evaluation.val_options import MetricOptions, ValOptions
from basicsr.models.options import FlatRegions, PathOptions, TrainOptions
from basicsr.models.presets import PRESETS, PUBLISHED_KEYS
from basicsr.options import schema
from basicsr.options.validate import fill_registries
from basicsr.utils import registry as registries
from basicsr.utils.fields import Accepts, describe_type, extra_of, fields_of
from basicsr.utils.parts import PART_MARK, declare, declares_any, takes_block
from basicsr.utils.registry import Registry, is_own

SCHEMA_FILE = Path(__file__).with_name("schema.json")
"""The schema of this package's own parts, which shipped option files name in their first line."""

_PART = re.compile(r"(<!-- generated: (?P<name>[\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
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
    "datasets": (registries.DATASET_REGISTRY, ()),
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
    return [*SECTIONS, *REGISTRIES, "models", "published"]


def write_part(name: str, *, only_own: bool = True) -> str:
    """One part of the reference as Markdown.

    Args:
        name: A section, a kind of part, ``models`` or ``published``.
        only_own: Leave out what other packages have registered.

    Raises:
        KeyError: If nothing has that name.
    """
    fill_registries()
    if name in SECTIONS:
        return _tabulate_options(fields_of(SECTIONS[name]))
    if name == "models":
        rows = []
        for model_type, preset in sorted(PRESETS.items()):
            parts = [preset.get(key, {}).get("type", "–") for key in ("degradation", "objective")]
            critics = ", ".join(f"`{critic}`" for critic in preset.get("critics", ())) or "–"
            rows.append((f"`{model_type}`", *parts, critics))
        return _tabulate(("model_type", "degradation", "objective", "critics"), rows)
    if name == "published":
        return _tabulate(("published key", "today's key"), [(f"`{old}`", f"`{new}`") for old, new in PUBLISHED_KEYS])

    registry, supplied = REGISTRIES[name]
    shared = fields_of(DatasetOptions) if name == "datasets" else {}
    lines = ["Every data set:\n", _tabulate_options(shared)] if shared else []
    for kind, constructor in sorted((registry if only_own else registry.list_all()).items()):
        if (only_own and not is_own(constructor)) or (shared and takes_block(constructor)):
            continue
        summary = (inspect.getdoc(constructor) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"\n`{kind}`, beside these:\n" if shared else f"\n`{kind}`: {summary}\n")
        if not takes_block(constructor):
            fields = fields_of(declare(constructor, supplied))
            # Of an option that every data set has, only another description or default is worth a line.
            known = {key: (field.description, field.default) for key, field in shared.items()}
            new = {key: item for key, item in fields.items() if known.get(key) != (item.description, item.default)}
            lines.append(_tabulate_options(new) if new or shared else "No options.\n")
    return "\n".join(lines)


def _tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _tabulate_options(fields: Mapping[str, FieldInfo]) -> str:
    """A table of keys with their values, defaults and descriptions."""
    rows = []
    for key, field in fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            shown = "needed"
        elif default is None or default in ({}, []) or isinstance(default, BaseModel):
            shown = ""
        else:
            plain = list(default) if isinstance(default, tuple) else getattr(default, "__name__", default)
            shown = f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"
        meaning = (field.description or "").replace("\n", " ")
        reason, needed = extra_of(field, "unused"), extra_of(field, "needs")
        meaning += f" *No effect: {reason}.*" if reason else f" *Needs {needed}.*" if needed else ""
        rows.append((f"`{key}`", describe_values(field.annotation, field.metadata), shown, meaning))
    return _tabulate(("key", "value", "default", "meaning"), rows)


def describe_values(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What values a type takes, in a few words: ``integer > 0``, ``[low, high]``, ``v1, v2``.

    Args:
        annotation: The type.
        metadata: What ``Annotated`` would add to it, where that has been taken apart.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    # Python 3.10 takes `Sequence[float]` for a class, and `Any` for none.
    is_class = origin is None and inspect.isclass(annotation)
    if origin is Annotated:
        return describe_values(arguments[0], [*annotation.__metadata__, *metadata])
    for item in metadata:
        if isinstance(item, Accepts):
            return item.text
    if origin is Literal:
        text = ", ".join(f"`{item}`" for item in arguments)
    elif origin in (Union, types.UnionType):
        text = " or ".join(dict.fromkeys(describe_values(item) for item in arguments if item is not type(None)))
    elif origin is dict or annotation is Any or (is_class and not annotation.__module__.startswith("builtins")):
        text = "block"
    elif origin is list and get_origin(arguments[0]) is Literal:
        text = f"list of {describe_values(arguments[0])}"
    else:
        text = re.sub(r"^an? ", "", describe_type(annotation))
    # Pydantic's own `Field` holds further constraints.
    constraints = [part for item in metadata for part in (item, *getattr(item, "metadata", ()))]
    bounds = [(shown, getattr(item, name, None)) for item in constraints for name, shown in _BOUNDS.items()]
    texts = dict.fromkeys(shown.format(f"{bound:g}") for shown, bound in bounds if bound is not None)
    return f"{text} {', '.join(texts)}".rstrip()


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
    # One alternative for each registered name, with that constructor's arguments.
    for registry, supplied in REGISTRIES.values():
        alternatives = []
        for name, constructor in sorted((registry if only_own else registry.list_all()).items()):
            if only_own and not is_own(constructor):
                continue
            is_open = takes_block(constructor)
            model = declare(constructor, supplied)
            if registry is registries.METRIC_REGISTRY:
                model = create_model(name, __base__=(model, MetricOptions))
            inner = {} if is_open else model.model_json_schema(schema_generator=_Generator)
            root["$defs"] |= inner.get("$defs", {})
            alternative = {
                "title": name,
                "description": (inspect.getdoc(constructor) or name).splitlines()[0],
                "type": "object",
                "properties": {**inner.get("properties", {}), "type": {"const": name}},
                "required": sorted({"type", *inner.get("required", ())}),
                "additionalProperties": is_open or declares_any(constructor),
            }
            alternatives.append(alternative)
        root["$defs"][registry.name] = {"type": "object", "required": ["type"], "oneOf": alternatives}
    _link_parts(root)

    # Published keys have the schema of the place that they stand for, outer keys first.
    for key, target in sorted(PUBLISHED_KEYS, key=lambda row: row[0].count(".")):
        # That of `train.gan_opt` is a copy, which holds keys that other losses do not take.
        found = copy.deepcopy(root["$defs"]["loss"]) if key == "train.gan_opt" else _find_property(root, target)
        outer, _, name = key.rpartition(".")
        for node in _resolve(root, _find_property(root, outer)):
            if "properties" in node:
                node["properties"].setdefault(name, {**found, "description": f"Published key of `{target}`."})
    # The published sections `degradation` and `losses` need no `type`.
    root["properties"]["degradation"] = {"anyOf": [root["properties"]["degradation"], {"type": "object"}]}
    root |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "basicsr option file"}
    return json.dumps(root, indent=1, ensure_ascii=False) + "\n"


def _link_parts(node: Any) -> None:
    """Replaces marks of parts by references to their kind, Python's bounds by JSON's, and line breaks in texts."""
    if isinstance(node, dict):
        if PART_MARK in node:
            node["$ref"] = f"#/$defs/{node.pop(PART_MARK)}"
        if isinstance(node.get("description"), str):
            node["description"] = node["description"].replace("\n", " ")
        # pydantic leaves the bounds of types with a validator as they are.
        for bound in [key for key in _KEYWORDS if isinstance(node.get(key), (int, float))]:
            node[_KEYWORDS[bound]] = node.pop(bound)
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


def _find_property(root: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of a place in today's form, the whole for an empty path; of alternatives the first that has it."""
    nodes = [root]
    for part in path.split(".") if path else ():
        found: list[dict[str, Any]] = []
        for node in (inner for outer in nodes for inner in _resolve(root, outer)):
            more = node.get("additionalProperties")
            if part in node.get("properties", {}):
                found.append(node["properties"][part])
            elif isinstance(more, dict):
                found.append(more)
        nodes = found
    return nodes[0]
