"""Radial profiles: flat for white noise, one peak for a sinusoid, and distances that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from basicsr.spectral import profiles
from basicsr.spectral.rings import frequency_rings


def white_noise(*shape: int, std: float = 0.1) -> Tensor:
    return std * torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def slow_profile(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape
    power = np.abs(np.fft.fft2(image)) ** 2 / image.size
    bins: dict[int, list[tuple[float, float]]] = {}
    for u in range(height):
        for v in range(width):
            radius = math.hypot((u - height * (2 * u >= height)) * width, (v - width * (2 * v >= width)) * height)
            radius /= max(height, width)
            entry = (radius / min(height, width) * math.sqrt(2), power[u, v])
            bins.setdefault(math.floor(radius), []).append(entry)
    means = np.array([np.mean(bins[ring], axis=0) for ring in range(max(bins) + 1)])
    return means[:, 0], 10 * np.log10(means[:, 1] + 1e-10)


@pytest.mark.parametrize("size", [(16, 16), (15, 15), (12, 17), (17, 12), (9, 30), (10, 24)])
def test_profile_of_any_size(size: tuple[int, int]) -> None:
    x = torch.rand(*size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    frequency, level = slow_profile(x.numpy())
    profile = profiles.radial_profile(x)
    np.testing.assert_allclose(profile.frequency.numpy(), frequency, atol=1e-12)
    np.testing.assert_allclose(profile.level.numpy(), level, rtol=1e-9)
    assert profile.frequency[0] >= 0 and profile.frequency[-1] <= 1 + 1e-12


@pytest.mark.parametrize("window", [None, "hann"])
@pytest.mark.parametrize("size", [(128, 128), (97, 160)])
def test_white_noise_is_flat(window: str | None, size: tuple[int, int]) -> None:
    profile = profiles.radial_profile(white_noise(200, *size), window)
    mean = 10 * torch.log10((10 ** (profile.level / 10)).mean(0))
    assert mean.shape == profile.frequency.shape
    # Five standard errors of a mean of squared Gaussians; a window correlates about four neighbouring bins.
    num_bins = frequency_rings(*size, torch.device("cpu")).num_bins
    tolerance = 5 * 4.34 * (2 * (4 if window else 1) / (200 * num_bins)).sqrt()
    assert ((mean - 20 * math.log10(0.1)).abs() < tolerance).all()
    slope = np.polyfit(profile.frequency[3:-3], mean[3:-3], 1)[0]
    assert abs(slope) < 0.1


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
@pytest.mark.parametrize("cycles", [(5, 0), (0, 9), (11, -7), (20, 13)])
@pytest.mark.parametrize("window", [None, "hann"])
def test_sinusoid_has_one_peak_at_its_frequency(
    size: tuple[int, int], cycles: tuple[int, int], window: str | None
) -> None:
    rows, cols = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in size), indexing="ij")
    phase = 2 * math.pi * (cycles[0] * rows / size[0] + cycles[1] * cols / size[1])
    profile = profiles.radial_profile(torch.sin(phase), window)
    expected = math.hypot(cycles[0] / size[0], cycles[1] / size[1]) * math.sqrt(2)
    ring = 2**0.5 / min(size)
    peak = int(profile.level.argmax())
    assert abs(float(profile.frequency[peak]) - expected) <= ring
    far = (profile.frequency - profile.frequency[peak]).abs() > 2.5 * ring
    assert (profile.level[far] < profile.level[peak] - 25).all()


def test_bands_partition_the_rings() -> None:
    for size in ((64, 64), (33, 50)):
        slices = [profiles.select_band(*size, band) for band in ("low", "middle", "high")]
        assert [part.start for part in slices[1:]] == [part.stop for part in slices[:-1]]
        assert slices[0].start == 0
        everything = profiles.select_band(*size, "all")
        assert (everything.start, everything.stop) == (0, slices[-1].stop)
        frequency = profiles.radial_profile(torch.rand(size)).frequency
        assert everything.stop == len(frequency)
        assert (frequency[slices[0]] < 0.3).all()
        assert ((frequency[slices[1]] >= 0.3) & (frequency[slices[1]] < 0.8)).all()
        assert (frequency[slices[2]] >= 0.8).all()


def test_corner_belongs_to_the_high_band() -> None:
    rows = torch.arange(16)
    checkerboard = ((rows[:, None] + rows) % 2).double()
    profile = profiles.radial_profile(checkerboard)
    corner = int(profile.level[1:].argmax()) + 1
    assert corner == len(profile.level) - 1
    band = profiles.select_band(16, 16, "high")
    assert band.start <= corner < band.stop


def test_distance_of_a_scaled_image_is_its_gain_in_every_band() -> None:
    x = 0.5 + white_noise(2, 3, 40, 56)
    for band in (*profiles.BAND_LIMITS, (0.1, 0.2)):
        distance = profiles.compare_profiles(x / 2, x).distance(band)
        torch.testing.assert_close(distance, torch.full_like(distance, 20 * math.log10(2)), rtol=1e-3, atol=0)
        assert (profiles.compare_profiles(x, x).distance(band) == 0).all()


def test_distance_sees_the_band_that_was_changed() -> None:
    x = 0.5 + white_noise(1, 3, 64, 64)
    spectrum = torch.fft.rfft2(x)
    rows = torch.fft.fftfreq(64, dtype=torch.float64)[:, None]
    radius = torch.hypot(rows, torch.fft.rfftfreq(64, dtype=torch.float64)) * math.sqrt(2)
    softened = torch.fft.irfft2(torch.where(radius > 0.8, 0.1, 1.0) * spectrum, s=(64, 64))
    pair = profiles.compare_profiles(softened, x)
    distances = {band: float(pair.distance(band)) for band in profiles.BAND_LIMITS}
    assert distances["low"] < 0.1
    assert distances["middle"] < 2
    assert 15 < distances["high"] < 21
    assert distances["low"] < distances["all"] < distances["high"]


def test_band_levels_order_natural_spectra() -> None:
    smooth = torch.nn.functional.avg_pool2d(torch.rand(2, 3, 66, 66), 3, 1)
    level = profiles.radial_profile(smooth, "hann", average_channels=True).level
    levels = {band: level[..., profiles.select_band(64, 64, band)].mean(-1) for band in profiles.BAND_LIMITS}
    assert set(levels) == {"all", "low", "middle", "high"}
    assert levels["low"].shape == (2,)
    assert (levels["low"] > levels["middle"]).all() and (levels["middle"] > levels["high"]).all()


def test_profiles_are_differentiable_and_batched() -> None:
    x = torch.rand(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    gt = torch.rand(2, 1, 8, 9, dtype=torch.float64)

    def distance(sr: Tensor, gt: Tensor) -> Tensor:
        return profiles.compare_profiles(sr, gt).distance()

    assert torch.autograd.gradcheck(lambda sr: distance(sr, gt), (x,), atol=1e-4)
    both = distance(x, gt)
    alone = torch.cat([distance(x[i : i + 1], gt[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, alone)


def test_bfloat16_images() -> None:
    x = torch.rand(1, 3, 16, 16).bfloat16()
    torch.testing.assert_close(profiles.radial_profile(x).level, profiles.radial_profile(x.float()).level)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: profiles.compare_profiles(x, x[..., 1:]), r"one shape.*\(1, 3, 16, 16\)"),
        (lambda x: profiles.compare_profiles(x, x).distance("ultra"), "low.*'ultra'"),
        (lambda x: profiles.compare_profiles(x, x).distance((0.5, 0.2)), "increasing"),
        (lambda x: profiles.compare_profiles(x[..., :2, :2], x[..., :2, :2], window="hann"), "3 pixels"),
        (lambda x: profiles.compare_profiles(x[..., :3, :3], x[..., :3, :3]).distance((0.01, 0.02)), "no frequency"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("size", [(16, 16), (40, 25), (300, 200)])
def test_resampled_profiles_keep_levels_where_they_are(size: tuple[int, int]) -> None:
    profile = profiles.radial_profile(torch.rand(2, *size, dtype=torch.float64), "hann")
    flat = profiles.resample_profile(torch.full_like(profile.level, -7.0), size, 64)
    torch.testing.assert_close(flat, torch.full((2, 64), -7.0, dtype=torch.float64))
    # Levels that fall with frequency come out where they were, but for the width of a ring and of a bin.
    step = math.sqrt(2) / min(size)
    centres = (torch.arange(profile.level.shape[-1], dtype=torch.float64) + 0.5) * step
    ramp = profiles.resample_profile(centres, size, 64)
    bins = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    assert (ramp - bins).abs()[2:].max() < max(1.5 * step, 1 / 64)
    assert (ramp.diff() >= 0).all()


def test_resampling_leaves_the_mean_of_the_image_out() -> None:
    level = torch.zeros(12, dtype=torch.float64)
    level[0] = 100.0
    assert profiles.resample_profile(level, (16, 16), 64).abs().max() == 0


def test_a_pair_of_profiles_gives_the_distance_in_any_band() -> None:
    sr, gt = torch.rand(2, 3, 24, 30), torch.rand(2, 3, 24, 30)
    pair = profiles.compare_profiles(sr, gt)
    levels = [profiles.radial_profile(images, "hann", average_channels=True).level for images in (sr, gt)]
    for band in profiles.BAND_LIMITS:
        rings = profiles.select_band(24, 30, band)
        expected = (levels[0] - levels[1])[:, rings].square().mean(-1).sqrt()
        torch.testing.assert_close(pair.distance(band), expected, rtol=0, atol=0)
    torch.testing.assert_close(pair.reference, levels[1])
