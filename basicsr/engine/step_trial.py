"""A training step on trial: does it run, and does it move every network, with finite gradients?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from basicsr.engine.model_copy import place_of, trainable
from basicsr.engine.term_proof import Note
from basicsr.models import BaseModel
from basicsr.utils.errors import count, name_some

MAX_STEPS = 10
MAX_SCALED_STEPS = 24
"""Mixed precision halves its scale, 65,536 at first, until gradients are finite."""

DISPLACEMENT = 1.01


@dataclass
class Trial:
    """What optimizers were asked to do.

    Attributes:
        stepped: Names of networks whose optimizer has stepped.
        moved: Those of them that had a gradient other than zero.
        idle: For each network the parameters that had no gradient in its first step.
        infinite: For each network the parameters whose gradient was not finite in its last step.
    """

    stepped: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    idle: dict[str, list[str]] = field(default_factory=dict)
    infinite: dict[str, list[str]] = field(default_factory=dict)


def try_step(
    model: BaseModel, original: BaseModel, feed: Callable[[], None], note: Note, doubt: Note, *, is_ours: bool
) -> None:
    """Takes training steps, with every gate open, until each network has been moved by one.

    Args:
        model: A copy of the model. It is changed.
        original: The model.
        feed: Gives the copy its batch.
        note: Is told faults.
        doubt: Is told what looks like a mistake, but may be meant.
        is_ours: Whether the step is this package's.
    """
    optimizers = list_optimizers(model)
    names = {
        id(parameter): (name, key) for name, net in model.nets.items() for key, parameter in trainable(net).items()
    }
    held = {
        id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]
    }
    expected = {name for key, (name, _) in names.items() if key in held}
    report = note if is_ours else doubt
    _look_outside(model, held, report)

    average = model.average
    displaced = [] if average is None else _displace(average)
    trial, first = Trial(), open_iteration(original)
    is_scaled = model.settings.precision == "fp16"
    with _following(optimizers, names, trial):
        for iteration in range(first, first + (MAX_SCALED_STEPS if is_scaled else MAX_STEPS)):
            model.begin_iteration(iteration)
            feed()
            model.optimize_parameters(iteration)
            if bad := _list_nonfinite(model.log_dict):
                note("train", f"{', '.join(bad)} not finite in the first iteration")
                return
            if trial.infinite and not is_scaled:
                break
            # A perfect image gives no gradient; whether the terms of this package's step act is proved one by one.
            if expected <= (trial.stepped if is_ours else trial.moved):
                break

    for name, parameters in trial.infinite.items():
        note(place_of(model, name), f"the gradient of {name_some(parameters)} is not finite in the first iteration")
    for name in sorted(expected - trial.infinite.keys()):
        if name not in trial.stepped:
            report(
                place_of(model, name),
                f"its optimizer made no step in {count(MAX_STEPS, 'iteration')}: it does not learn",
            )
        elif name not in trial.moved and not is_ours:
            doubt(place_of(model, name), "every gradient is zero or missing: it does not learn")
    for name, parameters in trial.idle.items():
        net = original.nets.get(name)
        if (
            parameters
            and isinstance(net, DistributedDataParallel)
            and not net.find_unused_parameters
            and not net.static_graph
        ):
            text = f"{name_some(parameters)} take no part in the step, which several processes wait for"
            note(place_of(model, name), f"{text}; set find_unused_parameters: true")
    if average is not None and all(map(torch.equal, average.parameters(), displaced)):
        text = "the generator's average does not move with the step; call model_ema(decay) with a decay below 1"
        report("train.ema_decay", text)


def open_iteration(model: BaseModel) -> int:
    """The first iteration in which nothing waits any longer: not the generator, and nothing that options tell of."""
    settings, block = model.settings, model.opt.get("train") or {}
    gates = [value for key, value in block.items() if key.endswith(("_iters", "_iter")) and isinstance(value, int)]
    ends = [block.get(key) for key in ("total_iter", "warmup_iter")]
    opened = max([0, settings.net_d_init_iters, settings.branch_init_iters, *(g for g in gates if g not in ends)])
    return settings.net_d_iters * (opened // settings.net_d_iters + 1)


def list_optimizers(model: BaseModel) -> list[Optimizer]:
    """A model's optimizers, whether it lists them or not."""
    found = [*model.optimizers, *(value for value in vars(model).values() if isinstance(value, Optimizer))]
    return list({id(optimizer): optimizer for optimizer in found}.values())


@contextmanager
def _following(optimizers: list[Optimizer], names: Mapping[int, tuple[str, str]], trial: Trial) -> Iterator[None]:
    """Notes meanwhile what gradients optimizers step with."""

    def look(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        found: dict[str, dict[str, Tensor | None]] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                name, key = names.get(id(parameter), ("", ""))
                if name:
                    found.setdefault(name, {})[key] = parameter.grad
        for name, grads in found.items():
            known = {key: grad for key, grad in grads.items() if grad is not None}
            trial.idle.setdefault(name, [key for key in grads if key not in known])
            bad = [key for key, grad in known.items() if not grad.isfinite().all()]
            trial.infinite.pop(name, None)
            if bad:
                trial.infinite[name] = bad
                continue
            trial.stepped.add(name)
            if any(grad.any() for grad in known.values()):
                trial.moved.add(name)

    hooks = [optimizer.register_step_pre_hook(look) for optimizer in optimizers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _look_outside(model: BaseModel, held: set[int], note: Note) -> None:
    """Names trainable parameters of networks that no optimizer steps; a network in evaluation mode is a teacher."""
    for name, net in model.nets.items():
        outside = [key for key, parameter in trainable(net).items() if id(parameter) not in held]
        if outside and net.training:
            note(place_of(model, name), f"no optimizer has {name_some(outside)}: freeze them, or hand them to one")


@torch.no_grad()
def _displace(average: nn.Module) -> list[Tensor]:
    """Moves an average a little off, so that one small step towards the network shows; returns where it is now."""
    parameters = list(average.parameters())
    for parameter in parameters:
        parameter.mul_(DISPLACEMENT)
    return [parameter.clone() for parameter in parameters]


def _list_nonfinite(logs: Mapping[str, Any]) -> list[str]:
    return [name for name, value in logs.items() if not torch.as_tensor(value).float().isfinite().all()]


def list_unsound_weights(net: nn.Module) -> str:
    """Names parameters and buffers that are not finite; empty if there is none."""
    return name_some(
        [name for name, value in net.state_dict().items() if value.is_floating_point() and not value.isfinite().all()]
    )
