"""Validation of a whole option file: every block, what has to fit together, and the files that it names."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, get_origin

from pydantic import ValidationError

from basicsr.models.options import PASSING
from basicsr.models.presets import PUBLISHED_KEYS, take_at, translate
from basicsr.options.checks import (
    check_files,
    check_foreign_blocks,
    check_unregistered,
    find_missing_keys,
    find_notices,
    try_parts,
)
from basicsr.options.findings import Findings
from basicsr.options.load import LoadedOptions
from basicsr.options.schema import PHASES, RunOptions, complete_datasets
from basicsr.utils.errors import Problem
from basicsr.utils.fields import (
    FOREIGN,
    Location,
    Section,
    drop_zero_fractions,
    extra_of,
    join_path,
)
from basicsr.utils.parts import Part
from basicsr.utils.registry import MODEL_REGISTRY, is_own


def fill_registries() -> None:
    """Imports the packages that register what a ``type:`` may name."""
    for package in ("archs", "data", "losses", "metrics", "models"):
        import_module(f"basicsr.{package}")


def validate_options(
    loaded: LoadedOptions | Mapping[str, Any],
    *,
    is_train: bool = True,
    with_files: bool = True,
    fetches: bool = True,
    builds: bool = False,
    strict: bool = False,
) -> tuple[RunOptions, Findings]:
    """Finds everything that is wrong with an option file.

    Args:
        loaded: The file's content, or plain nested data.
        is_train: Whether it is to be trained, or tested.
        with_files: Whether to look for the data and weights that it names.
        fetches: Whether a run follows that fetches the weights that it can; they are missing otherwise.
        builds: Whether a run follows: networks are then built once, seeded, and kept for the model. They are built
            without memory otherwise.
        strict: Whether keys that nothing of this package reads are mistakes.

    Returns:
        The typed options, and what was found. Where something was found, the options are not complete.
    """
    if not isinstance(loaded, LoadedOptions):
        loaded = LoadedOptions(dict(loaded))
    fill_registries()

    # Put published keys where today's form has them, on top of what the model type stands for.
    written = drop_zero_fractions(loaded.data)
    kind = written.get("model_type")
    model = MODEL_REGISTRY.get(kind) if isinstance(kind, str) and kind in MODEL_REGISTRY else None
    is_ours = model is None or is_own(model)
    found = Findings(**vars(translate(written, getattr(model, "preset", {}) if is_ours else None)))
    found.problems += loaded.problems
    if not is_train:
        found.data.setdefault("val", {})
    found.data["is_train"] = is_train
    frame = {"scale": found.data.get("scale"), "seed": found.data.get("manual_seed", 0)}
    complete_datasets(found.data.get("datasets"), {key: n for key, n in frame.items() if isinstance(n, int)})

    # Check each section by itself, and then those that are valid with each other.
    options = _validate(found, is_open=not is_ours, strict=strict)
    found.add(find_missing_keys(written, options, is_ours=is_ours))
    if model is not None and not is_ours:
        check_unregistered(options, model, found)
    found.add(options.find_all_conflicts(is_ours=is_ours))
    found.notices += (replace(n, path=found.locate(n.path)) for n in find_notices(options, is_ours=is_ours))
    if with_files:
        check_files(options, found)
        if not fetches:
            found.missing, found.fetched = [*found.missing, *found.fetched], []
    # Nothing is built for a run that cannot begin.
    found.add(try_parts(options, found, builds=builds and is_ours and not found.missing))
    constructor = options.network_g.constructor if options.network_g else None
    if is_train or not is_ours:
        check_foreign_blocks(found)
    elif not options.path.pretrain_network_g and not getattr(constructor, "brings_weights", False):
        message = "is not set: name the weights to test, or a network that nobody has trained is measured"
        found.add([Problem("path.pretrain_network_g", message)])
    # Published code reads the options as the file has them.
    if not found.problems:
        options._written = _describe(written, options, found, keeps_nulls=not is_ours)
    found.sort(loaded)
    return options, found


def validate_dataset_file(
    loaded: LoadedOptions | Mapping[str, Any], *, with_files: bool = True
) -> tuple[dict[str, Any], Findings]:
    """Validates a file that is one data set's block, such as ``options/DIV2K_valid.yml``.

    Returns:
        The block, completed with what data sets are told, and what was found.
    """
    if not isinstance(loaded, LoadedOptions):
        loaded = LoadedOptions(dict(loaded))
    fill_registries()
    blocks = {"": drop_zero_fractions(loaded.data)}
    complete_datasets(blocks, {"seed": 0, "phase": "test"})
    found = Findings({"datasets": {"test": blocks[""]}}, {"datasets.test": ""}, problems=list(loaded.problems))
    options = _validate(found, is_open=False)
    found.add(options.find_all_conflicts(is_ours=True))
    if with_files:
        check_files(options, found)
    found.sort(loaded)
    return blocks[""], found


def _validate(found: Findings, *, is_open: bool, strict: bool = False) -> RunOptions:
    """Reads the sections that are valid; mistakes are reported and taken out, so that the rest can be checked."""
    data = copy.deepcopy(found.data)
    context = {"is_open": is_open, "passing": PASSING if is_open else (), "homes": _list_homes(RunOptions)}
    datasets = data.get("datasets")
    if isinstance(datasets, dict):
        for key in [key for key in datasets if key.split("_")[0] not in PHASES]:
            message = "unknown key; data sets are called train, val, val_1 … or test_1 …"
            found.problems.append(Problem(f"datasets.{key}", message))
            del datasets[key]
    is_first = True
    while True:
        try:
            return RunOptions.model_validate(data, context=context)
        except ValidationError as error:
            for entry in error.errors(include_url=False):
                location, near = entry["loc"], entry["ctx"]["near"]
                path = found.locate(join_path(*location))
                if entry["type"] == FOREIGN and not strict:
                    found.notices.append(Problem(path, entry["msg"]))
                    if location[0] == "datasets":
                        take_at(found.data, join_path(*location))  # who declares options takes no others
                else:
                    if not found.has_problem_at(path, inside=not is_first):
                        found.problems.append(Problem(path, entry["msg"]))
                    found.broken.append(join_path(*location))
                if near:
                    # What is missing because its key is mistyped is not reported again.
                    meant = join_path(*location[:-1], near)
                    found.broken.append(dict(PUBLISHED_KEYS).get(meant, meant))
                _remove(data, location)
            is_first = False


def _remove(data: dict[str, Any], location: Location) -> None:
    """Takes out what is wrong: a key, or the whole block where a part of it is missing or a list has a wrong item."""
    holders = [data]
    for part in location[:-1]:
        inner = holders[-1].get(str(part))
        if inner is None:
            return  # it went with another mistake
        if not isinstance(inner, dict):
            break
        holders.append(inner)
    for holder, part in reversed(list(zip(holders, location))):
        if holder.pop(str(part), None) is not None or len(holders) == 1:
            return


def _list_homes(section: type[Section], prefix: str = "") -> dict[str, str]:
    """Where a key of a name belongs, outer places first."""
    homes = {name: f"{prefix}{name}" for name in section.model_fields}
    for name, item in section.model_fields.items():
        for inner in (item.annotation, *getattr(item.annotation, "__args__", ())):
            # Python 3.10 takes `dict[str, …]` for a class.
            is_class = isinstance(inner, type) and get_origin(inner) is None
            if is_class and issubclass(inner, Section) and inner is not section:
                homes = {**_list_homes(inner, f"{prefix}{name}."), **homes}
    return {**{key.rpartition(".")[2]: key for key, _ in PUBLISHED_KEYS}, **homes} if not prefix else homes


# --- the mapping ------------------------------------------------------------------------------------------------------


def _describe(written: Mapping[str, Any], options: RunOptions, found: Findings, *, keeps_nulls: bool) -> dict[str, Any]:
    """The options as published code reads them: as written, less what has no effect, with every section's defaults.

    Published code takes keys for granted that files have as null; ours takes null for absent. A block of ours that is
    null is absent for both.
    """
    ours = {*RunOptions.model_fields, *RunOptions.also_known}
    kept = {key: n for key, n in written.items() if n is not None or (keeps_nulls and key not in ours)}
    opt: dict[str, Any] = copy.deepcopy(kept)
    dropped = {notice.path for notice in found.notices if notice.message.startswith("has no effect")}
    for path in dropped:
        take_at(opt, path)
    for name in ("path", "logger", "val", "train"):
        section = getattr(options, name)
        if section is None:
            continue
        keeps, dropping = keeps_nulls or name == "path", () if name == "path" else type(section).also_known
        given = (opt.get(name) or {}).items()
        block = opt[name] = {k: v for k, v in given if v is not None or (keeps and k not in dropping)}
        for key, item in type(section).model_fields.items():
            value = getattr(section, key)
            is_plain = not isinstance(value, (Section, Part, dict)) and extra_of(item, "unused") is None
            # Null is left out, save where it is a value of its own and not the default.
            is_given = value is not None or item.default is not None
            if is_plain and is_given and f"{name}.{key}" not in dropped:
                block[key] = value
    opt["datasets"] = {key: block for key, block in found.data["datasets"].items() if block is not None}
    opt |= {"manual_seed": options.manual_seed, "num_gpu": options.num_gpu, "is_train": options.is_train}
    return opt
