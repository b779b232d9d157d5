"""Checks the frame of an option file against the closed schema, and fills in defaults."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from basicsr.options.findings import Findings
from basicsr.options.messages import Location, explain_validation, join_path, model_in
from basicsr.options.schema import Degradation, DegradationKeys, Frame, Tile
from basicsr.utils.errors import Problem
from basicsr.utils.fields import Section

_FOREIGN = "unknown here; read by the model type alone, if at all"


def check_frame(data: Mapping[str, Any], findings: Findings, *, is_closed: bool = True) -> dict[str, Any]:
    """Checks everything but the insides of ``type:`` blocks.

    Args:
        data: The file's content; it is not modified.
        findings: Where to report.
        is_closed: Whether an unknown key is a mistake. Models of other packages may read keys of their own, which are
            then kept and noted.

    Returns:
        The options that are right, in file order, with defaults: sections and blocks that are null are left out.
    """
    rest = _without_nulls(Frame, copy.deepcopy(dict(data)))
    foreign: dict[Location, Any] = {}
    frame = None
    while frame is None:
        try:
            frame = Frame.model_validate(rest)
        except ValidationError as error:
            for location, message in explain_validation(error, Frame, rest).items():
                value = _remove(rest, location)
                if message.startswith("unknown key") and not is_closed:
                    foreign[location] = value
                    findings.notices.append(Problem(join_path(*location), _FOREIGN))
                else:
                    findings.problems.append(Problem(join_path(*location), message))
    findings.notices += _find_unused(Frame, rest)
    options = _typed(rest, frame)
    _flatten_tile(options)
    _merge_degradation(options, findings)
    for location, value in foreign.items():
        _insert(options, location, value)
    return options


def _without_nulls(schema: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """Leaves out keys that are null where that is no value of theirs; they are then absent, and take their default."""
    kept = {}
    for key, value in data.items():
        field = schema.model_fields.get(key)
        inner = model_in(field.annotation) if field else None
        if value is None and field is not None and field.default is not None and not _allows_null(field):
            continue
        kept[key] = _without_nulls(inner, value) if inner and isinstance(value, dict) else value
    return kept


def _allows_null(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _find_unused(schema: type[BaseModel], data: Mapping[str, Any], prefix: str = "") -> list[Problem]:
    """Notices for keys that are known and have no effect."""
    notices = []
    for key, value in data.items():
        field = schema.model_fields[key]
        reason = unused_reason(field)
        inner = model_in(field.annotation)
        if reason and value is not None:
            notices.append(Problem(f"{prefix}{key}", f"has no effect: {reason}"))
        elif inner and isinstance(value, Mapping):
            notices += _find_unused(inner, value, f"{prefix}{key}.")
    return notices


def unused_reason(field: FieldInfo) -> str | None:
    """Why a key has no effect, or ``None`` for a key that has one."""
    extra = field.json_schema_extra
    return str(extra["unused"]) if isinstance(extra, dict) and extra.get("unused") else None


def _typed(data: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """The values of a section as the schema understood them, in file order, then its defaults."""
    options: dict[str, Any] = {}
    for key, raw in data.items():
        value = getattr(section, key)
        field = type(section).model_fields[key]
        if unused_reason(field) or (value is None and _is_block(field)):
            continue
        if isinstance(value, Section) and isinstance(raw, Mapping):
            value = _typed(raw, value)
        elif key in ("datasets", "metrics") and value is not None:
            value = {name: block for name, block in value.items() if block is not None}
        options[key] = value
    for key in type(section).model_fields:
        value = getattr(section, key)
        if key not in data and value is not None:
            options[key] = value
    return options


def _is_block(field: FieldInfo) -> bool:
    return model_in(field.annotation) is not None or "dict" in str(field.annotation)


def _flatten_tile(options: dict[str, Any]) -> None:
    """Writes ``val.tile: {size, overlap}`` as ``val.tile`` and ``val.tile_overlap``."""
    val = options.get("val", {})
    tile = val.get("tile")
    if isinstance(tile, Tile):
        tile = {"size": tile.size, "overlap": tile.overlap}
    if isinstance(tile, dict):
        val["tile"] = tile.get("size")
        if tile.get("overlap") is not None:
            val["tile_overlap"] = tile["overlap"]


def _merge_degradation(options: dict[str, Any], findings: Findings) -> None:
    """Lets a degradation key stand at the top level or in ``degradation``, and be read from either."""
    section = dict(options.get("degradation") or {})
    for key in DegradationKeys.model_fields:
        top, inner = options.get(key), section.get(key)
        if top is not None and inner is not None and top != inner:
            message = f"is {inner} here and {top} at the top level; keep one of them"
            findings.problems.append(Problem(f"degradation.{key}", message))
            del section[key]
    merged = {k: options[k] for k in DegradationKeys.model_fields if options.get(k) is not None} | section
    if merged:
        options["degradation"] = {key: merged[key] for key in Degradation.model_fields if key in merged}
        options.update({key: value for key, value in merged.items() if key != "gate"})


def _remove(data: dict[str, Any], location: Location) -> Any:
    """Takes out what is at a place; a wrong item takes its whole list with it."""
    holder: Any = data
    for part in location[:-1]:
        if isinstance(holder[part], list):
            return holder.pop(part)
        holder = holder[part]
    return holder.pop(location[-1], None)


def _insert(options: dict[str, Any], location: Location, value: Any) -> None:
    *parents, key = map(str, location)
    for parent in parents:
        options = options.setdefault(parent, {})
    options[key] = value
