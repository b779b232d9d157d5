"""Validation of a whole option file: every block, what has to fit together, and the files that it names."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from basicsr.models.presets import PUBLISHED_KEYS, Translation, translate
from basicsr.options.load import LoadedOptions
from basicsr.options.schema import PHASES, Dataset, RunOptions, complete_dataset, complete_datasets
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.fields import (
    FOREIGN,
    Location,
    Section,
    drop_zero_fractions,
    extra_of,
    join_path,
    list_mistyped,
    list_problems,
)
from basicsr.utils.parts import Part, is_own
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY, OPTIMIZER_REGISTRY, Registry
from basicsr.utils.seeding import derive_seed, set_random_seed

_PACKAGES = ("archs", "data", "losses", "metrics", "models")
_FILE_OPTIONS = ("dataroot", "meta_info")
_UNKNOWN = "unknown here; read by the model type alone, if at all"


class MissingFilesError(OptionsError):
    """The options are right, but data or weights that they name are not there."""

    exit_code = 3


@dataclass
class Findings:
    """Everything found in one option file.

    Attributes:
        problems: Mistakes.
        missing: Data and weights that are not there; the file may be right all the same.
        notices: Keys that are accepted and have no effect.
    """

    problems: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    notices: list[Problem] = field(default_factory=list)

    def has_problem_at(self, path: str, inside: bool = False) -> bool:
        """Whether there is a mistake at a path already, or anywhere inside of it."""
        return any(p.path == path or (inside and p.path.startswith(f"{path}.")) for p in self.problems)

    def sort(self, loaded: LoadedOptions) -> None:
        """Puts everything in file order, one finding per place and message, and adds where it stands."""
        order = {path: index for index, path in enumerate(_walk(loaded.data))}

        def nearest(path: str, known: Mapping[str, Any]) -> str:
            while path and path not in known:
                path = path.rpartition(".")[0]
            return path

        for name in ("problems", "missing", "notices"):
            found = sorted(
                dict.fromkeys(getattr(self, name)), key=lambda p: order.get(nearest(p.path, order), len(order))
            )
            placed = [replace(p, place=p.place or loaded.places.get(nearest(p.path, loaded.places), "")) for p in found]
            setattr(self, name, placed)

    def raise_if_any(self, source: str | None = None, ignore_missing: bool = False) -> None:
        """Raises what was found, all at once.

        Args:
            source: The option file, for the message.
            ignore_missing: Whether files that are not there are no reason.

        Raises:
            OptionsError: If there is a mistake; files that are not there are listed after the mistakes.
            MissingFilesError: If files are missing and nothing else is wrong.
        """
        missing = [] if ignore_missing else self.missing
        if self.problems:
            raise OptionsError([*self.problems, *missing], source)
        if missing:
            raise MissingFilesError(missing, source)


def fill_registries() -> None:
    """Imports the packages that register what a ``type:`` may name."""
    for package in _PACKAGES:
        import_module(f"basicsr.{package}")


def validate_options(
    loaded: LoadedOptions | Mapping[str, Any],
    *,
    is_train: bool = True,
    with_files: bool = True,
    problems: Iterable[Problem] = (),
    builds: bool = False,
) -> tuple[RunOptions, Findings]:
    """Finds everything that is wrong with an option file.

    Args:
        loaded: The file's content, or plain nested data.
        is_train: Whether it is to be trained, or tested.
        with_files: Whether to look for the data and weights that it names.
        problems: Mistakes that are known already, to be reported with the others.
        builds: Whether a run follows: networks are then built once, seeded, and kept for the model. They are built
            without memory otherwise.

    Returns:
        The typed options, and what was found. Where something was found, the options are not complete.
    """
    if not isinstance(loaded, LoadedOptions):
        loaded = LoadedOptions(dict(loaded))
    fill_registries()
    found = Findings(problems=[*loaded.problems, *problems])
    written = drop_zero_fractions(loaded.data)
    kind = written.get("model_type")
    model = MODEL_REGISTRY.get(kind) if isinstance(kind, str) and kind in MODEL_REGISTRY else None
    is_ours = model is None or is_own(model)
    translation = translate(written, getattr(model, "preset", {}) if is_ours else None)
    if not is_train:
        translation.data.setdefault("val", {})
    translation.data["is_train"] = is_train
    complete_datasets(translation.data)
    options = _validate(translation, found, is_open=not is_ours)
    report = _Reporter(translation, found)
    report.add(_find_missing_keys(written, options, is_train=is_train, is_ours=is_ours))
    report.add(options.find_all_conflicts(is_ours=is_ours))
    found.notices += translation.notices
    report.note(_find_notices(options, is_ours=is_ours))
    report.add(_try_parts(options, translation, found, builds=builds and is_ours))
    if is_train or not is_ours:
        _check_foreign_blocks(translation, options, found)
    elif not options.path.pretrain_network_g:
        message = "is not set: name the weights to test, or a network that nobody has trained is measured"
        report.add([Problem("path.pretrain_network_g", message)])
    if with_files:
        _check_files(options, report, is_train=is_train)
    options._written = _describe(written, translation, options, found)
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
    found = Findings(problems=list(loaded.problems))
    frame = {"seed": 0, "phase": "test"}
    block = complete_dataset("", drop_zero_fractions(loaded.data), frame)
    translation = Translation({"datasets": {"test": block}}, origins={"datasets.test": ""})
    dataset = _validate(translation, found, is_open=False).datasets.get("test")
    if dataset is not None:
        report = _Reporter(translation, found)
        if hasattr(dataset.declared, "find_conflicts"):
            report.add(problem.within("datasets.test") for problem in dataset.declared.find_conflicts())
        if with_files:
            _check_dataset_files("datasets.test", dataset, report)
    found.sort(loaded)
    return block, found


class _Reporter:
    """Adds findings by their place in today's form; what is known to be wrong already is not reported again."""

    def __init__(self, translation: Translation, found: Findings) -> None:
        self.translation = translation
        self.found = found

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            path = self.translation.locate(problem.path).strip(".")
            if not self.translation.is_broken(problem.path) and not self.found.has_problem_at(path, inside=True):
                self.found.problems.append(replace(problem, path=path))

    def note(self, notices: Iterable[Problem]) -> None:
        self.found.notices += (replace(notice, path=self.translation.locate(notice.path)) for notice in notices)


