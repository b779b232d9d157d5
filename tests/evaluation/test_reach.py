"""How far networks look is measured on their weights; tiles with that margin are the whole image to half a level."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.evaluation.reach import LENGTHS, VISIBLE, make_texture, measure_reach
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.utils.seeding import torch_generator

RGB = torch.zeros(1, 3, 1, 1)


def blur(radius: int) -> nn.Module:
    """Every pixel of the square around a pixel counts alike."""
    net = nn.Conv2d(3, 3, 2 * radius + 1, padding=radius, bias=False)
    nn.init.constant_(net.weight, 1 / (3 * (2 * radius + 1) ** 2))
    return net.requires_grad_(False)


def make_picture(height: int, width: int) -> Tensor:
    """Another picture than those on which the reach is measured: discs of one colour on texture."""
    generator = torch_generator("another picture", height, width)
    picture = make_texture(3, height, width, generator)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for _ in range(12):
        y, x, radius = (int(torch.randint(1, n, (1,), generator=generator)) for n in (height, width, 14))
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        picture[:, inside] = torch.rand(3, 1, generator=generator)
    return picture[None]


def levels_between(one: Tensor, other: Tensor) -> float:
    return float((one.clamp(0, 1) - other.clamp(0, 1)).abs().max() * 255)


@pytest.mark.parametrize("radius", [1, 5, 20])
def test_reach_of_a_filter_is_its_radius(radius: int) -> None:
    reach = measure_reach(blur(radius), RGB)
    assert reach.is_bounded
    assert reach.overlap == radius
    assert reach.levels_at(radius - 1) > reach.levels_at(radius)
    assert reach.levels_at(10**6) == reach.profile[-1]


def test_reach_counts_what_shows_and_not_the_receptive_field() -> None:
    faint = blur(20)
    faint.weight.data *= 1e-3
    with torch.no_grad():
        assert measure_reach(lambda x: blur(2)(x) + faint(x), RGB).overlap == 2


@pytest.mark.parametrize("axis", [-1, -2])
def test_reach_is_that_of_the_farther_axis(axis: int) -> None:
    reach = measure_reach(lambda x: (x + x.roll(9, axis)) / 2, RGB)
    assert reach.overlap == 9


def average_channels(x: Tensor) -> Tensor:
    """Channel attention: a gate from the average over the image."""
    return x * torch.sigmoid(x.mean((-2, -1), keepdim=True))


@pytest.mark.parametrize("net", [average_channels, F.instance_norm])
def test_averages_over_the_image_have_no_bound(net: object) -> None:
    reach = measure_reach(net, RGB)  # type: ignore[arg-type]
    assert not reach.is_bounded
    assert reach.overlap < LENGTHS[-1]
    assert reach.levels_at(reach.overlap) > VISIBLE


def test_sizes_channels_and_types_are_those_of_the_input() -> None:
    seen: set[tuple[int, torch.dtype]] = set()

    def net(x: Tensor) -> Tensor:
        assert x.shape[-2] % 7 == x.shape[-1] % 7 == 0
        seen.add((x.shape[1], x.dtype))
        return F.interpolate(x, scale_factor=3)

    assert measure_reach(net, torch.zeros(2, 4, 9, 9, dtype=torch.float64), multiple=7).overlap == 0
    assert seen == {(4, torch.float64)}


def strong(net: nn.Module, factor: float) -> nn.Module:
    """A network whose untrained weights are so large that what it looks at shows."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net.eval().requires_grad_(False)


SWIN = {"type": "SwinIR", "img_size": 16, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 8}
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "num_grow_ch": 4}
NETWORKS = {
    "SwinIR": ({**SWIN, "upscale": 2, "upsampler": "pixelshuffledirect"}, 8, 2, 2.0),
    "RRDBNet": ({**RRDB, "scale": 4}, 1, 4, 3.0),
    "RRDBNet x2": ({**RRDB, "scale": 2}, 2, 2, 3.0),
    "RRDBNet x1": ({**RRDB, "scale": 1}, 4, 1, 3.0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_default_overlap_gives_the_whole_image_to_half_a_level(name: str) -> None:
    block, multiple, scale, factor = NETWORKS[name]
    torch.manual_seed(0)
    net = strong(build_network(block), factor)
    assert size_multiple(net) == multiple
    lq = make_picture(61, 52)
    whole = tiled_forward(net, lq, None, scale=scale, multiple=multiple)
    assert levels_between(tiled_forward(net, lq, 16, 0, scale, multiple), whole) > VISIBLE
    assert levels_between(tiled_forward(net, lq, 16, None, scale, multiple), whole) <= VISIBLE


def test_windows_lie_as_in_the_whole_image() -> None:
    torch.manual_seed(0)
    net = strong(build_network({**SWIN, "depths": [2], "num_heads": [2]}), 2.0)
    lq = make_picture(64, 64)
    with torch.no_grad():
        # One pair of blocks looks no further than two windows, if they lie in place.
        assert levels_between(tiled_forward(net, lq, 30, 20, multiple=8), net(lq)) < 0.01
