"""A step asks a device to work and never for what came of it: shown on ``meta``, whose tensors have no values.

Whatever reads a value there raises, and so does a tracker of inputs where a tensor is on the host.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from test_compiling import NETWORKS
from test_every_model_type import BATCH, SCALE, SIDE, make_options

from basicsr.archs.arch_util import single_backward
from basicsr.models import graphed_step
from basicsr.models.graph_capture import InputTracker
from basicsr.models.graphed_step import find_obstacle
from basicsr.models.presets import PRESETS
from basicsr.models.sr_model import SRModel
from basicsr.utils.batch import Batch, image_of
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

# Degradations are no part of the step. Of types that differ in critics the last has the most.
KINDS = {repr([preset.get("objective"), "train" in preset]): name for name, preset in PRESETS.items()}


class MetaModel(SRModel):
    """Lives on the device without values."""

    device = property(lambda self: torch.device("meta"), lambda self, value: None)  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed_step, "DEVICE", "meta")
    # PyTorch has no autocast for this device.
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device_type, *args, **kwargs: autocast("cpu", *args, **kwargs))


def build(opt: dict[str, Any], kind: type[SRModel]) -> SRModel:
    made = type("Meta" + kind.__name__, (MetaModel,), {"preset": kind.preset, "__module__": "basicsr.models"})
    torch.manual_seed(0)
    model = made(opt)
    for optimizer in model.optimizers:
        # There is no fused step on this device; that of a CPU is tried elsewhere.
        optimizer.param_groups[0]["fused"] = True
        optimizer.step = lambda: None
    return model


def split_images(model: SRModel) -> list[Batch]:
    """A batch without values, as the step takes it."""
    gt = torch.rand(BATCH, 3, SIDE, SIDE, device="meta")
    lq = torch.rand(BATCH, 3, SIDE // SCALE, SIDE // SCALE, device="meta")
    is_pair = model.options.degradation is None
    model.batch = Batch(gt, lq, None if is_pair else gt.clone(), lq_antialiased=is_pair)
    model.lq, model.gt, model.gt_usm = lq, gt, model.batch.gt_usm
    return model.split_batch()


@pytest.mark.parametrize("model_type", sorted(KINDS.values()))
def test_the_host_does_nothing_in_a_step_that_can_be_captured(model_type: str) -> None:
    opt = make_options(model_type, PRESETS[model_type])
    model = build({**opt, "train": {**opt["train"], "clip_grad_norm": 0.1}}, MODEL_REGISTRY.get(model_type))
    obstacle = find_obstacle(model)
    assert bool(obstacle) == ("Wasserstein" in obstacle)
    model.take_step(split_images(model), True, False, model.ema_decay)  # tables are made
    for trains_generator in (True, False) if model.critics else (True,):
        parts = split_images(model)
        with InputTracker(), pytest.raises(RuntimeError, match="for the host") if obstacle else nullcontext():
            model.take_step(parts, trains_generator, False, model.ema_decay)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_leave_nothing_to_the_host(name: str) -> None:
    options, side = NETWORKS[name]
    net, images = ARCH_REGISTRY.get(name)(**options).to("meta"), torch.rand(2, 3, side, side, device="meta")
    with single_backward():
        net(images)
        with InputTracker() as tracker:
            image_of(net(images)).sum().backward()
    inputs = tracker.inputs()
    assert all(
        any(parameter is value for value in inputs) for parameter in net.parameters() if parameter.grad is not None
    )
