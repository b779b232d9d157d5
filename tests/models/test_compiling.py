"""Compiled training: whole graphs, the losses and names of the networks as they are, and what falls back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import single_backward
from basicsr.engine.model_copy import copy_model
from basicsr.models import build_model, compile_choice, compiling
from basicsr.models.compile_choice import Timing
from basicsr.models.compiling import compile_network
from basicsr.models.sr_model import SRModel
from basicsr.utils.batch import image_of
from basicsr.utils.dist_util import is_compiled
from basicsr.utils.registry import ARCH_REGISTRY

SWIN = {"embed_dim": 4, "depths": [2], "num_heads": [1], "window_size": 2, "mlp_ratio": 1}
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "RRDBNet": ({"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}, 6),
    "MSRResNet": ({"num_feat": 4, "num_block": 1}, 6),
    "SRVGGNetCompact": ({"num_feat": 4, "num_conv": 1}, 6),
    "SPSRNet": ({"in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 2}, 6),
    "SwinIR": ({**SWIN, "img_size": 8, "upscale": 4, "upsampler": "pixelshuffle"}, 8),
    "SwinTransformer": ({**SWIN, "img_size": 16, "patch_size": 4, "num_classes": 1}, 16),
    "SpectralDiscriminator2D": ({**SWIN, "img_size": 16, "patch_size": 4}, 16),
    "SpectralDiscriminator": ({"img_size": 16, "hidden_channels": [4]}, 16),
    "UNetDiscriminatorSN": ({"num_in_ch": 3, "num_feat": 2}, 16),
    "VGGStyleDiscriminator": ({"num_in_ch": 3, "num_feat": 2, "input_size": 128}, 128),
}


@pytest.fixture(autouse=True)
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are made as ever, but run by PyTorch's own kernels: nothing takes long."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    compiling.find_obstacle.cache_clear()
    torch.compiler.reset()


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """The package's warnings. (``caplog`` would format what PyTorch traces at length.)"""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("basicsr")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def build(name: str) -> tuple[nn.Module, Tensor]:
    options, side = NETWORKS[name]
    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)(**options)
    return net, torch.rand(2, 3, side, side)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_networks_train_as_one_graph(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("SpectralDiscriminator", "SPSRNet", "SwinIR") and torch.__version__.startswith("2.4."):
        pytest.skip("PyTorch 2.4 does not trace how rings are counted, autocast is asked for, and buffers are got")
    monkeypatch.setattr(compiling, "BACKEND", backend)
    net, images = build(name)
    results = []
    for one in (copy.deepcopy(net), net):
        if one is net:
            compile_network("g", one)
        seen = images.clone().requires_grad_()
        torch.manual_seed(1)
        with single_backward():
            out = image_of(one(seen))
        out.square().mean().backward()
        # A compiled backward pass gives zeros to parameters of outputs that no loss has used.
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in one.parameters()]
        results.append([out, seen.grad, *slopes, *one.buffers()])
    assert is_compiled(net)
    assert len(results[0]) == len(results[1])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


# --- the step ---------------------------------------------------------------------------------------------------------

ADAM = {"type": "Adam", "lr": 1e-3}
SWIN_CRITIC = {**SWIN, "img_size": 16, "patch_size": 4, "drop_path_rate": 0.0}
TOYS = {"d": {"type": "ToyCriticOfCompiling"}, "spectral_d": {"type": "ToyCriticOfCompiling"}}
TRANSFORMERS = {
    "d": {**SWIN_CRITIC, "type": "SwinTransformer", "num_classes": 1},
    "spectral_d": {**SWIN_CRITIC, "type": "SpectralDiscriminator2D"},
}
SETUPS = [("eager", TOYS), ("inductor", TRANSFORMERS)]
COMPILES = [pytest.mark.slow, pytest.mark.timeout(1500)]
"""The compiler of C++ takes minutes where it has no cache."""