def _validate(translation: Translation, found: Findings, *, is_open: bool) -> RunOptions:
    """Reads the sections that are valid; mistakes are reported and taken out, so that the rest can be checked."""
    found.problems += translation.problems
    data = copy.deepcopy(translation.data)
    context = {"is_open": is_open, "homes": _list_homes(RunOptions)}
    for key in [key for key in data["datasets"] if key.split("_")[0] not in PHASES] if _has_blocks(data) else ():
        message = "unknown key; data sets are called train, val, val_1 … or test_1 …"
        found.problems.append(Problem(f"datasets.{key}", message))
        del data["datasets"][key]
    is_first = True
    while True:
        try:
            return RunOptions.model_validate(data, context=context)
        except ValidationError as error:
            for location, message, kind in list_problems(error):
                path = translation.locate(join_path(*location)).strip(".")
                if kind == FOREIGN:
                    found.notices.append(Problem(path, _UNKNOWN))
                elif not found.has_problem_at(path, inside=not is_first):
                    found.problems.append(Problem(path, message))
                if kind != FOREIGN:
                    translation.broken.append(join_path(*location))
                _remove(data, location)
            # What is missing because its key is mistyped is not reported again.
            meant = [join_path(*location) for location in list_mistyped(error)]
            translation.broken += (dict(PUBLISHED_KEYS).get(path, path) for path in meant)
            is_first = False


def _has_blocks(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("datasets"), dict)


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
            if isinstance(inner, type) and issubclass(inner, Section) and inner is not section:
                homes = {**_list_homes(inner, f"{prefix}{name}."), **homes}
    return {**{key.rpartition(".")[2]: key for key, _ in PUBLISHED_KEYS}, **homes} if not prefix else homes


