"""Checks that need the whole file: what is missing or has no effect, parts that can be tried, and named files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import nn

from basicsr.archs.recomputation import find_blocks
from basicsr.models.sr_model import SRModel
from basicsr.options.findings import Findings
from basicsr.options.schema import FILE_OPTIONS, RunOptions
from basicsr.utils.errors import Problem, WeightsError
from basicsr.utils.fields import Section, extra_of, join_path, list_problems
from basicsr.utils.parts import Part, PartOf, Unregistered, names_of
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY, OPTIMIZER_REGISTRY, is_own
from basicsr.utils.seeding import derive_seed, set_random_seed
from basicsr.weights.builtin import BUILTIN
from basicsr.weights.obtaining import NotHereError, obtain
from basicsr.weights.published import check_name, explain_absence, is_name

# --- what is missing or has no effect ---------------------------------------------------------------------------------


def find_missing_keys(written: Mapping[str, Any], options: RunOptions, *, is_ours: bool) -> Iterator[Problem]:
    """Keys that every run, or every one of a package's own models, needs."""
    is_train = options.is_train
    is_composed = is_train and {"critics", "losses", "objective"} & written.keys()
    names_model = not is_ours or (is_train and not is_composed)
    missing = {
        "name": options.name is None,
        "model_type": names_model and options.model_type is None,
        "scale": is_ours and options.scale is None,
        "network_g": is_ours and options.network_g is None,
        "datasets": not written.get("datasets"),
        "datasets.train": is_train and written.get("datasets") and options.datasets.get("train") is None,
        "train": is_train and options.train is None,
        "train.total_iter": is_train and options.train is not None and options.train.total_iter is None,
    }
    for path in (path for path, is_missing in missing.items() if is_missing):
        yield Problem(path, f"missing; {'training' if is_train else 'testing'} needs it")
    if options.model_type is not None and options.model_type not in MODEL_REGISTRY:
        yield Problem("model_type", MODEL_REGISTRY.explain_missing(options.model_type))


def find_notices(options: RunOptions, *, is_ours: bool) -> Iterator[Problem]:
    """Options that are known and have no effect on this run."""
    train, kind = options.train, options.model_type or "the run"
    needs = {
        "critics": (options.critics, "no critic"),
        "branch": (options.has_branch, "no gradient branch"),
        "diffaug": (train is not None and train.diffaug, "train.diffaug off"),
    }
    for path, section, name in _list_given(options):
        item, value = type(section).model_fields[name], getattr(section, name)
        reason, needed = extra_of(item, "unused"), extra_of(item, "needs")
        if not is_ours:
            continue  # a class of other people may read any of them
        if reason and value not in (None, item.default) and name != "is_train":
            yield Problem(f"{path}{name}", f"has no effect: {reason}")
        elif needed and value != item.default and not needs[needed][0]:
            yield Problem(f"{path}{name}", f"has no effect: {kind} has {needs[needed][1]}")
    if options.logger.wandb and options.logger.wandb.project and not options.logger.use_tb_logger:
        yield Problem("logger.wandb", "has no effect: it mirrors TensorBoard, and logger.use_tb_logger is off")
    if train is not None:
        # Of the options of a gradient branch each needs the other.
        has_branch = is_ours and options.has_branch
        if has_branch and train.branch_init_iters and not train.branch_pretrain:
            yield Problem("train.branch_init_iters", "has no effect: train.branch_pretrain is off")
        if has_branch and train.branch_pretrain and not train.branch_init_iters:
            message = "has no effect: train.branch_init_iters says for how long, and is absent"
            yield Problem("train.branch_pretrain", message)
        milestones = train.scheduler.get("milestones") if options.is_train and train.scheduler else None
        if milestones and train.total_iter and min(milestones) > train.total_iter:
            message = f"none is reached in {train.total_iter} iterations, so the learning rate never falls"
            yield Problem("train.scheduler.milestones", message)
    if options.degradation is not None and options.degradation.get("queue_size") and not options.pool_size:
        yield Problem("degradation.queue_size", "has no effect: with gate: sample a batch needs no pool")
    for key, critic in options.critics.items():
        if critic.pretrained and critic.network is None:
            yield Problem(f"critics.{key}.pretrained", "has no effect: there is no such network")


def _list_given(section: Section, prefix: str = "") -> Iterator[tuple[str, Section, str]]:
    """Every option that the file sets: the path of its section, the section, and its name."""
    for name in section.model_fields_set:
        value = getattr(section, name)
        yield prefix, section, name
        if isinstance(value, Section):
            yield from _list_given(value, f"{prefix}{name}.")


# --- parts that can be tried ------------------------------------------------------------------------------------------


MAX_COUNT = 100_000
"""No network of this package has more channels, blocks or pixels a side; one of 2³¹ blocks would be built for days."""


