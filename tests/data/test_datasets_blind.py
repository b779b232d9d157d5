"""Data sets that add blur kernels to GT crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from golden_cases import GOLDEN
from photo_folders import crops, make_pairs, paired_block, photograph, write

from basicsr.data import GatedDegradationDataset, RealESRGANDataset, RealESRGANPairedDataset, SampleIndex
from basicsr.degradation.kernel_options import KernelMixture
from basicsr.utils.errors import OptionsError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.seeding import numpy_rng

KINDS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]


def gated_block(root: Path, **options: object) -> dict[str, object]:
    return {
        "name": "blind",
        "dataroot_gt": str(root),
        "phase": "train",
        "scale": 4,
        "kernel_list": KINDS,
        "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
        "use_hflip": True,
        "batch_size_per_gpu": 2,
        "crop_pad_size": 64,
        **options,
    }


def test_gated_sample(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "cat.png", photograph())
    dataset = GatedDegradationDataset({**gated_block(tmp_path), "crop_pad_size": 400})
    sample = dataset[SampleIndex(0, 2, 5)]
    assert set(sample) == {"gt", "kernel", "gt_path", "failed"}
    assert sample["gt"].shape == (3, 400, 400) and sample["gt"].dtype == torch.float32
    assert sample["kernel"].shape == (21, 21) and sample["kernel"].dtype == torch.float32
    assert sample["kernel"].sum() == pytest.approx(1, abs=1e-5)
    again, other = dataset[SampleIndex(0, 2, 5)], dataset[SampleIndex(0, 3, 5)]
    assert torch.equal(sample["gt"], again["gt"]) and torch.equal(sample["kernel"], again["kernel"])
    assert not torch.equal(sample["kernel"], other["kernel"])


def test_small_images_are_padded_by_reflection(tmp_path: Path) -> None:
    image = crops(1, 20, 90)[0]
    write(tmp_path / "low.png", image)
    dataset = GatedDegradationDataset(gated_block(tmp_path, use_hflip=False))
    gt = dataset[0]["gt"]
    assert gt.shape == (3, 64, 64)
    assert torch.equal(gt[:, 20:39], gt[:, :19].flip(1)), "rows below repeat upwards, without the edge row"


def test_crops_cover_the_image_and_flips_happen(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (100, 1, 3))
    write(tmp_path / "ramp.png", ramp)
    dataset = GatedDegradationDataset(gated_block(tmp_path))
    rows = [(dataset[SampleIndex(0, 0, draw)]["gt"][0, 0] * 255).round() for draw in range(200)]
    assert {float(row.min()) for row in rows} == set(range(37)), "every offset occurs"
    falling = sum(float(row[0] > row[-1]) for row in rows)
    assert 60 < falling < 140


def test_kernels_follow_their_options() -> None:
    mixture = KernelMixture(blur_kernel_size=13, blur_sigma=[1.0, 1.0])
    sizes = {mixture.draw_kernel(numpy_rng("k", i)).size for i in range(100)}
    assert sizes == {7, 9, 11, 13}, "blur_kernel_size bounds the size"
    ringing = KernelMixture(sinc_prob=0.25)
    draws = [ringing.draw_kernel(numpy_rng("k", i)) for i in range(600)]
    share = sum(draw.kind == "sinc" for draw in draws) / 600
    assert 0.18 < share < 0.32, "sinc_prob is honoured"
    assert all(0.1 <= draw.sigma_x <= 3 for draw in draws if draw.kind == "iso")
    assert {draw.size for draw in draws} == set(range(7, 22, 2))


def test_larger_kernels_widen_the_sample(tmp_path: Path) -> None:
    write(tmp_path / "a.png", crops(1)[0])
    assert GatedDegradationDataset(gated_block(tmp_path, blur_kernel_size=25))[0]["kernel"].shape == (25, 25)
    assert GatedDegradationDataset(gated_block(tmp_path, blur_kernel_size=9))[0]["kernel"].shape == (21, 21)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kernel_list": ["iso", "box"], "kernel_prob": [0.5, 0.5]}, "kernel_list.1"),
        ({"kernel_list": ["iso"], "kernel_prob": [0.9]}, "kernel_prob: expected probabilities that add up to 1"),
        ({"kernel_list": ["iso", "aniso"], "kernel_prob": [1.5, -0.5]}, "not negative"),
        ({"kernel_list": ["iso"], "kernel_prob": [0.5, 0.5]}, "kernel_prob: 2 probabilities for 1 kernel kinds"),
        ({"blur_sigma": [3, 0.1]}, "blur_sigma"),
        ({"betag_range": [4, 0.5]}, "betag_range"),
        ({"betap_range": [1]}, "betap_range"),
        ({"blur_kernel_size": 20}, "blur_kernel_size: expected an odd number"),
        ({"sinc_prob": 1.5}, "sinc_prob"),
        ({"gt_size": 128}, "gt_size 128 is larger than the crop of 64"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, object], where: str) -> None:
    write(tmp_path / "a.png", crops(1)[0])
    with pytest.raises(OptionsError) as caught:
        GatedDegradationDataset(gated_block(tmp_path, **change))
    assert where in str(caught.value)


def test_a_mistake_in_the_second_mixture_is_found_at_its_option(tmp_path: Path) -> None:
    block = gated_block(tmp_path, kernel_prob=[1.0], kernel_prob2=[0.5, 0.5], gt_size=128)
    options = RealESRGANDataset.Options.model_validate(block)
    assert [problem.path for problem in options.find_conflicts()] == ["kernel_prob", "gt_size", "kernel_prob2"]


def test_images_smaller_than_the_training_crop_are_named_beforehand(tmp_path: Path) -> None:
    write(tmp_path / "tiny.png", crops(1, 24, 40)[0])
    write(tmp_path / "fine.png", crops(1, 48, 64)[0])
    (problem,) = GatedDegradationDataset.check_files(gated_block(tmp_path, gt_size=32))
    assert problem.path == "dataroot_gt"
    assert "1 image smaller than gt_size 32" in problem.message and "tiny.png (24x40)" in problem.message


def test_meta_info_lists_images(tmp_path: Path) -> None:
    for number, image in enumerate(crops(3)):
        write(tmp_path / "set" / f"{number}.png", image)
    (tmp_path / "list.txt").write_text("set/2.png\nset/0.png\n")
    dataset = GatedDegradationDataset(gated_block(tmp_path, meta_info=str(tmp_path / "list.txt")))
    assert [Path(entry["gt_path"]).name for entry in dataset.paths] == ["2.png", "0.png"]
    problems = GatedDegradationDataset.check_files({**gated_block(tmp_path / "no"), "meta_info": "absent.txt"})
    assert [problem.path for problem in problems] == ["dataroot_gt", "meta_info"]
    assert "basicsr data meta" in problems[1].message


def test_second_order_sample(tmp_path: Path) -> None:
    write(tmp_path / "a.png", photograph())
    dataset = RealESRGANDataset(gated_block(tmp_path, gt_usm=True, final_sinc_prob=0.5, sinc_prob=0.1))
    samples = [dataset[SampleIndex(0, 0, draw)] for draw in range(40)]
    for sample in samples:
        assert set(sample) == {"gt", "kernel1", "kernel2", "sinc_kernel", "gt_path", "failed"}
        for key in ("kernel1", "kernel2", "sinc_kernel"):
            assert sample[key].shape == (21, 21) and sample[key].sum() == pytest.approx(1, abs=1e-4)
    pulse = torch.zeros(21, 21)
    pulse[10, 10] = 1
    pulses = sum(torch.equal(sample["sinc_kernel"], pulse) for sample in samples)
    assert 8 < pulses < 32
    assert not torch.equal(samples[0]["kernel1"], samples[0]["kernel2"])


def test_pairs_made_beforehand(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 2)
    (tmp_path / "list.txt").write_text("HR/p1.png, LR/p1.png\n")
    block = paired_block(root, dataroot_gt=root, dataroot_lq=root, meta_info=tmp_path / "list.txt", gt_usm=True)
    assert RealESRGANPairedDataset(block)[0]["gt_path"].endswith("HR/p1.png")
    with pytest.raises(OptionsError, match="dataroot_lq is missing"):
        RealESRGANPairedDataset({**block, "dataroot_lq": None})


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("options/**/*.yml")), ids=lambda path: path.stem)
def test_published_blocks_are_accepted(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    for block in (content.get("datasets") or {"test": content}).values():
        cls = DATASET_REGISTRY.get(block["type"])
        options = cls.Options.model_validate({**block, "scale": 4, "seed": 0})
        assert options.find_conflicts() == []
        messages = [problem.message for problem in cls.check_files(options)]
        assert all("no such f" in message or "LMDB" in message for message in messages)
