"""Images that cannot be used are named, replaced, counted, and stop the run when there are too many."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from photo_folders import crops, make_pairs, paired_block, write

from basicsr.data import FailureCounter, PairedImageDataset, SampleIndex, build_dataloader, collate_samples
from basicsr.utils.errors import DataError, UserError


def spoil(root: Path) -> None:
    (root / "HR" / "p1.png").write_bytes((root / "HR" / "p1.png").read_bytes()[:300])
    write(root / "HR" / "p2.png", crops(1, 24, 32)[0])
    write(root / "LR" / "p2.png", crops(1, 6, 8)[0])


def test_the_next_image_takes_the_place_and_the_failures_are_named(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 6)
    spoil(root)
    dataset = PairedImageDataset(paired_block(root, max_failed_share=0.5))
    sample = dataset[SampleIndex(1, 0, 1)]
    assert sample["gt_path"].endswith("p3.png")
    first, second = sample["failed"].splitlines()
    assert "p1.png: cut short" in first and "p2.png" in second and "smaller than gt_size 32" in second
    again = dataset[SampleIndex(1, 0, 1)]
    assert torch.equal(sample["gt"], again["gt"])


def test_an_image_that_is_narrower_than_the_scale_is_named_with_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "HR").mkdir()
    write(tmp_path / "HR" / "thin.png", crops(1, 96, 3)[0])
    dataset = PairedImageDataset(paired_block(tmp_path, dataroot_lq=None, max_failed_share=1))
    assert "thin.png: 96x3 pixels, smaller than gt_size 32" in dataset[0]["failed"]


def test_a_missing_or_mismatched_partner_is_a_failure_too(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 4)
    dataset = PairedImageDataset(paired_block(root, max_failed_share=1))
    (root / "LR" / "p0.png").unlink()
    write(root / "LR" / "p1.png", crops(1, 10, 16)[0])
    failed = dataset[0]["failed"]
    assert "LR/p0.png: no such file" in failed and "is not 4 times its LQ image" in failed


@pytest.mark.parametrize("workers", [0, 2])
def test_counting_across_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int) -> None:
    root = make_pairs(tmp_path, 6)
    spoil(root)
    block = paired_block(root, max_failed_share=0.4, num_worker_per_gpu=workers, dataset_enlarge_ratio=4)
    loader = build_dataloader(PairedImageDataset(block), block)
    with caplog.at_level(logging.WARNING, "basicsr"):
        batches = list(loader)
    assert len(batches) == 12 and all(batch["gt"].shape == (2, 3, 32, 32) for batch in batches)
    assert len(loader.failures) == 2
    assert caplog.text.count("image skipped") == 2, "each file is named once"

    strict = {**block, "max_failed_share": 0.2}
    with pytest.raises(DataError, match=r"max_failed_share 0\.2") as caught:
        list(build_dataloader(PairedImageDataset(strict), strict))
    assert "p1.png" in str(caught.value) and "2 of 6 images" in str(caught.value)


def test_a_set_without_any_good_image_stops(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 3)
    dataset = PairedImageDataset(paired_block(root, max_failed_share=1))
    for file in (root / "HR").iterdir():
        file.write_bytes(b"")
    loader = build_dataloader(dataset, paired_block(root, max_failed_share=1))
    with pytest.raises(DataError, match="3 of 3 images"):
        list(loader)


def test_evaluation_leaves_out_what_cannot_be_used_and_measures_nothing_twice(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 5)
    spoil(root)
    block = paired_block(root, phase="val", max_failed_share=0.2)
    loader = build_dataloader(PairedImageDataset(block), block)
    names = [Path(batch["gt_path"][0]).stem for batch in loader]
    assert names == ["p0", "p2", "p3", "p4"] and len(loader.failures) == 1
    strict = {**block, "max_failed_share": 0.05}
    with pytest.raises(DataError, match=r"p1\.png"):
        list(build_dataloader(PairedImageDataset(strict), strict))


def test_counter_and_collation() -> None:
    counter = FailureCounter(10, 0.1, "cats")
    counter.update({"failed": ["a.png: bad"]})
    counter.update({"failed": ["a.png: bad", ""]})
    assert len(counter) == 1
    with pytest.raises(DataError, match="cats: 2 of 10"):
        counter.update({"failed": "b.png: bad\n"})
    batch = collate_samples([{"gt": torch.ones(2), "failed": "x\ny"}, {"gt": torch.zeros(2), "failed": ""}])
    assert batch["failed"] == ["x", "y"] and batch["gt"].shape == (2, 2)
    assert collate_samples([{"failed": "x"}]) == {"failed": ["x"]}
    with pytest.raises(UserError, match="batch size of 1"):
        collate_samples([{"gt": torch.ones(2)}, {"gt": torch.ones(3)}])
