"""Building networks by options, and the shared parts under their public names."""

from __future__ import annotations

import importlib
from types import MappingProxyType

import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.arch_util import (
    ResidualBlockNoBN,
    Upsample,
    default_init_weights,
    make_layer,
    pixel_unshuffle,
    to_2tuple,
)
from basicsr.utils.errors import UserError


def test_options_are_not_changed() -> None:
    opt = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}
    before = dict(opt)
    build_network(MappingProxyType(opt))
    assert opt == before


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({}, "needs the key 'type'"),
        ({"type": "RRDBnet"}, "did you mean RRDBNet"),
        (
            {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feats": 4},
            "unexpected keyword argument 'num_feats'",
        ),
        ({"type": "RRDBNet", "num_in_ch": 3}, "missing a required argument: 'num_out_ch'"),
    ],
)
def test_mistakes_are_named(opt: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network(opt)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("rrdbnet_arch", "RRDBNet"),
        ("rrdbnet_arch", "RRDB"),
        ("srresnet_arch", "MSRResNet"),
        ("srvgg_arch", "SRVGGNetCompact"),
        ("swinir_arch", "SwinIR"),
        ("discriminator_arch", "UNetDiscriminatorSN"),
        ("vgg_arch", "VGGFeatureExtractor"),
        ("arch_util", "default_init_weights"),
        ("arch_util", "trunc_normal_"),
    ],
)
def test_public_import_paths(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"basicsr.archs.{module}"), name)


def test_residual_block_and_initialisation() -> None:
    block = ResidualBlockNoBN(4, res_scale=0.5)
    x = torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(block(x), x + 0.5 * block.conv2(block.conv1(x).relu()))
    layers = nn.Sequential(nn.Linear(500, 300), nn.BatchNorm1d(300))
    default_init_weights(layers, scale=0.5, bias_fill=0.25)
    assert layers[0].weight.std().item() == pytest.approx(0.5 * (2 / 500) ** 0.5, rel=0.05)
    assert (layers[0].bias == 0.25).all() and (layers[1].weight == 1).all()
    assert len(make_layer(ResidualBlockNoBN, 3, num_feat=2)) == 3


@pytest.mark.parametrize(("scale", "names"), [(1, []), (2, ["0"]), (3, ["0"]), (8, ["0", "2", "4"])])
def test_upsample_names_and_shapes(scale: int, names: list[str]) -> None:
    net = Upsample(scale, 2)
    assert sorted({key.split(".")[0] for key in net.state_dict()}) == names
    assert net(torch.rand(1, 2, 3, 4)).shape == (1, 2, 3 * scale, 4 * scale)
    with pytest.raises(ValueError, match="power of 2, got 6"):
        Upsample(6, 2)


def test_pixel_unshuffle_undoes_the_shuffle() -> None:
    x = torch.rand(2, 8, 3, 5)
    assert torch.equal(pixel_unshuffle(nn.functional.pixel_shuffle(x, 2), 2), x)
    with pytest.raises(ValueError, match="divisible by 2, got 3x4"):
        pixel_unshuffle(torch.rand(1, 1, 3, 4), 2)


def test_pairs() -> None:
    assert to_2tuple(3) == (3, 3) and to_2tuple([3, 4]) == (3, 4)
    with pytest.raises(ValueError, match="pair of integers"):
        to_2tuple([1, 2.5])
