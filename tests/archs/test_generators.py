"""What the declarative table does not say of the generators: equivalent paths, padding, branches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basicsr.archs import RRDBNet, SPSRNet, SRVGGNetCompact, SwinIR, srvgg_arch
from basicsr.archs.rrdbnet_arch import ResidualDenseBlock
from basicsr.archs.spsr_arch import GradientMap, place_taps
from basicsr.processing.filters import extend_by_reflection
from basicsr.utils.errors import ArgumentError


@pytest.mark.parametrize("autocast", [False, True])
def test_dense_block_in_place_equals_concatenation(autocast: bool) -> None:
    block, x = ResidualDenseBlock(6, 4), torch.rand(1, 6, 9, 7)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        by_concatenation = block(x).detach()
        with torch.no_grad():
            in_place, batched = block(x), block(x.repeat(2, 1, 1, 1))[1:]
            last = block(x.to(memory_format=torch.channels_last))
    assert in_place.dtype == by_concatenation.dtype
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if autocast else {"rtol": 1e-5, "atol": 1e-6}
    for other in (in_place, batched, last):
        torch.testing.assert_close(other, by_concatenation, **tolerance)


def test_rrdbnet_input_is_left_alone() -> None:
    net, x = RRDBNet(3, 3, num_feat=4, num_block=1, num_grow_ch=2), torch.rand(1, 3, 4, 4)
    before = x.clone()
    with torch.no_grad():
        net(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("num_block", "taps"),
    [(23, [5, 10, 15, 20]), (20, [5, 10, 15, 20]), (16, [4, 8, 12, 16]), (6, [2, 3, 5, 6]), (1, [1, 1, 1, 1])],
)
def test_taps_are_published_ones_or_evenly_spread(num_block: int, taps: list[int]) -> None:
    assert place_taps(num_block) == taps


def test_gradient_map_is_that_of_the_formula_and_never_trains() -> None:
    net, x = GradientMap(), torch.rand(2, 3, 6, 5)
    padded = F.pad(x, (1, 1, 1, 1))
    vertical = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    horizontal = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    torch.testing.assert_close(net(x), (vertical**2 + horizontal**2 + 1e-6).sqrt())
    assert not list(net.parameters())
    assert list(net.state_dict()) == ["weight_h", "weight_v"]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(x), GradientMap()(x))


def test_spsr_filters_stay_fixed_when_everything_is_made_trainable() -> None:
    net = SPSRNet(3, 3, 4, 1, 2)
    for parameter in net.parameters():
        parameter.requires_grad = True
    branch, sr, gradient = net(torch.rand(1, 3, 4, 4))
    assert branch.shape == sr.shape == (1, 3, 16, 16) and gradient.shape == (1, 3, 4, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    (branch.square().sum() + sr.square().sum() + gradient.sum()).backward()
    optimizer.step()
    assert torch.equal(net.get_g_nopadding.weight_h, GradientMap().weight_h)


def test_spsr_shares_the_layers_it_stores_twice() -> None:
    net = SPSRNet(3, 3, 4, 1, 2)
    assert net.HR_conv0_new[0].weight is net.model[8].weight
    assert {"HR_conv0_new.0.weight", "model.8.weight"} <= set(net.state_dict())


def test_swinir_pads_by_reflection_and_crops() -> None:
    net = SwinIR(img_size=8, window_size=8, embed_dim=8, depths=[2], num_heads=[2], upscale=2, upsampler="pixelshuffle")
    x = torch.rand(1, 3, 11, 13)
    padded = F.pad(x, (0, 3, 0, 5), mode="reflect")
    with torch.no_grad():
        y, whole = net.eval()(x), net(padded)
    assert y.shape == (1, 3, 22, 26)
    torch.testing.assert_close(y, whole[..., :22, :26], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (3, 5), (8, 9), (5, 24)])
def test_padding_by_reflection_works_down_to_one_pixel(size: tuple[int, int]) -> None:
    x = torch.arange(size[0] * size[1], dtype=torch.float32).view(1, 1, *size)
    padded = extend_by_reflection(x, 8)
    assert padded.shape[-2] % 8 == padded.shape[-1] % 8 == 0
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    if min(size) > 4:
        missing = [-side % 8 for side in size]
        assert torch.equal(padded, F.pad(x, (0, missing[1], 0, missing[0]), mode="reflect"))


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (4, 20)])
def test_swinir_masks_fit_every_size(size: tuple[int, int]) -> None:
    options = {"window_size": 4, "embed_dim": 8, "depths": [2], "num_heads": [2]}
    small, built = SwinIR(img_size=8, **options).eval(), SwinIR(img_size=size, **options).eval()
    state = small.state_dict()
    built.load_state_dict(state, strict=True)
    x = torch.rand(1, 3, *size)
    if min(size) > 4:
        torch.testing.assert_close(small(x), built(x), rtol=1e-5, atol=1e-6)
    assert small(x).shape == x.shape


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (
            {"embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "upscale": 4, "upsampler": "pixelshuffle"},
            11900199,
        ),
        (
            {"embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "upscale": 2, "upsampler": "pixelshuffledirect"},
            910152,
        ),
    ],
)
def test_swinir_has_the_published_number_of_parameters(options: dict[str, object], count: int) -> None:
    with torch.device("meta"):
        net: nn.Module = SwinIR(img_size=64, window_size=8, mlp_ratio=2, **options)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("act_type", ["relu", "prelu", "leakyrelu"])
@pytest.mark.parametrize(("channels", "made", "scale"), [(3, 3, 4), (1, 1, 2), (1, 3, 3), (3, 3, 1)])
def test_srvgg_may_begin_as_interpolation(
    channels: int, made: int, scale: int, act_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(2, channels, 9, 7, generator=torch.Generator().manual_seed(0))
    bilinear = F.interpolate(x, scale_factor=scale, mode="bilinear").expand(-1, made, -1, -1)
    inside = (..., slice(scale, -scale), slice(scale, -scale))  # beyond its border the network sees black
    for others, within in ((0, 1e-6), (srvgg_arch._OTHERS, 1.0)):
        monkeypatch.setattr(srvgg_arch, "_OTHERS", others)
        net = SRVGGNetCompact(channels, made, 8, 3, scale, act_type, init="bilinear")  # type: ignore[arg-type]
        difference = (net(x) - bilinear)[inside].abs().max()
        assert (difference > 1e-3) == (others > 0) and difference < within
    with pytest.raises(ArgumentError, match="init bilinear passes 3 channels on; num_feat is 2"):
        SRVGGNetCompact(num_feat=2, init="bilinear")
