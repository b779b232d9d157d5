"""One declarative entry per architecture: every constructor argument varied, weights round-tripped strictly."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from architecture_table import ARCHITECTURES, BY_NAME, RRDB, SWIN, Architecture, Shape
from torch import Tensor

from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY

TESTED_ELSEWHERE = {"VGGFeatureExtractor": {"pretrained_path", "pretrained"}}
REQUIRED_TOGETHER = {"depths": {1: [2], 2: [2, 2], 3: [2, 2, 2]}}

CONFIGURATIONS = [
    pytest.param(entry, options, id=label) for entry in ARCHITECTURES for label, options in entry.configurations()
]


STRUCTURES = [
    parameter for parameter in CONFIGURATIONS if str(parameter.id).endswith(("base", "True", "False", "mlp", "conv"))
]


def complete(options: dict[str, Any]) -> dict[str, Any]:
    """Gives every stage its number of heads where only the depths vary."""
    if "depths" in options and len(options["depths"]) != len(options["num_heads"]):
        return options | {"num_heads": REQUIRED_TOGETHER["depths"][len(options["depths"])]}
    return options


def main_output(y: Any) -> Tensor:
    if isinstance(y, dict):
        return y["conv1_2"]
    return y[1] if isinstance(y, tuple) else y


def images(shape: Shape) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_table_varies_every_constructor_argument(entry: Architecture) -> None:
    parameters = inspect.signature(ARCH_REGISTRY.get(entry.name)).parameters
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values())
    assert all(parameter.annotation is not parameter.empty for parameter in parameters.values())
    untested = set(parameters) - set(entry.variants) - TESTED_ELSEWHERE.get(entry.name, set())
    assert not untested


def test_table_holds_every_registered_architecture() -> None:
    own = {name for name, cls in ARCH_REGISTRY.items() if cls.__module__.startswith("basicsr.archs.")}
    assert own == {*BY_NAME, "spandrel"}  # which stands for whatever a file holds


@pytest.mark.parametrize(("entry", "options"), CONFIGURATIONS)
def test_weights_round_trip_strictly_and_shapes_are_as_stated(entry: Architecture, options: dict[str, Any]) -> None:
    options = complete(options)
    first, second = entry.build(**options).eval(), entry.build(**options).eval()
    second.load_state_dict(first.state_dict(), strict=True)
    x = images(entry.shape(options))
    with torch.no_grad():
        y, same = main_output(first(x)), main_output(second(x))
    assert tuple(y.shape) == entry.expected(options)
    assert torch.isfinite(y).all()
    assert torch.equal(y, same)


@pytest.mark.parametrize(("entry", "options"), STRUCTURES)
def test_networks_are_built_on_the_meta_device(entry: Architecture, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        net = entry.build(**complete(options))
    state = net.state_dict()
    assert state
    assert all(value.is_meta for value in state.values())


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_training_mode_reaches_every_parameter(entry: Architecture) -> None:
    net = entry.build(**entry.base, **({"requires_grad": True} if entry.name == "VGGFeatureExtractor" else {})).train()
    y = net(images(entry.shape(entry.base)))
    parts = y if isinstance(y, tuple) else (main_output(y),)
    sum(part.square().sum() for part in parts).backward()
    unreached = [name for name, value in net.named_parameters() if value.requires_grad and value.grad is None]
    assert not unreached


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_bfloat16_autocast_gives_finite_results(entry: Architecture) -> None:
    net = entry.build(**entry.base).eval()
    x = images(entry.shape(entry.base)).requires_grad_()
    reference = main_output(net(x)).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = main_output(net(x))
    y.float().square().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    scale = reference.abs().max()
    assert (y.float() - reference).abs().max() <= 0.1 * scale + 0.02


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_channels_last_gives_the_same_result(entry: Architecture) -> None:
    net = entry.build(**entry.base).eval()
    x = images(entry.shape(entry.base))
    with torch.no_grad():
        y = main_output(net(x))
        other = main_output(net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last)))
    torch.testing.assert_close(other, y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))


BROKEN = [
    pytest.param(entry, options, message, id=f"{entry.name}-{options}")
    for entry in ARCHITECTURES
    for options, message in entry.broken
]


@pytest.mark.parametrize(("entry", "options", "message"), BROKEN)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_impossible_values_are_named(entry: Architecture, options: dict[str, Any], message: str, device: str) -> None:
    with torch.device(device), pytest.raises(ArgumentError) as raised:
        entry.build(**entry.base | options)
    assert message in str(raised.value)
    assert raised.value.argument in options


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.name)
def test_wrong_inputs_are_named_with_what_was_expected(entry: Architecture) -> None:
    net = entry.build(**entry.base).eval()
    batch, channels, height, width = entry.shape(entry.base)
    for shape in ((batch, channels + 1, height, width), (channels, height, width)):
        with pytest.raises(ValueError) as raised:
            net(torch.zeros(shape))
        assert f"expects images of shape (B, {channels}, H, W), got {shape}" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "size", "message"),
    [
        ("RRDBNet", RRDB | {"scale": 2}, (8, 7), "divisible by 2, got 8x7"),
        ("RRDBNet", RRDB | {"scale": 1}, (6, 8), "divisible by 4, got 6x8"),
        ("SwinTransformer", SWIN, (16, 24), "expects images of 16x16 pixels, got 16x24"),
        ("SpectralDiscriminator2D", SWIN, (24, 24), "expects images of 16x16 pixels, got 24x24"),
        ("SpectralDiscriminator", {"img_size": 16}, (16, 15), "expects images of 16x16 pixels, got 16x15"),
        ("MLPMixer", {"img_size": 8, "patch_size": 4, "dim": 8}, (16, 8), "expects images of 8x8 pixels, got 16x8"),
        ("VGGStyleDiscriminator", {"num_in_ch": 3, "num_feat": 2}, (96, 96), "128x128 pixels, got 96x96"),
        ("UNetDiscriminatorSN", {"num_in_ch": 3, "num_feat": 2}, (16, 12), "divisible by 8, got 16x12"),
        ("VggDiscriminatorYN", {}, (16, 15), "at least 16 pixels, got 16x15"),
    ],
)
def test_sizes_that_do_not_fit_are_named(
    name: str, options: dict[str, Any], size: tuple[int, int], message: str
) -> None:
    net = BY_NAME[name].build(**options).eval()
    with pytest.raises(ValueError) as raised:
        net(torch.zeros(1, 3, *size))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("RRDBNet", RRDB, (1, 3)),
        ("RRDBNet", RRDB | {"scale": 1}, (4, 12)),
        ("MSRResNet", {"num_feat": 4, "num_block": 1}, (1, 9)),
        ("UNetDiscriminatorSN", {"num_in_ch": 3, "num_feat": 2}, (8, 24)),
        ("UNetDiscriminatorSN", {"num_in_ch": 3, "num_feat": 2, "skip_connection": False}, (9, 15)),
        ("VggDiscriminatorYN", {}, (16, 40)),
        ("SPSRNet", {"in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 2}, (1, 5)),
    ],
)
def test_unusual_sizes_work(name: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    net = BY_NAME[name].build(**options).eval()
    with torch.no_grad():
        assert torch.isfinite(main_output(net(torch.rand(1, 3, *size)))).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RRDBNet", "SwinTransformer"])
@pytest.mark.parametrize("training", [False, True])
def test_networks_are_captured_as_one_graph(name: str, training: bool) -> None:
    entry = BY_NAME[name]
    net, x = entry.build(**entry.base).train(training), images(entry.shape(entry.base))
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    with torch.set_grad_enabled(training):
        torch.manual_seed(0)
        expected = net(x)
        torch.manual_seed(0)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
