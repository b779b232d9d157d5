"""Warping fetches pixels from where the flow points to; resizing a flow scales what it says."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs.arch_util import flow_warp, resize_flow


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("interp_mode", ["nearest", "bilinear"])
def test_whole_pixels_shift_the_image(interp_mode: str, align_corners: bool) -> None:
    x = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([2.0, -1.0]).expand(2, 6, 9, 2)
    expected = torch.zeros_like(x)
    expected[..., 1:, :-2] = x[..., :-1, 2:]
    warped = flow_warp(x, flow, interp_mode, align_corners=align_corners)
    torch.testing.assert_close(warped, expected, rtol=1e-5, atol=1e-5)
    edge = flow_warp(x, flow, interp_mode, "border", align_corners)
    torch.testing.assert_close(edge[..., 0, :-2], x[..., 0, 2:], rtol=1e-5, atol=1e-5)


def test_half_a_pixel_is_a_mean() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5)
    warped = flow_warp(x, torch.tensor([0.5, 0.0]).expand(1, 1, 5, 2), padding_mode="border")
    torch.testing.assert_close(warped.flatten(), torch.tensor([0.5, 1.5, 2.5, 3.5, 4.0]))


def test_a_resized_flow_points_to_the_same_places() -> None:
    flow = torch.tensor([4.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 8, 12)
    for resized in (resize_flow(flow, "ratio", (0.5, 2)), resize_flow(flow, "shape", (4, 24))):
        assert resized.shape == (1, 2, 4, 24)
        torch.testing.assert_close(resized[0, :, 1, 1], torch.tensor([8.0, -1.0]))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"need a flow of \(1, 4, 4, 2\), got \(1, 2, 4, 4\)"):
        flow_warp(torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="'ratio' or 'shape', got 'scale'"):
        resize_flow(torch.zeros(1, 2, 4, 4), "scale", (2, 2))
