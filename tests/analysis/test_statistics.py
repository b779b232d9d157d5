from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from basicsr.analysis.generators import Generator
from basicsr.analysis.images import Runtime, list_images, read_image
from basicsr.analysis.statistics import (
    ProfileStatistics,
    compute_profiles,
    estimate_statistics,
    merge_profiles,
)
from basicsr.utils.errors import DataError, UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee"):
        cv2.imwrite(str(folder / f"{name}.png"), getattr(data, name)()[100:260, 100:260, ::-1])
    return folder


def test_white_noise_has_a_flat_profile():
    noise = 0.1 * torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    profile = compute_profiles(noise).mean(dim=0) / (0.01 * 64 * 64)
    # The relative standard error of a ring is 1/sqrt(crops x independent bins): 3% for the fifth ring, 1% for the 40th.
    assert (profile[4:40] - 1).abs().max() < 0.12
    assert (profile - 1).abs().max() < 0.5


def test_a_sinusoid_has_one_peak_at_its_frequency():
    wave = torch.sin(2 * math.pi * 9 * torch.arange(64) / 64).expand(1, 1, 64, 64)
    profile = compute_profiles(wave)[0]
    assert int(profile.argmax()) == 9
    others = torch.cat([profile[:9], profile[10:]])
    assert others.max() < 1e-6 * profile[9]


def test_merged_batches_equal_all_at_once_and_resists_cancellation():
    profiles = 1e6 + torch.randn(37, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std, count = merge_profiles(profiles.split([1, 10, 26]))
    np.testing.assert_allclose(mean, profiles.mean(0), rtol=1e-14)
    np.testing.assert_allclose(std, profiles.std(0, unbiased=False), rtol=1e-8)
    assert count == 37
    with pytest.raises(RuntimeError, match="5"):
        merge_profiles([profiles, torch.zeros(1, 6)])
    with pytest.raises(DataError, match="no image could be used"):
        estimate_statistics([])


def test_statistics_do_not_depend_on_order_batches_or_workers(photos: Path):
    paths = list_images(photos)
    first, _ = estimate_statistics(paths, patch_size=48, repeat=3, runtime=Runtime(batch_size=2))
    second, _ = estimate_statistics(paths[::-1], patch_size=48, repeat=3, runtime=Runtime(batch_size=7, num_workers=2))
    assert first.count == second.count == 9
    assert len(first.mean) == int(math.hypot(24, 24)) + 1
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-6)
    np.testing.assert_allclose(first.std, second.std, rtol=1e-6)
    other_seed, _ = estimate_statistics(paths, patch_size=48, repeat=3, seed=24)
    assert not np.allclose(first.mean, other_seed.mean, rtol=1e-3)


def test_whole_image_crop_is_the_image(photos: Path):
    paths = list_images(photos)
    result, _ = estimate_statistics(paths, patch_size=160)
    profiles = compute_profiles(torch.stack([read_image(path) / 255 for path in paths]))
    np.testing.assert_allclose(result.mean, profiles.mean(dim=0), rtol=1e-5)


def test_generator_is_given_crops_divided_by_scale(photos: Path):
    sizes = []

    def upscale(x: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(x.shape))
        return x.repeat_interleave(4, -1).repeat_interleave(4, -2)

    generator = Generator("nearest", 4, upscale)
    result, _ = estimate_statistics(list_images(photos), patch_size=64, generator=generator)
    assert sizes == [(3, 3, 16, 16)]
    assert len(result.mean) == int(math.hypot(32, 32)) + 1
    with pytest.raises(UserError, match="divisible"):
        estimate_statistics(list_images(photos), patch_size=66, generator=generator)
    for size in (1, 0, -4):
        with pytest.raises(UserError, match=f"patch_size must be 2 pixels or more; got {size}"):
            estimate_statistics(list_images(photos), patch_size=size)
    with pytest.raises(UserError, match="repeat"):
        estimate_statistics(list_images(photos), repeat=0)


def test_file_round_trip_and_published_files(tmp_path: Path):
    statistics = ProfileStatistics(np.arange(4.0), np.ones(4), 7, 32, "GT")
    statistics.save(tmp_path / "spectrum_stats.pth")
    again = ProfileStatistics.load(tmp_path / "spectrum_stats.pth")
    np.testing.assert_array_equal(again.mean, statistics.mean)
    assert (again.count, again.patch_size, again.label) == (7, 32, "GT")
    (tmp_path / "run").mkdir()
    torch.save({"mean": torch.ones(3), "std": torch.ones(3)}, tmp_path / "run" / "spectrum_stats.pth")
    assert ProfileStatistics.load(tmp_path / "run" / "spectrum_stats.pth").label == "run"
    (tmp_path / "bad.pth").write_bytes(b"no statistics")
    with pytest.raises(DataError, match=r"bad\.pth"):
        ProfileStatistics.load(tmp_path / "bad.pth")


def test_bad_files_are_named_and_the_rest_is_measured(photos: Path, tmp_path: Path):
    for path in list_images(photos):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"not a png")
    (tmp_path / "empty.jpg").touch()
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((20, 90, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    statistics, bad_files = estimate_statistics(list_images(tmp_path), patch_size=64)
    assert statistics.count == 3
    assert [bad.name for bad in bad_files] == ["broken.png", "empty.jpg", "tiny.png"]
    assert "90x20" in str(bad_files[2]) and "64x64" in str(bad_files[2])
    with pytest.raises(DataError, match="tiny"):
        estimate_statistics([tmp_path / "tiny.png"], patch_size=64)


def test_links_to_nothing_and_pipes_are_named_not_passed_over(photos: Path, tmp_path: Path):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "absent.png")
    (tmp_path / "linked.png").symlink_to(photos / "coffee.png")
    (tmp_path / "linked_folder.png").symlink_to(photos)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    statistics, bad_files = estimate_statistics(list_images(tmp_path), patch_size=64)
    assert statistics.count == 1
    assert [str(bad) for bad in bad_files] == [
        "dangling.png: is a link to nothing",
        "pipe.png: is not a file",
    ]


def test_empty_and_missing_folders_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path / "absent")
