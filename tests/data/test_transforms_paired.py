"""Crops, flips and frame lists against the golden cases; nothing writes to its arguments."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from golden_cases import load_case
from photo_folders import crops

from basicsr.data.data_util import generate_frame_indices
from basicsr.data.transforms import augment, img_rotate, mod_crop, paired_random_crop
from basicsr.utils.seeding import numpy_rng

CROP = load_case("data_crop_augment")
FRAMES = load_case("data_frame_indices")


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_paired_crop_draws_as_published(seed: int) -> None:
    gt, lq = CROP.arrays["in.a"], CROP.arrays["in.lq"]
    random.seed(seed)
    gt_patch, lq_patch = paired_random_crop(gt, lq, CROP.config["np_patch"], 4)
    CROP.check(gt_patch, f"out.np{seed}.gt")
    CROP.check(lq_patch, f"out.np{seed}.lq")
    as_tensor = [torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None] for image in (gt, lq)]
    random.seed(seed)
    gts, lq_patch = paired_random_crop([as_tensor[0], 1 - as_tensor[0]], as_tensor[1], CROP.config["pt_patch"], 4)
    CROP.check(gts[0], f"out.pt{seed}.gt0")
    CROP.check(gts[1], f"out.pt{seed}.gt1")
    CROP.check(lq_patch, f"out.pt{seed}.lq")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("flags", ["11", "10", "01"])
def test_augment_draws_as_published(seed: int, flags: str) -> None:
    images = [CROP.arrays["in.a"][:6, :8].copy(), CROP.arrays["in.lq"][:3, :4].copy()]
    kept = [image.copy() for image in images]
    random.seed(seed)
    turned, status = augment(images, flags[0] == "1", flags[1] == "1", return_status=True)
    for number in range(2):
        CROP.check(turned[number], f"out.aug{seed}.{flags}.{number}")
        assert np.array_equal(images[number], kept[number]), "arguments stay as they were"
        assert turned[number].flags.c_contiguous
    assert np.array_equal(np.array(status), CROP.arrays[f"out.aug{seed}.{flags}.status"])


def test_augment_reaches_all_eight_symmetries_and_turns_flows_along() -> None:
    image = crops(1, 8, 12)[0]
    seen = {augment(image, rng=numpy_rng("t", i)).tobytes() for i in range(80)}
    assert len(seen) == 8
    # A flow that points at the pixel with the largest row and column keeps doing so under every symmetry.
    rows, columns = np.meshgrid(np.arange(5.0), np.arange(7.0), indexing="ij")
    corner = np.zeros((5, 7))
    corner[4, 6] = 1
    flow = np.stack([6 - columns, 4 - rows], axis=-1)
    for i in range(20):
        turned, field = augment(corner, flows=flow, rng=numpy_rng("f", i))
        row, column = np.argwhere(turned == 1)[0]
        rows, columns = np.meshgrid(*(np.arange(float(n)) for n in turned.shape), indexing="ij")
        assert np.allclose(columns + field[..., 0], column) and np.allclose(rows + field[..., 1], row)


def test_crops_are_keyed_and_keep_pairs_aligned() -> None:
    gt = crops(1)[0]
    lq = gt[::4, ::4]
    windows = [paired_random_crop(gt, lq, 16, 4, rng=numpy_rng("c", 1, i)) for i in range(30)]
    assert all(np.array_equal(g[::4, ::4], low) for g, low in windows)
    assert len({g.tobytes() for g, _ in windows}) > 15
    again = paired_random_crop(gt, lq, 16, 4, rng=numpy_rng("c", 1, 5))
    assert np.array_equal(again[0], windows[5][0])


def test_crop_names_what_does_not_fit() -> None:
    gt = crops(1)[0]
    with pytest.raises(ValueError, match=r"cat\.png: GT is 48x64, which is not 2 times"):
        paired_random_crop(gt, gt[::4, ::4], 16, 2, "cat.png")
    with pytest.raises(ValueError, match="smaller than gt_size 64"):
        paired_random_crop(gt, gt[::4, ::4], 64, 4)
    with pytest.raises(ValueError, match="gt_size 18 is not divisible by scale 4"):
        paired_random_crop(gt, gt[::4, ::4], 18, 4)


def test_mod_crop_and_rotation() -> None:
    image = crops(1, 49, 67)[0]
    assert mod_crop(image, 4).shape == (48, 64, 3)
    assert np.array_equal(img_rotate(image, 0), image)
    assert np.array_equal(img_rotate(image[:49, :49], 90, (24, 24))[1:-1, 1:-1], np.rot90(image[:49, :49])[1:-1, 1:-1])


@pytest.mark.parametrize("key", FRAMES.info["outputs"])
def test_frame_indices(key: str) -> None:
    FRAMES.check(np.array(generate_frame_indices(**FRAMES.config["calls"][key])), key)
