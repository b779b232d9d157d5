"""Paired and single images from folders, lists and in every depth."""

from __future__ import annotations

import itertools
import logging
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from photo_folders import crops, make_pairs, paired_block, photograph, write

from basicsr.data import PairedImageDataset, SampleIndex, SingleImageDataset, build_dataset
from basicsr.data.transforms import flip_and_transpose, reduce_bicubic, reduce_window
from basicsr.processing.matlab import imresize
from basicsr.utils.errors import DataError, OptionsError, UserError
from basicsr.utils.images import decode_image, image_to_tensor


def rgb(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1) / np.float32(255))


def test_evaluation_gives_whole_images_cut_to_the_scale(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 3, template="{}x4")
    image = photograph()[100:150, 100:167]  # 50x67: the remainder of the division is cut off
    write(root / "HR" / "odd.png", image)
    write(root / "LR" / "oddx4.png", reduce_bicubic(image[:48, :64], 4))
    dataset = PairedImageDataset(paired_block(root, phase="test", filename_tmpl="{}x4"))
    assert len(dataset) == 4
    sample = dataset[0]
    assert set(sample) == {"lq", "gt", "lq_path", "gt_path", "failed"}
    assert sample["gt_path"].endswith("HR/odd.png") and sample["lq_path"].endswith("LR/oddx4.png")
    assert sample["gt"].shape == (3, 48, 64) and sample["lq"].shape == (3, 12, 16)
    assert torch.equal(sample["gt"], rgb(image[:48, :64]))
    assert sample["gt"].dtype == torch.float32 and sample["failed"] == ""


def test_training_windows_are_aligned_and_functions_of_the_visit(tmp_path: Path) -> None:
    dataset = PairedImageDataset(paired_block(make_pairs(tmp_path)))
    first = dataset[SampleIndex(2, epoch=1, draw=7)]
    assert first["gt"].shape == (3, 32, 32) and first["lq"].shape == (3, 8, 8)
    again, other_epoch = dataset[SampleIndex(2, 1, 7)], dataset[SampleIndex(2, 2, 7)]
    other_draw = dataset[SampleIndex(2, 1, 12)]
    assert torch.equal(first["gt"], again["gt"]) and torch.equal(first["lq"], again["lq"])
    assert not torch.equal(first["gt"], other_epoch["gt"]) and not torch.equal(first["gt"], other_draw["gt"])
    # Reduced again, an aligned and equally turned window is its LQ, up to what lies around it.
    for draw in range(20):
        sample = dataset[SampleIndex(1, 0, draw)]
        small = torch.nn.functional.avg_pool2d(sample["gt"], 4)
        assert (small - sample["lq"]).abs().mean() < 0.02


def test_lists_choose_images_in_all_three_forms(tmp_path: Path) -> None:
    root = make_pairs(tmp_path / "data", 4, template="{}x4")
    forms = {
        "pairs": ("HR/p2.png, LR/p2x4.png\nHR/p0.png, LR/p0x4.png\n", root, root),
        "pairs in folders": ("HR/p2.png, p2x4.png\nHR/p0.png, p0x4.png\n", root, root / "LR"),
        "sizes": ("p2.png (48,64,3)\np0.png (48,64,3)\n", root / "HR", root / "LR"),
        "names": ("\nHR/p2.png\nHR/p0.png\n", root, root / "LR"),
    }
    for text, gt, lq in forms.values():
        (tmp_path / "list.txt").write_text(text)
        block = paired_block(root, dataroot_gt=gt, dataroot_lq=lq, meta_info_file=tmp_path / "list.txt")
        block["filename_tmpl"] = "{}x4"
        assert PairedImageDataset.check_files(block) == []
        dataset = PairedImageDataset(block)
        names = [(Path(entry["gt_path"]).name, Path(entry["lq_path"]).name) for entry in dataset.paths]
        assert names == [("p2.png", "p2x4.png"), ("p0.png", "p0x4.png")]
        assert dataset[0]["failed"] == ""