def _walk(data: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of everything in nested data, in order."""
    if path:
        yield path
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        items = data.items()
    elif isinstance(data, (list, tuple)):
        items = enumerate(data)
    for key, value in items:
        yield from _walk(value, f"{path}.{key}" if path else str(key))


# --- what is missing or has no effect ---------------------------------------------------------------------------------


def _find_missing_keys(
    written: Mapping[str, Any], options: RunOptions, *, is_train: bool, is_ours: bool
) -> Iterator[Problem]:
    verb = "training" if is_train else "testing"
    required = ["name", *(["scale", "network_g"] if is_ours else [])]
    if not is_ours or (is_train and not {"critics", "losses", "objective"} & written.keys()):
        required.insert(1, "model_type")
    for name in required:
        if getattr(options, name) is None:
            yield Problem(name, f"missing; {verb} needs it")
    if options.model_type is not None and options.model_type not in MODEL_REGISTRY:
        yield Problem("model_type", MODEL_REGISTRY.explain_missing(options.model_type))
    if not written.get("datasets"):
        yield Problem("datasets", f"missing; {verb} needs it")
    elif is_train and options.train_set is None:
        yield Problem("datasets.train", f"missing; {verb} needs it")
    if is_train and options.train is None:
        yield Problem("train", f"missing; {verb} needs it")
    elif is_train and options.train is not None and options.train.total_iter is None:
        yield Problem("train.total_iter", f"missing; {verb} needs it")


def _find_notices(options: RunOptions, *, is_ours: bool) -> Iterator[Problem]:
    """Options that are known and have no effect on this run."""
    for path, section, name in _list_given(options):
        item = type(section).model_fields[name]
        reason, needed, value = extra_of(item, "unused"), extra_of(item, "needs"), getattr(section, name)
        if reason and value not in (None, item.default) and name != "is_train":
            yield Problem(f"{path}{name}", f"has no effect: {reason}")
        elif is_ours and needed and value != item.default and not options.has(needed):
            without = {"critics": "no critic", "branch": "no gradient branch", "diffaug": "train.diffaug off"}[needed]
            yield Problem(f"{path}{name}", f"has no effect: {options.model_type or 'the run'} has {without}")
    if options.train is not None and is_ours and options.has("branch"):
        yield from (notice.within("train") for notice in options.train.find_branch_notices())
    if options.train is not None and options.is_train:
        yield from (notice.within("train") for notice in options.train.find_notices())
    if options.degradation is not None and options.degradation.get("queue_size") and not options.pool_size:
        yield Problem("degradation.queue_size", "has no effect: with gate: sample a batch needs no pool")
    for key, critic in options.critics.items():
        if critic.pretrained and critic.network is None:
            yield Problem(f"critics.{key}.pretrained", "has no effect: there is no such network")


def _list_given(section: Section, prefix: str = "") -> Iterator[tuple[str, Section, str]]:
    for name in section.model_fields_set:
        value = getattr(section, name)
        yield prefix, section, name
        if isinstance(value, Section):
            yield from _list_given(value, f"{prefix}{name}.")


# --- parts that can be tried ------------------------------------------------------------------------------------------


def _try_parts(options: RunOptions, translation: Translation, found: Findings, *, builds: bool) -> Iterator[Problem]:
    """Builds networks and degradation, which tells whether their sizes fit together; losses may need weights."""
    if builds:
        set_random_seed(derive_seed("networks", options.manual_seed))
    networks = {"g": ("network_g", options.network_g)}
    networks |= {name: (f"critics.{name}.network", critic.network) for name, critic in options.critics.items()}
    for name, (path, part) in networks.items():
        if part is None or found.has_problem_at(translation.locate(path), inside=True):
            continue
        needs_memory = builds and (options.is_train or name == "g")
        built = _try_network(part, "cpu" if needs_memory else "meta")
        if isinstance(built, nn.Module):
            if needs_memory:
                options._built[name] = built
        else:
            argument = getattr(built, "argument", "")
            yield Problem(f"{path}.{argument}".strip("."), str(built) or f"{type(built).__name__} in the constructor")
    if options.degradation is not None and options.scale and options.is_train:
        try:
            options.degradation.build(scale=options.scale)
        except (TypeError, ValueError) as error:
            yield Problem(f"degradation.{getattr(error, 'argument', '')}".strip("."), str(error))


def _try_network(part: Part, device: str) -> nn.Module | Exception:
    """A network, or what its constructor objects to.

    On torch's ``meta`` device tensors have shapes and no content. A network that cannot be built there, because its
    constructor reads values, is built on the CPU.
    """
    import torch

    try:
        if device == "cpu":
            built: nn.Module = part.build()
            return built
        with torch.random.fork_rng(devices=[]), torch.device(device):
            built = part.build()
            return built
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        return error
    except Exception as error:  # meta tensors refuse in several ways
        return error if device == "cpu" else _try_network(part, "cpu")


def _check_foreign_blocks(translation: Translation, options: RunOptions, found: Findings) -> None:
    """Checks blocks that only a foreign model knows by what their ``type`` declares."""
    from basicsr.utils.parts import PartOf

    def check(path: str, block: Any, registry: Registry, supplied: tuple[str, ...] = ()) -> None:
        if not isinstance(block, Mapping) or block.get("type") not in registry:
            return
        try:
            PartOf(registry, supplied).validate(block)
        except ValidationError as error:
            found.problems += [Problem(join_path(path, *where), text) for where, text, _ in list_problems(error)]

    for key, value in translation.data.items():
        if key not in RunOptions.model_fields and key.startswith(("network_", "net_")):
            check(key, value, ARCH_REGISTRY)
    train = translation.data.get("train")
    for key, value in train.items() if isinstance(train, dict) else ():
        if key.endswith("_opt"):
            check(f"train.{key}", value, LOSS_REGISTRY)
        elif key.startswith("optim_") and key != "optim_g":
            check(f"train.{key}", value, OPTIMIZER_REGISTRY, ("params",))


# --- files ------------------------------------------------------------------------------------------------------------


def _check_files(options: RunOptions, report: _Reporter, *, is_train: bool) -> None:
    """Looks for the data and weights that a run will need."""
    for key, dataset in options.datasets.items():
        is_used = not key.startswith("test") if is_train else not key.startswith("train")
        if dataset is not None and is_used:
            _check_dataset_files(f"datasets.{key}", dataset, report)
    wanted = {"path.pretrain_network_g": ("weights file", options.path.pretrain_network_g)}
    if is_train:
        wanted["path.resume_state"] = ("state", options.path.resume_state)
        wanted |= {f"critics.{n}.pretrained": ("weights file", c.pretrained) for n, c in options.critics.items()}
    for path, (kind, value) in wanted.items():
        if value and not Path(value).expanduser().is_file():
            without = ", or set it to ~ to start without" if is_train else ""
            message = f"there is no {kind} {value}; put it there{', ' if without else ' or '}change the path{without}"
            report.found.missing.append(Problem(report.translation.locate(path), message))


def _check_dataset_files(path: str, dataset: Part, report: _Reporter) -> None:
    """Looks for roots and lists; a data set that makes its files on first use needs none."""
    if dataset.get("prepare"):
        return
    missing = []
    for name, value in dataset.arguments.items():
        for item in (value if isinstance(value, (list, tuple)) else [value]) if name.startswith(_FILE_OPTIONS) else ():
            if isinstance(item, str) and not Path(item).exists():
                where = report.translation.locate(f"{path}.{name}").strip(".")
                missing.append(Problem(where, f"there is no {item}; put the data there or change the path"))
    report.found.missing += missing
    check_files = getattr(dataset.constructor, "check_files", None)
    is_wrong = report.found.has_problem_at(report.translation.locate(path).strip("."), inside=True)
    if not missing and not is_wrong and check_files is not None and dataset.declared is not None:
        report.add(problem.within(path) for problem in check_files(dataset.declared))


# --- the mapping ------------------------------------------------------------------------------------------------------


def _describe(
    written: Mapping[str, Any], translation: Translation, options: RunOptions, found: Findings
) -> dict[str, Any]:
    """The options as published code reads them: as written, less what has no effect, with every section's defaults."""
    opt: dict[str, Any] = copy.deepcopy({key: value for key, value in written.items() if value is not None})
    dropped = {notice.path for notice in found.notices if notice.message.startswith("has no effect")}
    for path in dropped:
        _drop(opt, path)
    for name in ("path", "logger", "val", "train"):
        section = getattr(options, name)
        if section is None:
            continue
        block = opt[name] = {k: v for k, v in opt.get(name, {}).items() if v is not None or name == "path"}
        for key, item in type(section).model_fields.items():
            value = getattr(section, key)
            if key in translation.data.get(name, {}) and value is None and item.default is not None:
                block[key] = None  # null is a value of its own, not the default
            is_plain = not isinstance(value, (Section, Part, dict)) and extra_of(item, "unused") is None
            if is_plain and value is not None and f"{name}.{key}" not in dropped:
                block[key] = value
    datasets = translation.data.get("datasets")
    opt["datasets"] = {k: v for k, v in datasets.items() if v is not None} if isinstance(datasets, dict) else {}
    opt |= {"manual_seed": options.manual_seed, "num_gpu": options.num_gpu, "is_train": options.is_train}
    return opt


def _drop(data: dict[str, Any], path: str) -> None:
    *parents, key = path.split(".")
    for parent in parents:
        inner = data.get(parent)
        if not isinstance(inner, dict):
            return
        data = inner
    data.pop(key, None)


__all__ = ["Dataset", "Findings", "MissingFilesError", "fill_registries", "validate_dataset_file", "validate_options"]
