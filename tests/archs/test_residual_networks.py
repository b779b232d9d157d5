"""EDSR, RCAN, ECBSR and RIDNet: BasicSR 1.4.2's outputs for given weights, and blocks that become one convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.ecbsr_arch import ECB, ECBSR

NETWORKS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "edsr_x4": (
        {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "res_scale": 0.1},
        [
            0.449992668807,
            0.450751019959,
            0.4326505822,
            0.43453512676,
            0.400038676868,
            0.405765179287,
            0.449762872647,
            0.440533205484,
            0.436279238407,
            0.424793194896,
            0.408725930095,
            0.400138512473,
        ],
    ),
    "edsr_x3": (
        {
            "type": "EDSR",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 8,
            "num_block": 1,
            "upscale": 3,
            "img_range": 1.0,
        },
        [
            1.07984650434,
            0.730020407716,
            0.104218354028,
            1.03561064349,
            -0.428704274671,
            -0.35285100991,
            0.9195409901,
            0.547232278806,
            0.134876531667,
            1.26520130796,
            -0.446278911272,
            -0.263856850194,
        ],
    ),
    "rcan_x2": (
        {
            "type": "RCAN",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 8,
            "num_group": 2,
            "num_block": 1,
            "squeeze_factor": 4,
            "upscale": 2,
            "res_scale": 0.5,
            "rgb_mean": [0.4, 0.3, 0.2],
        },
        [
            0.398494671767,
            0.401816453283,
            0.296856272488,
            0.305368585328,
            0.195805717322,
            0.200569139716,
            0.396464257662,
            0.403799492827,
            0.299804681044,
            0.30028068044,
            0.200959103136,
            0.196417565774,
        ],
    ),
    "ecbsr_x2": (
        {
            "type": "ECBSR",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_block": 1,
            "num_channel": 4,
            "with_idt": True,
            "act_type": "prelu",
            "scale": 2,
        },
        [
            1.71135927059,
            -0.469676195033,
            -2.70852309593,
            -1.63842528663,
            2.59416050497,
            1.08201335137,
            -2.56695396215,
            1.04953358634,
            3.91714080461,
            4.91929416668,
            0.0469037163595,
            -2.40679260899,
        ],
    ),
    "ecbsr_luma_x4": (
        {
            "type": "ECBSR",
            "num_in_ch": 1,
            "num_out_ch": 1,
            "num_block": 1,
            "num_channel": 4,
            "with_idt": False,
            "act_type": "softplus",
            "scale": 4,
        },
        [
            -0.149168032366,
            0.576693523334,
            1.49177245042,
            1.05277935876,
            2.0560967543,
            -4.32395090938,
            1.46691933563,
            2.73790771069,
            1.02830032174,
            -1.84983435864,
            -0.485141984961,
            -1.42625164334,
        ],
    ),
    "ridnet": (
        {
            "type": "RIDNet",
            "in_channels": 3,
            "mid_channels": 16,
            "out_channels": 3,
            "num_block": 1,
            "rgb_std": [0.5, 1, 2],
        },
        [
            1.09080512616,
            0.91046665983,
            0.577581375003,
            1.12159025476,
            1.3951379973,
            0.756227980036,
            0.355866483212,
            1.20297090148,
            1.12734127884,
            0.538200641306,
            1.22780646406,
            1.50786940225,
        ],
    ),
}
"""Options, and twelve pixels of the output of :func:`wave` for an image and weights that are waves too (float64)."""


def wave(shape: tuple[int, ...], frequency: float) -> torch.Tensor:
    count = int(torch.tensor(shape).prod())
    return torch.sin(frequency * torch.arange(1, count + 1, dtype=torch.float64)).view(shape)


def fill(net: nn.Module) -> nn.Module:
    """Gives every parameter a wave of its own; the filters of edges stay."""
    net = net.double().train()
    state = net.state_dict()
    for index, (name, value) in enumerate(state.items()):
        if not name.endswith("mask"):
            value.copy_(wave(tuple(value.shape), 0.37 + 0.11 * index) / max(value[0].numel(), 4) ** 0.5)
    return net


def read_pixels(net: nn.Module, channels: int) -> torch.Tensor:
    with torch.no_grad():
        y = fill(net)(0.5 + 0.5 * wave((2, channels, 6, 5), 0.9))
    return y.flatten()[:: y.numel() // 12 + 1]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_published_network(name: str) -> None:
    options, expected = NETWORKS[name]
    found = read_pixels(build_network(options), options.get("num_in_ch", 3))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("act_type", ["prelu", "relu", "softplus", "linear"])
@pytest.mark.parametrize(("num_in_ch", "with_idt"), [(1, False), (3, True)])
def test_ecbsr_evaluates_one_convolution_that_equals_the_branches(
    num_in_ch: int, with_idt: bool, act_type: str
) -> None:
    net = ECBSR(num_in_ch, 3, 2, 8, with_idt, act_type, 2)  # type: ignore[arg-type]
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = torch.rand(2, num_in_ch, 9, 7)
    with torch.no_grad():
        branches, single = net.train()(x), net.eval()(x)
    torch.testing.assert_close(single, branches, rtol=1e-5, atol=1e-5 * float(branches.abs().max()))


def test_the_convolution_of_a_block_carries_over_to_a_plain_layer() -> None:
    block, plain = ECB(4, 6, 2, "linear"), nn.Conv2d(4, 6, 3, padding=1)
    weight, bias = block.rep_params()
    plain.load_state_dict({"weight": weight, "bias": bias})
    x = torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(plain(x), block.train()(x), rtol=1e-5, atol=1e-6)


def test_the_filters_of_edges_are_no_parameters_but_lie_in_published_files() -> None:
    net = ECBSR(3, 3, 1, 4, False, "prelu", 2)
    masks = {name for name in net.state_dict() if name.endswith("mask")}
    assert len(masks) == 9
    assert not masks & {name for name, _ in net.named_parameters()}