def test_depth_gray_and_alpha(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = crops(1)[0]
    deep = image.astype(np.uint16) * 257 + 3
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    write(tmp_path / "deep.png", deep)
    write(tmp_path / "gray.png", gray)
    write(tmp_path / "alpha.png", np.dstack([image, np.full(image.shape[:2], 7, np.uint8)]))
    dataset = SingleImageDataset({"dataroot_lq": tmp_path})
    with caplog.at_level(logging.WARNING, "basicsr"):
        samples = {Path(dataset.paths[i]["lq_path"]).stem: dataset[i]["lq"] for i in range(3)}
    assert torch.equal(samples["alpha"], rgb(image))
    assert str(tmp_path) in caplog.text and "alpha" in caplog.text
    assert torch.allclose(samples["deep"], torch.from_numpy(deep[:, :, ::-1].transpose(2, 0, 1) / np.float32(65535)))
    assert torch.equal(samples["gray"], torch.from_numpy(gray / np.float32(255)).expand(3, -1, -1))


def test_luma_and_normalisation(tmp_path: Path) -> None:
    image = crops(1)[0]
    write(tmp_path / "a.png", image)
    luma = SingleImageDataset({"dataroot_lq": tmp_path, "color": "y"})[0]["lq"]
    blue, green, red = (image[:, :, i] / 255.0 for i in range(3))
    expected = (24.966 * blue + 128.553 * green + 65.481 * red + 16) / 255
    assert luma.shape == (1, 48, 64) and np.allclose(luma[0], expected, atol=1e-6)
    block = {"dataroot_lq": tmp_path, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 1]}
    normal = SingleImageDataset(block)[0]["lq"]
    assert torch.allclose(normal[1], (rgb(image)[1] - 0.4) / 0.25)


def test_without_lq_the_reduction_is_made_as_if_saved(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 2, height=64, width=80)
    gt_only = PairedImageDataset(paired_block(root, dataroot_lq=None))
    saved = PairedImageDataset(paired_block(root))
    for draw in range(25):
        made, read = gt_only[SampleIndex(draw % 2, 0, draw)], saved[SampleIndex(draw % 2, 0, draw)]
        assert torch.equal(made["gt"], read["gt"]) and torch.equal(made["lq"], read["lq"])
    whole = PairedImageDataset(paired_block(root, dataroot_lq=None, phase="val"))[1]
    assert torch.equal(whole["lq"], PairedImageDataset(paired_block(root, phase="val"))[1]["lq"])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reducing_a_window_equals_reducing_the_whole(scale: int) -> None:
    image = photograph()[:240, :240].astype(np.uint16) * 250
    whole = reduce_bicubic(image, scale)
    side = 240 // scale
    for top, left in ((0, 0), (side - 10, 3), (17, side - 10), (20, 21)):
        gt, lq = reduce_window(image, top, left, 10, scale)
        assert np.array_equal(lq, whole[top : top + 10, left : left + 10])
        assert np.array_equal(gt, image[top * scale :, left * scale :][: 10 * scale, : 10 * scale])