def try_parts(options: RunOptions, found: Findings, *, builds: bool) -> Iterator[Problem]:
    """Builds networks and degradation, which tells whether their sizes fit together; losses may need weights."""
    if builds:
        set_random_seed(derive_seed("networks", options.manual_seed))
    networks, built_nets = {"g": ("network_g", options.network_g)}, list[nn.Module]()
    networks |= {name: (f"critics.{name}.network", critic.network) for name, critic in options.critics.items()}
    for name, (path, part) in networks.items():
        if part is None or isinstance(part.constructor, Unregistered):
            continue
        if found.has_problem_at(found.locate(path), inside=True):
            continue
        if is_own(part.constructor) and (huge := [key for key, item in part.arguments.items() if _is_huge(item)]):
            yield from (Problem(f"{path}.{key}", f"{part.arguments[key]} is more than {MAX_COUNT:,}") for key in huge)
            continue
        needs_memory = builds and (options.is_train or name == "g")
        built = _try_network(part, "cpu" if needs_memory else "meta")
        if not isinstance(built, nn.Module):
            argument = getattr(built, "argument", "")
            yield Problem(f"{path}.{argument}".strip("."), str(built) or f"{type(built).__name__} in the constructor")
            continue
        built_nets.append(built)
        if needs_memory:
            options._built[name] = built
        if name == "g":
            yield from _check_measures(options, built)
    wants_blocks = options.train is not None and options.train.activation_checkpointing
    if wants_blocks and built_nets and not any(map(find_blocks, built_nets)):
        kinds = ", ".join(type(net).__name__ for net in built_nets)
        message = f"has no effect: no network has repeated blocks ({kinds})"
        found.notices.append(Problem(found.locate("train.activation_checkpointing"), message))
    if options.degradation is not None and options.scale and options.is_train:
        try:
            options.degradation.build(scale=options.scale)
        except (TypeError, ValueError) as error:
            yield Problem(f"degradation.{getattr(error, 'argument', '')}".strip("."), str(error))


def _is_huge(item: object) -> bool:
    return isinstance(item, int) and item > MAX_COUNT


def _check_measures(options: RunOptions, net: nn.Module) -> Iterator[Problem]:
    """Compares what a generator says of itself, where it does, with the rest of the file."""
    scale, channels, least = (getattr(net, name, None) for name in ("output_scale", "in_channels", "smallest_batch"))
    if None not in (scale, options.scale) and scale != options.scale:
        names = names_of(options.network_g.constructor) if options.network_g else set()
        told = ", ".join(sorted(name for name in names if re.search("up_?sc|upsampl|^scale|unshuffle", name)))
        message = f"enlarges by {scale}, but the file's scale is {options.scale}"
        yield Problem("network_g", message + (f"; it depends on {told}" if told else ""))
    data = options.datasets.get("train" if options.is_train else "val")
    if channels and data is not None and is_own(data.constructor):
        given = 1 if data.get("color") == "y" else 3
        if channels != given:
            yield Problem("network_g", f"takes images of {channels} channels, but those of the data sets have {given}")
    batch = data.get("batch_size_per_gpu") if data else None
    parts = options.train.accumulate_steps if options.train else 1
    if least and options.is_train and isinstance(batch, int) and batch // parts < least:
        message = f"{batch}, split by train.accumulate_steps {parts}; the network's batch norm needs at least {least}"
        yield Problem("datasets.train.batch_size_per_gpu", message)


def _try_network(part: Part, device: str) -> nn.Module | Exception:
    """A network, or what its constructor objects to.

    On torch's ``meta`` device tensors have shapes and no content. A network that cannot be built there, because its
    constructor reads values, is built on the CPU.
    """
    try:
        if device == "cpu":
            return cast(nn.Module, part.build())
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return cast(nn.Module, part.build())
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        return error
    except Exception as error:  # meta tensors refuse in several ways
        return error if device == "cpu" else _try_network(part, "cpu")


_BUILDERS = {
    "network": ("init_training_settings",),
    "loss": ("init_training_settings",),
    "optimizer": ("get_optimizer", "setup_optimizers", "init_training_settings"),
    "schedule": ("setup_schedulers", "init_training_settings"),
}
"""The methods that build each kind of part."""


def check_unregistered(options: RunOptions, model: Callable[..., Any], found: Findings) -> None:
    """Types that nobody has registered are left to a foreign class that builds such parts by a method of its own.

    Args:
        options: The options.
        model: The class.
        found: Takes a notice of each such type, or a mistake where methods of this package would build the part.
    """
    criterion = options.objective.get("criterion") if options.objective else None
    parts = {("network_g", "network"): options.network_g, ("objective.criterion", "loss"): criterion}
    parts |= {(f"losses.{name}", "loss"): loss for name, loss in options.losses.items()}
    for name, loss in options.losses.items():
        parts[f"losses.{name}.criterion", "loss"] = loss.get("criterion") if loss else None
    for name, critic in options.critics.items():
        parts[f"critics.{name}.network", "network"] = critic.network
        parts[f"critics.{name}.optimizer", "optimizer"] = critic.optimizer
        parts[f"critics.{name}.scheduler", "schedule"] = critic.scheduler
    if options.train is not None:
        parts["train.optim_g", "optimizer"] = options.train.optim_g
        parts |= {(f"train.{key}", "schedule"): getattr(options.train, key) for key in ("scheduler", "scheduler_g")}
    for (path, kind), part in parts.items():
        if not isinstance(part, Part) or not isinstance(part.constructor, Unregistered):
            continue
        builders = _BUILDERS[kind]
        if path == "network_g":
            # Whoever derives from SRModel has its generator built by it.
            builders = () if isinstance(model, type) and issubclass(model, SRModel) else ("__init__",)
        if any(not is_own(getattr(model, name, model)) for name in builders):
            name = getattr(model, "__name__", "the model")
            message = f"{part.constructor.message}; left to {name}, which builds its {kind}s by itself"
            found.notices.append(Problem(found.locate(f"{path}.type"), message))
        else:
            found.add([Problem(f"{path}.type", part.constructor.message)])


