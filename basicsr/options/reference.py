"""Writes the reference page of all options from the schema and from what is registered, so that it stays true.

``python -m basicsr.options.reference docs/options.md`` renews the generated parts of the page.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from basicsr.options import schema
from basicsr.options.blocks import MetricOptions, fill_registries
from basicsr.options.frame import unused_reason
from basicsr.options.messages import describe_type
from basicsr.options.schema_train import CriticOptions, Train
from basicsr.options.signature import is_own, read_signature
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.fields import Accepts, default_of
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    OPTIMIZER_REGISTRY,
    SCHEDULER_REGISTRY,
    Registry,
)

_PART = re.compile(r"(<!-- generated: (?P<name>[\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
_SUPPLIED = ("params", "optimizer", "img", "img2")


def renew_page(text: str) -> str:
    """Renews the parts of a page between ``<!-- generated: NAME -->`` and ``<!-- end -->``.

    Raises:
        KeyError: If a part has a name that nothing generates.
    """
    fill_registries()
    parts = _list_parts()
    return _PART.sub(lambda match: f"{match[1]}{parts[match['name']]()}{match[3]}", text)


def _list_parts() -> dict[str, Callable[[], str]]:
    degradation = list(schema.DegradationKeys.model_fields)
    frame = [name for name in schema.Frame.model_fields if name not in degradation]
    return {
        "general": lambda: _tabulate(schema.Frame, frame),
        "degradation": lambda: _tabulate(schema.Degradation),
        "path": lambda: _tabulate(schema.Path),
        "train": lambda: _tabulate(Train),
        "gan_opt": lambda: _tabulate(CriticOptions),
        "val": lambda: _tabulate(schema.Val),
        "val.tile": lambda: _tabulate(schema.Tile),
        "metrics": lambda: _tabulate(MetricOptions) + "\n" + _list_signatures(METRIC_REGISTRY),
        "logger": lambda: _tabulate(schema.Logger),
        "logger.wandb": lambda: _tabulate(schema.Wandb),
        "dist_params": lambda: _tabulate(schema.DistParams),
        "models": _list_models,
        "datasets": _list_datasets,
        "networks": lambda: _list_signatures(ARCH_REGISTRY),
        "losses": lambda: _list_signatures(LOSS_REGISTRY),
        "optimizers": lambda: _list_signatures(OPTIMIZER_REGISTRY),
        "schedulers": lambda: _list_signatures(SCHEDULER_REGISTRY),
    }


def _tabulate(model: type[BaseModel], names: Iterable[str] | None = None) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name in model.model_fields if names is None else names:
        field = model.model_fields[name]
        meaning = field.description or ""
        reason = unused_reason(field)
        if reason:
            meaning += f" *No effect: {reason}.*"
        cells = (f"`{name}`", describe_values(field.annotation, field.metadata), _describe_default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def describe_values(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What values a type takes, in a few words: ``integer > 0``, ``[low, high]``, ``v1, v2``.

    Args:
        annotation: The type.
        metadata: What ``Annotated`` would add to it, where that has been taken apart.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_values(arguments[0], [*annotation.__metadata__, *metadata])
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
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "block"
    if origin is dict:
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
    default = default_of(field)
    return "" if default is None or isinstance(default, BaseModel) else _show_default(default)


def _show_default(default: Any) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{list(default)}`" if isinstance(default, tuple) else f"`{default}`"


def _list_signatures(registry: Registry) -> str:
    lines = ["| type | arguments |", "|---|---|"]
    for name, constructor in sorted(registry.items()):
        if not is_own(constructor):
            continue
        parameters = read_signature(constructor, _SUPPLIED).parameters.values()
        arguments = ", ".join(_describe_parameter(parameter) for parameter in parameters)
        lines.append(f"| `{name}` | {arguments} |")
    return "\n".join(lines) + "\n"


def _describe_parameter(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return f"**`{parameter.name}`**"
    default = "~" if parameter.default is None else parameter.default
    default = getattr(default, "__name__", default)
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"`{parameter.name}: {list(shown) if isinstance(shown, tuple) else shown}`"


def _list_models() -> str:
    lines = ["| model_type | degradation | objective | critics |", "|---|---|---|---|"]
    for name, model in sorted(MODEL_REGISTRY.items()):
        recipe = getattr(model, "recipe", None)
        if not is_own(model) or recipe is None:
            continue
        critics = ", ".join(f"`{schema.NETWORKS[critic]}`" for critic in recipe.critics) or "–"
        lines.append(f"| `{name}` | {recipe.degradation} | {recipe.objective} | {critics} |")
    return "\n".join(lines) + "\n"


def _list_datasets() -> str:
    from basicsr.data.dataset_options import DatasetOptions

    sections = ["Every data set:\n", _tabulate(DatasetOptions)]
    for name, dataset in sorted(DATASET_REGISTRY.items()):
        model = getattr(dataset, "Options", None)
        if not is_own(dataset) or model is None:
            continue
        own = [key for key in model.model_fields if _is_new(model, key, DatasetOptions)]
        sections += [f"\n`{name}`, beside these:\n", _tabulate(model, own)]
    return "\n".join(sections)


def _is_new(model: type[BaseModel], key: str, base: type[BaseModel]) -> bool:
    ours, theirs = model.model_fields[key], base.model_fields.get(key)
    return theirs is None or (ours.description, ours.default) != (theirs.description, theirs.default)


def main(arguments: list[str]) -> None:
    """Renews the page that the command line names."""
    page = Path(arguments[0])
    atomic_write_text(renew_page(page.read_text(encoding="utf-8")), page)


if __name__ == "__main__":
    main(sys.argv[1:])