@ARCH_REGISTRY.register(name="ToyCriticOfCompiling")
class ToyCritic(nn.Sequential):
    """Traced in no time."""

    judges_images_alone = True

    def __init__(self, num_feat: int = 4) -> None:
        super().__init__(nn.Conv2d(3, num_feat, 3, 2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.append(nn.Linear(num_feat, 1))


def options(
    compiled: bool | str, critics: dict[str, Any] = TOYS, objective: str = "RelativisticAverage", **train: Any
) -> dict[str, Any]:
    gan = {"type": "GANLoss", "gan_type": "wgan" if objective == "Wasserstein" else "vanilla", "loss_weight": 0.1}
    return {
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "network_g": {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2},
        "critics": {name: {"network": net, "optimizer": ADAM} for name, net in critics.items()},
        "objective": {"type": objective, "criterion": gan},
        "train": {
            "total_iter": 100,
            "ema_decay": 0.9,
            "compile": compiled,
            "optim_g": ADAM,
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "pixel_opt": {"type": "L1Loss"},
            **train,
        },
    }


def build_model_of(*args: Any, **train: Any) -> SRModel:
    torch.manual_seed(0)
    model = build_model(options(*args, **train))
    assert isinstance(model, SRModel)
    return model


def train(model: SRModel, first: int, last: int) -> list[dict[str, float]]:
    """Takes steps; returns their losses."""
    losses = []
    for iteration in range(first, last + 1):
        gt = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(iteration))
        model.begin_iteration(iteration)
        model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 2), "gt": gt})
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log())
    return losses