def check_foreign_blocks(found: Findings) -> None:
    """Checks blocks that only a foreign model knows by what their ``type`` declares."""
    data = found.data
    train = data.get("train")
    blocks = [
        (key, block, PartOf(ARCH_REGISTRY))
        for key, block in data.items()
        if key not in RunOptions.model_fields and key.startswith(("network_", "net_"))
    ]
    for key, block in train.items() if isinstance(train, dict) else ():
        if key.endswith("_opt"):
            blocks.append((f"train.{key}", block, PartOf(LOSS_REGISTRY)))
        elif key.startswith("optim_") and key != "optim_g":
            blocks.append((f"train.{key}", block, PartOf(OPTIMIZER_REGISTRY, ("params",))))
    for path, block, part in blocks:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if isinstance(kind, str) and kind in part.registry:
            try:
                part.validate(block)
            except ValidationError as error:
                found.problems += [Problem(join_path(path, *where), text) for where, text, _ in list_problems(error)]


# --- files ------------------------------------------------------------------------------------------------------------


def check_files(options: RunOptions, found: Findings) -> None:
    """Looks for the data and weights that a run will need."""
    for key, dataset in options.datasets.items():
        is_used = not key.startswith("test" if options.is_train else "train")
        # A data set that makes its files on first use needs none.
        if dataset is None or not is_used or dataset.get("prepare"):
            continue
        path, missing = f"datasets.{key}", []
        for name, value in dataset.arguments.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            for item in values if name.startswith(FILE_OPTIONS) else ():
                if isinstance(item, str) and not Path(item).exists():
                    message = f"there is no {item}; put the data there or change the path"
                    missing.append(Problem(found.locate(f"{path}.{name}"), message))
        found.missing += missing
        look = getattr(dataset.constructor, "check_files", None)
        is_wrong = found.has_problem_at(found.locate(path), inside=True)
        if not missing and not is_wrong and look is not None and dataset.declared is not None:
            found.add(problem.within(path) for problem in look(dataset.declared))
    found.missing += _list_missing_weights(options, found)
    for path, part in _list_parts(options):
        check = getattr(part.constructor, "check_weights", None)
        if check is None or found.has_problem_at(found.locate(path), inside=True):
            continue
        try:
            check({name: part.get(name) for name in names_of(part.constructor)})
        except NotHereError as error:
            found.fetched.append(Problem(found.locate(path), str(error)))
        except WeightsError as error:
            found.missing.append(Problem(found.locate(path), str(error)))


def _list_missing_weights(options: RunOptions, found: Findings) -> Iterator[Problem]:
    """Weights and states that the file names; those that a run would fetch are put beside what it lacks."""
    wanted = {"path.pretrain_network_g": ("weights file", options.path.pretrain_network_g)}
    if options.is_train:
        wanted["path.resume_state"] = ("state", options.path.resume_state)
        wanted |= {f"critics.{n}.pretrained": ("weights file", c.pretrained) for n, c in options.critics.items()}
    for path, (kind, value) in wanted.items():
        if not value or (file := Path(value).expanduser()).is_file():
            continue
        place = found.locate(path)
        if kind == "weights file" and is_name(value):
            try:
                if str(value) not in BUILTIN:
                    obtain(check_name(value), fetches=False)
            except NotHereError as error:
                found.fetched.append(Problem(place, str(error)))
            except WeightsError as error:
                yield Problem(place, str(error))
            continue
        without = ", or set it to null to start without" if options.is_train else ""
        message = f"there is no {kind} {value}; put it there{', ' if without else ' or '}change the path{without}"
        yield Problem(place, message + explain_absence(file))


def _list_parts(options: RunOptions) -> Iterator[tuple[str, Part]]:
    """The parts of a run that may need weights which no option names, by their place in the file."""
    parts: dict[str, Part | None] = {"network_g": options.network_g}
    if options.is_train:
        parts |= {f"losses.{name}": loss for name, loss in options.losses.items()}
        parts |= {f"critics.{name}.network": critic.network for name, critic in options.critics.items()}
    if any(key.startswith("val") for key in options.datasets) or not options.is_train:
        parts |= {
            f"val.metrics.{name}": metric for name, metric in (options.val.metrics if options.val else {}).items()
        }
    for path, part in parts.items():
        if part is not None:
            yield path, part
            yield from ((f"{path}.{key}", item) for key, item in part.arguments.items() if isinstance(item, Part))
