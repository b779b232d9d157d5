"""Optimizers by the names that option files use, with the fastest implementation that the device has."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from basicsr.models.lr_scheduler import rescale
from basicsr.utils.errors import ArgumentError, UserError, WeightsError
from basicsr.utils.fields import Weight
from basicsr.utils.registry import OPTIMIZER_REGISTRY

LearningRate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, lt=1)]

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
Groups = list[dict[str, Any]]


def build_optimizer(params: Params, opt: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Builds a registered optimizer.

    Args:
        params: Parameters, or parameter groups; those that do not require a gradient are left out.
        opt: ``type``, a registered name, and the builder's arguments; it is not modified.

    Raises:
        UserError: If ``type`` is missing or unknown, or nothing is left to train.
        ValueError: If an argument has an impossible value.
        TypeError: If an argument is unknown.
    """
    constructor, arguments = OPTIMIZER_REGISTRY.resolve(opt)
    entries: list[Any] = list(params)
    given = entries if entries and isinstance(entries[0], Mapping) else [{"params": entries}]
    # Leave out what is frozen, and groups of which nothing is left.
    groups = []
    for group in given:
        members = [group["params"]] if isinstance(group["params"], Tensor) else group["params"]
        if trainable := [member for member in members if member.requires_grad]:
            groups.append({**group, "params": trainable})
    if not groups:
        raise UserError(f"{opt['type']} has nothing to train: no parameter requires a gradient")
    optimizer: torch.optim.Optimizer = constructor(groups, **arguments)
    return optimizer


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restores an optimizer's state, except for what its options say: that holds as it is now.

    A learning rate that a schedule has lowered stays that share of the nominal one.

    Args:
        optimizer: A new one, with a schedule or without.
        state: Its ``state_dict()``.

    Raises:
        WeightsError: If the state is that of an optimizer of another type, or lacks what the options of now need.
    """
    former, groups = state["param_groups"], optimizer.param_groups
    if [len(group["params"]) for group in former] != [len(group["params"]) for group in groups]:
        raise WeightsError(f"its {type(optimizer).__name__} steps other parameters")
    lost, new = former[0].keys() - groups[0].keys(), groups[0].keys() - former[0].keys()
    if lost and new:
        raise WeightsError(f"it is of another type than {type(optimizer).__name__}")
    # Optimizers of other people may keep something that changes among their options.
    is_torch = type(optimizer).__module__.startswith("torch.optim.")
    taken = set(optimizer.defaults if is_torch else inspect.signature(type(optimizer)).parameters) | {"initial_lr"}
    merged = []
    for old, now in zip(former, groups, strict=True):
        options = {key: value for key, value in now.items() if key in taken and key not in ("params", "lr")}
        rates = [group.get("initial_lr", group["lr"]) for group in (old, now)]
        merged.append({**old, **options, "lr": rescale(old["lr"], *rates)})
    if is_torch:
        held = next(filter(None, state["state"].values()), None)
        lacking = set() if held is None else _list_state(optimizer) - held.keys()
        if lacking:
            raise WeightsError(f"it has no {' and no '.join(sorted(lacking))}, which its options need now")
    optimizer.load_state_dict({**state, "param_groups": merged})
    # Kernels for a whole step take it that the elements of a parameter and of what is kept for it have one order.
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                kept[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _list_state(optimizer: torch.optim.Optimizer) -> set[str]:
    """Names of what an optimizer of torch keeps for every parameter, learnt from a step of one like it."""
    known = inspect.signature(type(optimizer)).parameters
    loops = ("fused", "foreach", "capturable")
    arguments = {key: value for key, value in optimizer.defaults.items() if key in known and key not in loops}
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    like = type(optimizer)([parameter], **arguments)
    like.step()
    return {str(name) for name in like.state[parameter]}


def _register_adam(kind: type[torch.optim.Adam | torch.optim.AdamW], default_decay: float) -> None:
    """Registers ``torch.optim.Adam`` or ``torch.optim.AdamW``, which differ in what weight decay does."""

    def build(
        params: Groups,
        lr: LearningRate = 1e-3,
        betas: tuple[Decay, Decay] = (0.9, 0.999),
        eps: Weight = 1e-8,
        weight_decay: Weight = default_decay,
        amsgrad: bool = False,
        fused: bool | None = None,
        foreach: bool | None = None,
    ) -> torch.optim.Optimizer:
        """Adam (Kingma and Ba, arXiv 1412.6980), or with decoupled weight decay (Loshchilov and Hutter, 1711.05101).

        Args:
            params: Parameter groups.
            lr: Learning rate.
            betas: Decay of the running means of the gradient and of its square, each in [0, 1).
            eps: Added to the denominator.
            weight_decay: Adam: L2 penalty, added to the gradient; AdamW: share of a parameter, times the learning rate,
                that is taken off in each step.
            amsgrad: Divide by the largest second moment so far.
            fused: One kernel for the whole step; null: where all parameters are on a GPU or a CPU.
            foreach: Step all parameters together; null: wherever ``fused`` is not used.
        """
        loop = _choose_loop(params, fused, foreach)
        if len(betas) != 2:
            raise ArgumentError("betas", f"betas must be two numbers; got {list(betas)}")
        return kind(params, lr, (betas[0], betas[1]), eps, weight_decay, amsgrad, **loop)

    OPTIMIZER_REGISTRY.register(build, name=kind.__name__)


_register_adam(torch.optim.Adam, default_decay=0.0)
_register_adam(torch.optim.AdamW, default_decay=1e-2)


@OPTIMIZER_REGISTRY.register(name="SGD")
def build_sgd(
    params: Groups,
    lr: LearningRate = 1e-3,
    momentum: Weight = 0.0,
    dampening: float = 0.0,
    weight_decay: Weight = 0.0,
    nesterov: bool = False,
    fused: bool | None = None,
    foreach: bool | None = None,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        params: Parameter groups.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
        dampening: Share of the gradient that does not enter the momentum.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Look ahead along the momentum; needs ``momentum`` above 0 and no ``dampening``.
        fused: One kernel for the whole step; null: without ``momentum``, where all parameters are on a GPU or a CPU.
        foreach: Step all parameters together; null: wherever ``fused`` is not used.
    """
    if fused is None and momentum:
        # PyTorch's kernel leaves the momentum undefined if fp16's scaler drops the first step.
        fused = False
    loop = _choose_loop(params, fused, foreach)
    return torch.optim.SGD(params, lr, momentum, dampening, weight_decay, nesterov, **loop)


