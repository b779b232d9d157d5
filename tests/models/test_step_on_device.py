"""A step asks a device to work and never for what came of it: shown on ``meta``, whose tensors have no values.

Whatever reads a value there raises, and so does a tracker of inputs where a tensor is on the host. Some of PyTorch goes
another way for a GPU, such as putting a number into a place of a tensor: forward passes and the package's own backward
passes are shown on fake tensors of one, too. (Autograd needs a real GPU.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_compiling import NETWORKS
from test_every_model_type import BATCH, SCALE, SIDE, make_options
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs.arch_util import single_backward
from basicsr.models import graphed_step
from basicsr.models.graph_capture import InputTracker
from basicsr.models.graphed_step import find_obstacle
from basicsr.models.presets import PRESETS
from basicsr.models.sr_model import SRModel
from basicsr.spectral.fourier import _Extremes, _Power, _RealFFT
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


@pytest.fixture
def fake_gpu() -> FakeTensorMode:
    mode = FakeTensorMode()
    try:
        with mode:
            torch.fft.rfft2(torch.empty(2, 3, 4, device="cuda")[:, 1:])
    except RuntimeError:
        pytest.skip("this PyTorch has no fake tensors of a GPU without a driver")
    return mode


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "SpectralDiscriminator"])
def test_networks_leave_nothing_to_the_host_of_a_gpu(name: str, fake_gpu: FakeTensorMode) -> None:
    options, side = NETWORKS[name]
    net = ARCH_REGISTRY.get(name)(**options)
    with fake_gpu, torch.no_grad():
        held = [*net.named_parameters(), *net.named_buffers()]
        state = {key: torch.empty(value.shape, dtype=value.dtype, device="cuda") for key, value in held}
        images = torch.empty(2, 3, side, side, device="cuda")
        torch.func.functional_call(net, state, images)  # tables are made
        with InputTracker():
            torch.func.functional_call(net, state, images)


@pytest.mark.parametrize("width", [4, 5])
def test_backward_passes_of_spectra_leave_nothing_to_the_host_of_a_gpu(width: int, fake_gpu: FakeTensorMode) -> None:
    with fake_gpu:
        half = torch.empty(2, 5, width // 2 + 1, device="cuda")
        spectrum, extremes = torch.complex(half, half), torch.empty(2, 2, 1, 1, device="cuda")
        fft = SimpleNamespace(shape=(2, 5, width), rows=-2, norm="backward")
        found = SimpleNamespace(saved_tensors=(half, extremes), width=width, dims=[2, 3])
        with InputTracker():
            _RealFFT.backward(fft, spectrum)
            _Power.backward(SimpleNamespace(saved_tensors=(spectrum,)), half)
            _Extremes.backward(found, extremes)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x[x > 0],
        lambda x: x.index_put_((x > 0,), x),
        lambda x: x.cpu(),
        lambda x: x.to("cpu", non_blocking=True),
        lambda x: x.new_zeros(2, device="cpu"),
        lambda x: torch.zeros(2).copy_(x[:2]),
    ],
)
def test_what_the_host_would_wait_for_raises_before_it_runs(read: Callable[[torch.Tensor], Any]) -> None:
    class Ran(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    x = torch.rand(3, device="meta")
    with Ran(), InputTracker(), pytest.raises(RuntimeError, match="for the host"):
        read(x)
    assert not {name.split(".")[0] for name in names} & {"_to_copy", "copy_", "nonzero", "equal", "_local_scalar_dense"}
