"""Data sets of other packages give the same samples for any number of workers and in a resumed run."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import close_log_files, write_images, write_options
from torch.utils.data import DataLoader, SequentialSampler

from basicsr import train
from basicsr.data import EnlargedSampler, build_dataloader, build_dataset

MODULE = Path(__file__).with_name("published_datasets.py")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    close_log_files()


def run(root: Path, iterations: int, workers: int, *more: str) -> Path:
    block = {"type": "NoisyDataset", "io_backend": {"type": "disk"}}
    sizes = {"use_shuffle": True, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 1, "num_worker_per_gpu": workers}
    file = write_options(
        root,
        model_type="DrawingModel",
        imports=[str(MODULE)],
        datasets={
            "train": {"name": "t", **block, "dataroot_gt": str(root / "data/train/HR"), **sizes},
            "val": {"name": "v", **block, "dataroot_gt": str(root / "data/val/HR")},
        },
        val={"val_freq": 2, "save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 4}}},
    )
    arguments = ["-opt", str(file), "--force_yml", f"train:total_iter={iterations}", *more]
    assert train.main(arguments, root) == 0
    close_log_files()
    return root / "experiments/tiny"


@pytest.mark.slow
def test_a_resumed_run_ends_in_the_same_bits_for_any_number_of_workers(tmp_path: Path) -> None:
    # Six images in batches of two: the second run is stopped in its second epoch, where a validation is due.
    whole = run(tmp_path / "whole", 5, 0, "datasets:train:prefetch_mode=cpu")
    run(tmp_path / "parts", 4, 2)
    parts = run(tmp_path / "parts", 5, 1, "--auto_resume")
    states = [torch.load(folder / "models/net_g_latest.pth", weights_only=True)["params"] for folder in (whole, parts)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    checkpoints = [torch.load(folder / "training_states/5.state", weights_only=True) for folder in (whole, parts)]
    assert checkpoints[0]["model"]["best_metrics"] == checkpoints[1]["model"]["best_metrics"]
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (whole, parts)]
    assert len(summaries[0]) == 3 and summaries[0] == summaries[1]


def make(root: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    write_images(root, 4, 48)
    block = {"type": "NoisyDataset", "dataroot_gt": str(root / "HR"), "io_backend": {"type": "disk"}, **options}
    importlib.import_module("published_datasets")
    return build_dataset(block), {"num_worker_per_gpu": 0, "batch_size_per_gpu": 2, **block}


def test_each_visit_to_an_image_draws_anew_and_leaves_the_streams_alone(tmp_path: Path) -> None:
    dataset, block = make(tmp_path, phase="train")
    sampler = EnlargedSampler(dataset, ratio=2)
    loader = build_dataloader(dataset, block, sampler=sampler, seed=5)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(())  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    # PyTorch's loaders themselves take one number of its stream in each walk.
    samples = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        walk = iter(loader)
        torch.manual_seed(0)
        samples.append(torch.cat([batch["lq"] for batch in walk]))
        assert torch.rand(()) == expected[2]
    assert (random.random(), np.random.rand()) == expected[:2]  # noqa: NPY002
    assert torch.equal(samples[0], samples[2])
    assert len({sample.numpy().tobytes() for sample in torch.cat(samples[:2])}) == 16


def test_evaluation_draws_the_same_in_every_walk(tmp_path: Path) -> None:
    dataset, block = make(tmp_path, phase="val")
    loader = build_dataloader(dataset, block, sampler=None)
    first, second = ([batch["lq"] for batch in loader] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_order_without_epochs_leaves_the_streams_running(tmp_path: Path) -> None:
    dataset, block = make(tmp_path, phase="train")
    loader = build_dataloader(dataset, block, sampler=SequentialSampler(dataset))
    first, second = (torch.cat([batch["lq"] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    assert isinstance(loader, DataLoader) and loader.dataset is dataset
