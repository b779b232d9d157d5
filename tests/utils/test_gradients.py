"""SPSR's gradient maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from basicsr.processing.filters import gradient_map


@pytest.mark.parametrize(("padding", "size"), [(0, 6), (1, 8), (2, 10)])
def test_map_is_the_convolution_with_central_differences(padding: int, size: int) -> None:
    image = torch.rand(2, 3, 8, 8)
    vertical = torch.tensor([[0.0, -1, 0], [0, 0, 0], [0, 1, 0]]).expand(3, 1, 3, 3)
    dv = nn.functional.conv2d(image, vertical, padding=padding, groups=3)
    dh = nn.functional.conv2d(image, vertical.transpose(-1, -2), padding=padding, groups=3)
    result = gradient_map(image, padding)
    assert result.shape == (2, 3, size, size)
    torch.testing.assert_close(result, (dv**2 + dh**2 + 1e-6).sqrt())


def test_default_is_the_map_that_critics_see() -> None:
    assert gradient_map(torch.rand(1, 3, 32, 32)).shape == (1, 3, 34, 34)


def test_gradient_is_finite_in_flat_regions_and_right_elsewhere() -> None:
    flat = torch.full((1, 1, 6, 6), 0.5, requires_grad=True)
    gradient_map(flat).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
    image = torch.rand(1, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gradient_map, (image,))


def test_an_image_without_neighbours_is_refused() -> None:
    with pytest.raises(ValueError, match="central difference"):
        gradient_map(torch.rand(1, 3, 2, 8), padding=0)
