from __future__ import annotations

import math

import pytest
import torch
from golden_cases import load_case

from basicsr.spectral.bands import (
    add_band_noise,
    check_edges,
    compute_band_rmse,
    even_edges,
    make_band_masks,
    remove_bands,
)

SIZES = [(16, 16), (15, 15), (12, 17), (17, 12), (18, 10)]


def full_published_mask(height: int, width: int, low: float, high: float) -> torch.Tensor:
    """The published rule written out on the shifted spectrum, shifted back to fft order."""
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2
    corner = math.hypot((height - 1) / 2, (width - 1) / 2)
    radius = torch.sqrt(y**2 + x**2)
    return torch.fft.ifftshift(((radius >= low * corner) & (radius < high * corner)).float())


def test_golden_perturbations_and_rmse():
    case = load_case("spec_frequency_perturbation")
    x, noise, sr = case.tensor("in.x"), case.tensor("in.noise"), case.tensor("in.sr")
    masks = make_band_masks(18, 18, even_edges(case.config["divide"]), "published")
    lacking, noisy = remove_bands(x, masks), add_band_noise(x, noise, masks)
    for band in range(case.config["divide"]):
        case.check(lacking[:, band], f"out.lack.{band}")
        case.check(noisy[:, band], f"out.noise.{band}")
    edges = (0, case.config["r1"], case.config["r2"], 1)
    rmse = compute_band_rmse(x, sr, edges, closed=False).square().mean(dim=0).sqrt()
    for band in range(3):
        case.check(rmse[band].float(), f"out.rmse.{band}")


def test_published_masks_agree_with_golden_mask_out():
    case = load_case("spec_mask_out")
    for key, call in case.config["calls"].items():
        if call["complement"]:
            continue
        kept = torch.from_numpy(case.arrays[key][0, 0] > 0).float()
        height, width = kept.shape
        assert torch.equal(torch.fft.ifftshift(kept), full_published_mask(height, width, call["r1"], call["r2"]))
        full = torch.fft.ifftshift(kept)
        mirrored = full.flip(0, 1).roll((1, 1), (0, 1))
        expected = ((full + mirrored) / 2)[:, : width // 2 + 1]
        if call["r1"] == 0 or call["r2"] == 1:
            edges = (call["r1"], call["r2"])
            assert torch.equal(make_band_masks(height, width, edges, "published")[0], expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("convention", ["symmetric", "published"])
def test_closed_bands_cover_every_bin_once(size, convention):
    masks = make_band_masks(*size, even_edges(7), convention, closed=True)
    assert torch.equal(masks.sum(dim=0), torch.ones(size[0], size[1] // 2 + 1))


@pytest.mark.parametrize("size", SIZES)
def test_published_filter_equals_real_part_of_full_complex_filter(size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    mask = full_published_mask(*size, 0.3, 0.8)
    expected = torch.fft.ifft2(torch.fft.fft2(x) * (1 - mask)).real.clamp(0, 1)
    torch.testing.assert_close(remove_bands(x, make_band_masks(*size, (0.3, 0.8), "published"))[:, 0], expected)


@pytest.mark.parametrize("size", SIZES)
def test_symmetric_masks_split_an_image_into_parts_that_add_up(size):
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    noisy = add_band_noise(torch.full_like(x, 0.5), 0.1 * (x - 0.5), make_band_masks(*size, even_edges(5)))
    torch.testing.assert_close((noisy - 0.5).sum(dim=1), 0.1 * (x - 0.5))


def test_a_band_means_the_same_frequency_at_every_size():
    def band_of(size: int, cycles_per_pixel: float) -> int:
        masks = make_band_masks(size, 2 * size, even_edges(10))
        return int(masks[:, 0, round(2 * size * cycles_per_pixel)].argmax())

    assert band_of(32, 0.25) == band_of(64, 0.25) == band_of(128, 0.25) == 3


def test_removing_the_band_of_a_sinusoid_removes_it_and_others_keep_it():
    wave = 0.5 + 0.4 * torch.sin(2 * math.pi * 8 * torch.arange(64) / 64).expand(1, 3, 64, 64)
    radius = (8 / 64) / math.sqrt(0.5)
    masks = make_band_masks(64, 64, even_edges(10))
    images = remove_bands(wave, masks)[0]
    for band, image in enumerate(images):
        if band == int(radius * 10):
            torch.testing.assert_close(image, torch.full_like(image, 0.5))
        elif band > 0:
            torch.testing.assert_close(image, wave[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("convention", ["symmetric", "published"])
def test_squared_band_errors_add_up_to_the_whole(size, convention):
    rng = torch.Generator().manual_seed(0)
    gt, sr = torch.rand(2, 3, *size, generator=rng), torch.rand(2, 3, *size, generator=rng)
    whole = (torch.fft.fft2(gt).abs() - torch.fft.fft2(sr).abs()).double().square().mean(dim=(1, 2, 3)).sqrt()
    parts = compute_band_rmse(gt, sr, even_edges(9), convention)
    torch.testing.assert_close(parts.square().sum(dim=1).sqrt(), whole)
    torch.testing.assert_close(compute_band_rmse(gt, sr, (0, 1), convention)[:, 0], whole)


def test_published_table_bands_with_corners():
    rng = torch.Generator().manual_seed(1)
    gt, sr = torch.rand(1, 3, 18, 18, generator=rng), torch.rand(1, 3, 18, 18, generator=rng)
    difference = (torch.fft.fft2(gt).abs() - torch.fft.fft2(sr).abs()).double().square()
    low, middle = full_published_mask(18, 18, 0, 0.3), full_published_mask(18, 18, 0.3, 0.8)
    expected = [(difference * mask).mean().sqrt() for mask in (low, middle, 1 - low - middle)]
    torch.testing.assert_close(compute_band_rmse(gt, sr)[0], torch.stack(expected))


@pytest.mark.parametrize("edges", [(0.5,), (0, 0), (0.4, 0.2), (-0.1, 0.5), (0, 1.2)])
def test_bad_edges_are_refused(edges):
    with pytest.raises(ValueError, match="band edges"):
        check_edges(edges)


def test_unknown_convention_and_shapes_are_refused():
    with pytest.raises(ValueError, match="symmetric, published"):
        make_band_masks(8, 8, (0, 1), "other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one shape"):
        compute_band_rmse(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))
    with pytest.raises(ValueError, match="1 or more"):
        even_edges(0)
