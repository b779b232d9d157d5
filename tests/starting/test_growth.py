"""The start of another size makes the pictures of the shipped network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.starting.growth import grow_compact
from basicsr.utils.errors import ArgumentError

SMALL = {"num_feat": 5, "num_conv": 2}


def build(state: dict[str, torch.Tensor], **sizes: int) -> SRVGGNetCompact:
    net = SRVGGNetCompact(**sizes)
    net.load_state_dict(state)
    return net


@pytest.fixture
def small() -> SRVGGNetCompact:
    torch.manual_seed(3)
    net = SRVGGNetCompact(upscale=4, **SMALL)
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.1 * torch.randn(value.shape))
    return net


@pytest.mark.parametrize("sizes", [SMALL, {"num_feat": 9, "num_conv": 2}, {"num_feat": 8, "num_conv": 5}])
@pytest.mark.parametrize("scale", [4, 2])
def test_a_grown_network_makes_the_same_pictures(small: SRVGGNetCompact, sizes: dict[str, int], scale: int) -> None:
    grown = build(grow_compact(small.state_dict(), **sizes, scale=scale), upscale=scale, **sizes)
    image = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        wanted = F.avg_pool2d(small(image), 4 // scale)
        torch.testing.assert_close(grown(image), wanted, atol=2e-6, rtol=1e-5)


def test_new_channels_learn(small: SRVGGNetCompact) -> None:
    grown = build(grow_compact(small.state_dict(), 8, 3), num_feat=8, num_conv=3, upscale=4)
    grown(torch.rand(1, 3, 6, 6)).square().mean().backward()
    assert grown.body[-1].weight.grad[:, 5:].abs().max() > 0


def test_a_network_does_not_shrink(small: SRVGGNetCompact) -> None:
    with pytest.raises(ArgumentError, match="cannot grow 5x2 to 4x2"):
        grow_compact(small.state_dict(), 4, 2)
    with pytest.raises(ArgumentError, match="scale must be 2 or 4, got 3"):
        grow_compact(small.state_dict(), 5, 2, scale=3)
