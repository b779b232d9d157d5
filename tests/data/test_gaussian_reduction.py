"""DUF's reduction: a Gaussian blur of which every n-th pixel is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from basicsr.data.data_util import duf_downsample, generate_gaussian_kernel


def test_the_kernel_is_a_gaussian() -> None:
    kernel = generate_gaussian_kernel(13, 1.6)
    squared = np.add.outer(np.arange(-6, 7) ** 2, np.arange(-6, 7) ** 2)
    expected = np.exp(-squared / (2 * 1.6**2))
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reduced_frames_are_blurred_and_thinned(scale: int) -> None:
    frames = torch.rand(2, 3, 3, 24, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reduced = duf_downsample(frames, scale=scale)
    assert reduced.shape == (2, 3, 3, 24 // scale, 36 // scale)
    torch.testing.assert_close(duf_downsample(frames[0], scale=scale), reduced[0])
    blurred = gaussian_filter(frames[0, 0, 0].numpy(), 0.4 * scale, mode="mirror")
    np.testing.assert_allclose(reduced[0, 0, 0].numpy(), blurred[::scale, ::scale], atol=1e-12)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="scale must be 2, 3 or 4, got 5"):
        duf_downsample(torch.rand(1, 3, 24, 24), scale=5)
    with pytest.raises(ValueError, match=r"got \(3, 24, 24\)"):
        duf_downsample(torch.rand(3, 24, 24))