@OPTIMIZER_REGISTRY.register(name="RMSprop")
def build_rmsprop(
    params: Groups,
    lr: LearningRate = 1e-2,
    alpha: Weight = 0.99,
    eps: Weight = 1e-8,
    weight_decay: Weight = 0.0,
    momentum: Weight = 0.0,
    centered: bool = False,
    foreach: bool | None = None,
) -> torch.optim.Optimizer:
    """RMSprop (Hinton, lecture notes 6a); PyTorch has no fused form of it.

    Args:
        params: Parameter groups.
        lr: Learning rate.
        alpha: Decay of the running mean of the squared gradient.
        eps: Added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Share of the last step that is kept.
        centered: Divide by the deviation of the gradient rather than by its root mean square.
        foreach: Step all parameters together; null: yes.
    """
    return torch.optim.RMSprop(params, lr, alpha, eps, weight_decay, momentum, centered, foreach=foreach is not False)


def _choose_loop(groups: Groups, fused: bool | None, foreach: bool | None) -> dict[str, Any]:
    """The ``fused`` and ``foreach`` arguments for torch: fused where there is a kernel, unless the user chose."""
    if fused and foreach:
        raise ArgumentError("fused", "fused and foreach exclude each other; set one of them at most")
    if fused is None:
        tensors = [tensor for group in groups for tensor in group["params"]]
        kinds = ("cuda", "cpu")
        fused = not foreach and all(tensor.device.type in kinds and tensor.is_floating_point() for tensor in tensors)
    return {"fused": fused, "foreach": not fused and foreach is not False}
