"""Optimizers by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from basicsr.models.optimizers import build_optimizer
from basicsr.utils.errors import ArgumentError, UserError
from basicsr.utils.registry import OPTIMIZER_REGISTRY

OPTIONS: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 1e-2, "betas": [0.9, 0.99], "weight_decay": 0},
    "AdamW": {"lr": 1e-2, "betas": [0.9, 0.99], "weight_decay": 0.1},
    "SGD": {"lr": 1e-2, "momentum": 0.9, "nesterov": True},
    "RMSprop": {"lr": 1e-2, "alpha": 0.9, "centered": True},
}
NOT_FUSED: dict[str, dict[str, Any]] = {name: {} if name == "RMSprop" else {"fused": False} for name in OPTIONS}


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.rand(5, 4, generator=generator)).square().sum().backward()
        optimizer.step()


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_equal_those_of_torch(name: str) -> None:
    net, reference = _net(), _net()
    options = {"type": name, **OPTIONS[name]}
    optimizer = build_optimizer(net.parameters(), options)
    assert options == {"type": name, **OPTIONS[name]}
    expected = getattr(torch.optim, name)(reference.parameters(), **OPTIONS[name])
    _train(net, optimizer)
    _train(reference, expected)
    for ours, theirs in zip(net.parameters(), reference.parameters()):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_those_of_torch(name: str) -> None:
    ours = build_optimizer(_net().parameters(), {"type": name}).defaults
    theirs = getattr(torch.optim, name)(_net().parameters()).defaults
    assert {k: v for k, v in ours.items() if k not in ("fused", "foreach")} == {
        k: v for k, v in theirs.items() if k not in ("fused", "foreach")
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_are_fused_where_torch_can_unless_chosen_otherwise(name: str) -> None:
    chosen = build_optimizer(_net().parameters(), {"type": name}).defaults
    assert (chosen.get("fused"), chosen["foreach"]) == ((None, True) if name == "RMSprop" else (True, False))
    plain = build_optimizer(_net().parameters(), {"type": name, "foreach": False, **NOT_FUSED[name]}).defaults
    assert plain["foreach"] is False and not plain.get("fused")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_begins_with_the_first_step_that_the_scaler_lets_pass(momentum: float) -> None:
    weight = nn.Parameter(torch.ones(64))
    optimizer = build_optimizer([weight], {"type": "SGD", "lr": 0.1, "momentum": momentum})
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for gradient in (float("inf"), 1.0, 1.0):
        optimizer.zero_grad()
        scaler.scale((gradient * weight).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.testing.assert_close(weight.detach(), torch.full((64,), 0.8 - 0.1 * momentum))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_fused_steps_equal_others(name: str) -> None:
    net, reference = _net(), _net()
    _train(net, build_optimizer(net.parameters(), {"type": name, "fused": True}))
    _train(reference, build_optimizer(reference.parameters(), {"type": name, "foreach": True}))
    for ours, theirs in zip(net.parameters(), reference.parameters()):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(ValueError, match="exclude"):
        build_optimizer(net.parameters(), {"type": name, "fused": True, "foreach": True})


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIONS)
def test_steps_on_a_gpu_are_fused_and_equal(name: str) -> None:
    net, reference = _net().cuda(), _net()
    optimizer = build_optimizer(net.parameters(), {"type": name, **OPTIONS[name]})
    assert optimizer.defaults.get("fused", True) is (name != "SGD")  # with momentum
    for module, opt in ((net, optimizer), (reference, build_optimizer(reference.parameters(), {"type": name}))):
        assert opt.param_groups[0]["params"][0] is next(iter(module.parameters()))
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.ones(5, 4, device="cuda")).square().sum().backward()
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in net.parameters())


def test_frozen_parameters_are_left_out_and_groups_kept() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 1))
    net[0].requires_grad_(False)
    optimizer = build_optimizer(net.parameters(), {"type": "Adam"})
    assert len(optimizer.param_groups[0]["params"]) == 4
    groups = [{"params": net[0].parameters()}, {"params": net[1].parameters(), "lr": 0.5}, {"params": net[2].weight}]
    optimizer = build_optimizer(groups, {"type": "SGD", "lr": 0.1})
    assert [(group["lr"], len(group["params"])) for group in optimizer.param_groups] == [(0.5, 2), (0.1, 1)]


def test_state_is_restored() -> None:
    net = _net()
    optimizer = build_optimizer(net.parameters(), {"type": "Adam"})
    _train(net, optimizer)
    twin = _net()
    twin.load_state_dict(net.state_dict())
    restored = build_optimizer(twin.parameters(), {"type": "Adam"})
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    _train(net, optimizer)
    _train(twin, restored)
    for ours, theirs in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_mistakes_are_named() -> None:
    net = _net()
    with pytest.raises(UserError, match="Adam"):
        build_optimizer(net.parameters(), {"type": "Adan"})
    with pytest.raises(UserError, match="type"):
        build_optimizer(net.parameters(), {"lr": 0.1})
    with pytest.raises(TypeError, match="momentum"):
        build_optimizer(net.parameters(), {"type": "Adam", "momentum": 0.9})
    with pytest.raises(ArgumentError, match="betas") as raised:
        build_optimizer(net.parameters(), {"type": "Adam", "betas": [0.9]})
    assert raised.value.argument == "betas"
    with pytest.raises(ValueError):
        build_optimizer(net.parameters(), {"type": "Adam", "lr": -1.0})
    with pytest.raises(UserError, match="nothing to train"):
        build_optimizer(net.requires_grad_(False).parameters(), {"type": "Adam"})


def test_registry_holds_the_published_names() -> None:
    assert {"Adam", "AdamW", "SGD", "RMSprop"} <= set(OPTIMIZER_REGISTRY.keys())