@pytest.mark.parametrize("shape", [(8, 4), (48, 64), (48, 64, 3)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_reduction_is_bicubic_rounded_to_the_nearest_level(scale: int, shape: tuple[int, ...]) -> None:
    sides = [side // 4 * scale for side in shape[:2]]
    ramp = np.add.outer(np.arange(sides[0]), np.arange(sides[1])) * 3
    image = np.broadcast_to(ramp.reshape(*sides, *[1] * (len(shape) - 2)), (*sides, *shape[2:])).astype(np.uint8)
    reduced = reduce_bicubic(image, scale)
    exact = imresize(image.astype(np.float64), 1 / scale).clip(0, 255).reshape(reduced.shape)
    assert reduced.dtype == np.uint8 and reduced.flags.c_contiguous
    assert np.abs(reduced - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (17, 31)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("symmetry", list(itertools.product((False, True), repeat=3)))
def test_conversion_of_a_view_equals_that_of_a_copy(
    shape: tuple[int, int], channels: int, symmetry: tuple[bool, bool, bool]
) -> None:
    image = np.arange(math.prod(shape) * channels).astype(np.uint8).reshape(*shape, channels)
    for stored in (image, np.pad(image, ((1, 2), (3, 1), (0, 0)))[1:-2, 3:-1]):
        view = flip_and_transpose(stored, *symmetry)
        made = image_to_tensor(view)
        assert made.is_contiguous()
        for plane, channel in zip(made, np.moveaxis(view, 2, 0)[::-1], strict=True):
            assert np.array_equal(np.rint(plane.numpy() * 255), channel)


def test_a_truncated_jpeg_is_not_an_image() -> None:
    _, encoded = cv2.imencode(".jpg", crops(1)[0])
    content = encoded.tobytes()
    assert decode_image(content, "a.jpg").shape == (48, 64, 3)
    with pytest.raises(DataError, match=r"a\.jpg: cut short"):
        decode_image(content[:-200], "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: an empty file"):
        decode_image(b"", "a.jpg")


def test_every_mistake_in_the_files_is_reported_at_once(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 5)
    (root / "LR" / "p1.png").unlink()
    write(root / "LR" / "stray.png", crops(1, 12, 16)[0])
    write(root / "LR" / "p2.png", crops(1, 10, 16)[0])
    write(root / "HR" / "p5.png", crops(1, 48, 64)[0])
    problems = "\n".join(map(str, PairedImageDataset.check_files(paired_block(root, gt_size=30))))
    for part in ("gt_size 30 is not divisible by scale 4", "has 6 images but", "lacks p1.png, p5.png", "stray.png"):
        assert part in problems
    (root / "HR" / "p1.png").unlink()
    (root / "HR" / "p5.png").unlink()
    (root / "LR" / "stray.png").unlink()
    write(root / "HR" / "p3.png", crops(1, 24, 64)[0])
    write(root / "LR" / "p3.png", crops(1, 6, 16)[0])
    (root / "HR" / "p4.png").write_bytes(b"no image")
    problems = "\n".join(map(str, PairedImageDataset.check_files(paired_block(root))))
    for part in ("not 4 times LQ", "p2.png (48x64, LQ 10x16)", "smaller than gt_size 32", "p3.png (24x64)", "p4.png"):
        assert part in problems
    with pytest.raises(DataError, match="no such folder"):
        PairedImageDataset(paired_block(root, dataroot_gt=tmp_path / "absent"))
    both = PairedImageDataset.check_files(paired_block(root, dataroot_gt="absent", dataroot_lq=root / "HR" / "p0.png"))
    assert [problem.path for problem in both] == ["dataroot_gt", "dataroot_lq"]
    assert both[0].message == "absent: no such folder" and "is not a folder" in both[1].message


def test_headers_of_a_large_set_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.data import listings

    root = make_pairs(tmp_path, 12)
    write(root / "LR" / "p0.png", crops(1, 10, 16)[0])
    monkeypatch.setattr(listings, "MOST_CHECKED", 10)
    monkeypatch.setattr(listings, "SAMPLED", 4)
    (problem,) = PairedImageDataset.check_files(paired_block(root))
    assert "(checked 4 of 12 images)" in problem.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gt_siz": 32}, "gt_siz: unknown key; did you mean gt_size"),
        ({"scale": "four"}, "scale"),
        ({"phase": "training"}, "phase"),
        ({"gt_size": None}, "gt_size is missing"),
        ({"gt_size": 30}, "use 28 or 32"),
        ({"filename_tmpl": "x4"}, "filename_tmpl"),
        ({"prefetch_mode": "gpu"}, "prefetch_mode"),
        ({"io_backend": {"type": "memcached"}}, "io_backend.type"),
        ({"max_failed_share": 2}, "max_failed_share"),
        ({"gt_size": "32"}, "gt_size: "),
        ({"gt_size": True}, "gt_size: "),
        ({"scale": 4.5}, "scale: "),
        ({"use_hflip": "yes"}, "use_hflip: "),
        ({"use_rot": 1}, "use_rot: "),
        ({"num_worker_per_gpu": "2"}, "num_worker_per_gpu: "),
        ({"mean": ["0.5", 0.5, 0.5]}, "mean: "),
        ({"filename_tmpl": 4}, "filename_tmpl: "),
    ],
)
def test_mistakes_in_the_block_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        PairedImageDataset(paired_block(make_pairs(tmp_path, 1), **change))
    assert message in str(caught.value)


def test_whole_floats_are_integers_and_integers_are_floats(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 1), gt_size=32.0, scale=4.0, std=(1, 1, 2), max_failed_share=1)
    options = PairedImageDataset(block).options
    assert (options.gt_size, options.scale) == (32, 4) and isinstance(options.gt_size, int)
    assert list(options.std) == [1.0, 1.0, 2.0] and isinstance(options.max_failed_share, float)


def test_a_mistake_is_found_at_its_option(tmp_path: Path) -> None:
    change = {"gt_size": 30, "filename_tmpl": "x4", "color": "y", "mean": [0.5, 0.5, 0.5], "std": [0, 1, 1]}
    options = PairedImageDataset.Options.model_validate(paired_block(tmp_path, **change))
    assert [problem.path for problem in options.find_conflicts()] == ["gt_size", "std", "filename_tmpl", "color"]


def test_known_but_unused_keys_are_accepted_with_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "basicsr"):
        PairedImageDataset(paired_block(make_pairs(tmp_path, 1), name="shuffled", use_shuffle=True))
    assert "use_shuffle is not used" in caplog.text


def test_build_dataset_names_unknown_types(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 1))
    kept = dict(block)
    assert isinstance(build_dataset(block), PairedImageDataset) and block == kept
    with pytest.raises(UserError, match="did you mean PairedImageDataset"):
        build_dataset({**block, "type": "PairedImagesDataset"})
    with pytest.raises(UserError, match="type is missing"):
        build_dataset({"name": "x"})
