"""Tile by tile gives the pixels of the whole image wherever the network looks no further than the margin."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.evaluation.tiling import plan_axis, tiled_forward
from basicsr.utils.seeding import torch_generator


def random_image(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch_generator("tiling", height, width))


class SmallNet(nn.Module):
    """Receptive field radius 3 (three 3x3 convolutions before a x2 pixel shuffle)."""

    radius = 3

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 12, 3, padding=1),
        )
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.shape[-2], x.shape[-1]))
        return F.pixel_shuffle(self.body(x), 2)


@pytest.mark.parametrize("size", [(40, 40), (37, 61), (16, 70), (90, 5), (15, 15)])
@pytest.mark.parametrize("overlap", [3, 4, 7, 16])
def test_equals_whole_image_where_receptive_field_fits(size: tuple[int, int], overlap: int) -> None:
    net, lq = SmallNet(), random_image(*size, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(tiled_forward(net, lq, 16, overlap, scale=2), net(lq), rtol=1e-5, atol=1e-6)


def test_too_small_overlap_differs_only_near_seams() -> None:
    net, lq = SmallNet(), random_image(32, 32)
    with torch.no_grad():
        difference = (tiled_forward(net, lq, 16, 0, scale=2) - net(lq)).abs().amax((0, 1))
    assert difference.max() > 1e-3
    far_from_seam = torch.cat([torch.arange(0, 26), torch.arange(38, 64)])
    assert difference[far_from_seam][:, far_from_seam].max() < 1e-6


def test_memory_is_bounded_by_the_tile() -> None:
    net = SmallNet()
    with torch.no_grad():
        tiled_forward(net, random_image(130, 70), 24, 8, scale=2)
    assert len(net.seen) == 6 * 3
    assert max(max(shape) for shape in net.seen) <= 24 + 2.5 * 8


def test_blending_removes_the_step_at_seams() -> None:
    def biased(x: Tensor) -> Tensor:
        return x + x.mean()

    gradient = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    steps = tiled_forward(biased, gradient, 32, 0).diff(dim=-1).abs().max()
    blended = tiled_forward(biased, gradient, 32, 16).diff(dim=-1).abs().max()
    assert blended < steps / 3


@pytest.mark.parametrize("tile", [None, 0, 64])
def test_small_images_pass_whole(tile: int | None) -> None:
    net, lq = SmallNet(), random_image(33, 20)
    with torch.no_grad():
        assert torch.equal(tiled_forward(net, lq, tile, 8, scale=2), net(lq))
    assert net.seen[0] == (33, 20)


@pytest.mark.parametrize("tile", [None, 12, 13])
def test_sizes_that_the_network_takes(tile: int | None) -> None:
    seen: list[tuple[int, int]] = []

    def unshuffling(x: Tensor) -> Tensor:
        seen.append((x.shape[-2], x.shape[-1]))
        return F.pixel_shuffle(F.pixel_unshuffle(x, 4) * 2, 4)

    lq = random_image(37, 30)
    assert torch.equal(tiled_forward(unshuffling, lq, tile, 5, multiple=4), lq * 2)
    assert all(height % 4 == 0 and width % 4 == 0 for height, width in seen)
    assert torch.equal(tiled_forward(unshuffling, lq[..., :1, :2], tile, 5, multiple=4), lq[..., :1, :2] * 2)


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "multiple"), [(100, 30, 8, 1), (7, 2, 16, 1), (64, 20, 3, 4), (9, 1, 0, 1)]
)
def test_plan_covers_axis_once(length: int, tile: int, overlap: int, multiple: int) -> None:
    spans = plan_axis(length, tile, overlap, multiple)
    assert spans[0].write[0] == 0
    assert spans[-1].write[1] == length
    for span in spans:
        assert 0 <= span.read[0] <= span.write[0] < span.write[1] <= span.read[1] <= length
        assert span.read[0] % multiple == 0
        assert span.read[1] % multiple == 0
    for before, after in pairwise(spans):
        assert after.write[0] + after.ramp == before.write[1]


def test_wrong_scale_and_negative_tiles_are_named() -> None:
    lq = random_image(20, 20)
    with pytest.raises(ValueError, match="does its scale agree with scale: 4"):
        tiled_forward(SmallNet(), lq, None, scale=4)
    with pytest.raises(ValueError, match=r"val\.tile"):
        tiled_forward(SmallNet(), lq, -1, scale=2)


def test_rrdbnet_differs_little() -> None:
    archs = pytest.importorskip("basicsr.archs.rrdbnet_arch")
    torch.manual_seed(0)
    net = archs.RRDBNet(num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, num_grow_ch=4).eval()
    lq = random_image(40, 52)
    with torch.no_grad():
        whole = net(lq)
        torch.testing.assert_close(tiled_forward(net, lq, 24, 20, scale=4), whole, rtol=1e-4, atol=1e-5)