@pytest.mark.parametrize(
    ("parts", "backend", "critics"),
    [(1, *SETUPS[0]), (2, *SETUPS[0]), pytest.param(1, *SETUPS[1], marks=COMPILES)],
)
def test_a_compiled_step_has_the_losses_of_the_step_as_it_is(
    parts: int, backend: str, critics: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", backend)
    plain, compiled = (build_model_of(asked, critics, accumulate_steps=parts) for asked in (False, "all"))
    expected, found = train(plain, 1, 5), train(compiled, 1, 5)
    assert all(map(is_compiled, compiled.nets.values())) and not any(map(is_compiled, plain.nets.values()))
    for one, other in zip(found, expected, strict=True):
        # What shifts all logits alike cancels in a relativistic loss: rounding alone moves them.
        for name in (name for name in other if name.startswith("l_")):
            assert one[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize(("backend", "critics"), [SETUPS[0], pytest.param(*SETUPS[1], marks=COMPILES)])
def test_a_compiled_run_that_goes_on_ends_in_the_same_bits(
    backend: str, critics: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", backend)
    whole, first, second = (build_model_of("critics", critics) for _ in range(3))
    train(first, 1, 2)
    second.load_training_state(first.training_state())
    assert train(second, 3, 4) == train(whole, 1, 4)[2:]
    states = [model.training_state() for model in (second, whole)]
    assert states[0]["compiled"] == states[1]["compiled"] == {"asked": "critics", "networks": ["d", "spectral_d"]}
    for name, net in states[1]["networks"].items():
        assert all(torch.equal(states[0]["networks"][name][key], value) for key, value in net.items())


def count_compiled_calls(net: nn.Module) -> list[int]:
    """A list that grows with each pass through a compiled network."""
    calls: list[int] = []
    run = net._compiled_call_impl
    assert isinstance(run, compiling.TrainingCall)
    compiled = run.compiled
    run.compiled = lambda *args, **kwargs: calls.append(1) or compiled(*args, **kwargs)
    return calls


def test_names_copies_and_validation_know_nothing_of_compilation() -> None:
    plain, model = build_model_of(False), build_model_of("all", ema_decay=0)
    train(model, 1, 1)
    calls = count_compiled_calls(model.net_g)
    train(model, 2, 2)
    assert len(calls) == 1
    model.test()
    assert len(calls) == 1
    copied = copy_model(model, 1)
    assert not any(map(is_compiled, copied.nets.values())) and all(map(is_compiled, model.nets.values()))
    train(copied, 3, 3)
    assert len(calls) == 1 and not any(map(is_compiled, copied.nets.values()))
    expected = {name: list(net) for name, net in plain.training_state()["networks"].items() if name != "g_ema"}
    assert {name: list(net) for name, net in model.training_state()["networks"].items()} == expected


def test_a_gradient_penalty_is_that_of_networks_as_they_are() -> None:
    plain, compiled = (build_model_of(asked, objective="Wasserstein") for asked in (False, "critics"))
    train(compiled, 1, 1)
    calls = count_compiled_calls(compiled.nets["d"])
    found = train(compiled, 2, 2)
    # Real and generated images, and the latter once more for the generator.
    assert len(calls) == 3 and is_compiled(compiled.nets["d"])
    assert found[-1] == pytest.approx(train(plain, 1, 2)[-1], rel=1e-5, abs=1e-5)


# --- what falls back --------------------------------------------------------------------------------------------------


def test_without_a_compiler_networks_train_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/there/is/no/compiler",))
    with collect_warnings() as found:
        model = build_model_of("critics")
        losses = train(model, 1, 2)
    assert len(found) == 1 and "nothing can be compiled here" in found[0] and "/there/is/no/compiler" in found[0]
    assert losses == train(build_model_of(False), 1, 2)
    # A run that goes on elsewhere stays what it was.
    monkeypatch.undo()
    monkeypatch.setattr(compiling, "find_obstacle", lambda device: "")
    resumed = build_model_of("critics")
    resumed.load_training_state(model.training_state())
    train(resumed, 3, 3)
    assert not any(map(is_compiled, resumed.nets.values()))
    changed = build_model_of("all")
    changed.load_training_state(model.training_state())
    changed.begin_iteration(3)
    assert all(map(is_compiled, changed.nets.values()))


class Breaking(nn.Conv2d):
    """No graph can be made of it as a whole."""

    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


def test_a_network_that_cannot_be_compiled_runs_as_it_is_and_is_named() -> None:
    net = Breaking(3, 3, 1)
    compile_network("d", net)
    images = torch.rand(1, 3, 4, 4)
    with collect_warnings() as found:
        out = net(images)
    assert torch.equal(out, nn.functional.conv2d(images, net.weight, net.bias))
    assert len(found) == 1 and found[0].startswith("net_d is not compiled from here")
    assert not is_compiled(net)


def test_mistakes_in_a_call_are_raised_as_ever() -> None:
    net, _ = build("SpectralDiscriminator")
    compile_network("d", net)
    with pytest.raises(ValueError, match="expects images of 16x16 pixels"):
        net(torch.rand(1, 3, 8, 8))
    assert is_compiled(net)


# --- auto -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timing", "iterations", "pays"),
    [
        (Timing(1.0, 0.5, 10.0), 100, True),
        (Timing(1.0, 0.5, 10.0), 15, False),
        (Timing(1.0, 0.97, 0.0), 10**6, False),
        (Timing(1.0, 1.5, 0.0), 10**6, False),
    ],
)
def test_compiling_pays_where_it_is_made_up_for(timing: Timing, iterations: int, pays: bool) -> None:
    assert timing.pays(iterations) is pays


def test_auto_measures_once_and_keeps_its_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def time_passes(name: str, *_: Any) -> Timing:
        measured.append(name)
        torch.rand(1)  # draws of a measurement are not the run's
        return Timing(1.0, 0.5 if name == "spectral_d" else 2.0, 0.0)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compile_choice, "_time_passes", time_passes)
    first = build_model_of("auto")
    losses = train(first, 1, 2)
    assert sorted(measured) == ["d", "g", "spectral_d"]
    assert [name for name, net in first.nets.items() if is_compiled(net)] == ["spectral_d"]
    again = build_model_of("auto")
    assert train(again, 1, 2) == losses
    assert len(measured) == 3, "the second run knows"
    (tmp_path / "basicsr/compile.json").unlink()
    resumed = build_model_of("auto")
    resumed.load_training_state(first.training_state())
    assert train(resumed, 3, 3) == train(first, 3, 3)
    assert len(measured) == 3, "the checkpoint knows"
    (tmp_path / "basicsr/compile.json").write_text("damaged")
    train(build_model_of("auto"), 1, 1)
    assert len(measured) == 6


def test_measuring_leaves_networks_and_random_streams_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    net, images = nn.utils.spectral_norm(nn.Conv2d(3, 1, 3)), torch.rand(2, 3, 8, 8)
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    passes = {"d": lambda one: one(images).sum().backward()}
    chosen = compile_choice.choose_networks({"d": net}, passes, images, 100, "digest")
    assert chosen in ([], ["d"])
    assert torch.equal(torch.get_rng_state(), random) and not is_compiled(net)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
