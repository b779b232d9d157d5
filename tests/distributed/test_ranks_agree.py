"""Ranks decide together: what one process refuses, several refuse, on every rank and in the same words."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from photo_folders import make_pairs, paired_block
from rank_groups import run_ranks

from basicsr.engine.loaders import announce_skipped, build_evaluation_loaders, build_training_batches
from basicsr.engine.nonfinite import stop_if_nonfinite
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.models.checkpoint import Position
from basicsr.models.nonfinite import NonfiniteGuard, NonfiniteReport
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import DataError

pytestmark = pytest.mark.distributed


def make_folder(root: Path, bad: list[int], count: int = 10) -> Path:
    make_pairs(root, count, height=32, width=32)
    for number in bad:
        (root / f"HR/p{number}.png").write_bytes(b"not an image")
    return root


def train_two_epochs(block: dict[str, Any]) -> list[str]:
    batches = build_training_batches({"datasets": {"train": block}, "num_gpu": 0})
    with closing(batches.loader):
        for position, _ in batches.stream(Position()):
            if position.epoch == 2:
                break
    return sorted(batches.loader.failures.failed)


@pytest.mark.parametrize(("share", "batch_size", "workers"), [(0, 1, 0), (0.2, 2, 0), (0.2, 2, 1), (0.3, 2, 0)])
def test_training_counts_the_bad_images_of_all_ranks(
    share: float, batch_size: int, workers: int, tmp_path: Path
) -> None:
    root = make_folder(tmp_path / "data", bad=[0, 5, 8])
    how = {"max_failed_share": share, "batch_size_per_gpu": batch_size, "num_worker_per_gpu": workers}
    block = paired_block(root, **how)
    results = run_ranks(tmp_path / "two", train_two_epochs, block)
    if share == 0.3:
        assert [len(result) for result in results] == [3, 3]
    else:
        assert all(isinstance(result, DataError) for result in results)
        assert "more than max_failed_share" in str(results[0])
    assert str(results[0]) == str(results[1])
    # The same is decided in one process.
    (alone,) = run_ranks(tmp_path / "one", train_two_epochs, block, world_size=1)
    assert type(alone) is type(results[0])


def validate(block: dict[str, Any]) -> list[str]:
    (loader,) = build_evaluation_loaders({"datasets": {"val": block}, "num_gpu": 0}, "val")
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}
    val = ValOptions.model_validate({"metrics": metrics, "pbar": False})
    return list(Evaluator(lambda batch: batch["gt"], val).evaluate(loader, 1).images)


@pytest.mark.parametrize("bad", [[1, 4], [1, 3], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("share", [0.3, 0.4])
def test_validation_counts_the_bad_images_of_all_ranks(bad: list[int], share: float, tmp_path: Path) -> None:
    """Of five images the ranks have three and two; one of them may be done with its own long before the other."""
    root = make_folder(tmp_path / "data", bad, count=5)
    block = paired_block(root, phase="val", max_failed_share=share)
    results = run_ranks(tmp_path / "two", validate, block)
    (alone,) = run_ranks(tmp_path / "one", validate, block, world_size=1)
    assert str(results[0]) == str(results[1])
    if share == 0.4 and len(bad) == 2:
        assert results[0] == alone and len(alone) == 3
    else:
        assert isinstance(alone, DataError) and isinstance(results[0], DataError)
        assert " of 5 images cannot be used, more than max_failed_share" in str(results[0])


def drop_steps(caplog: pytest.LogCaptureFixture) -> tuple[list[bool], str]:
    """Looks at one step in which losses of two ranks are broken, then at one in which none is."""
    rank, _ = get_dist_info()
    guard = NonfiniteGuard("skip")
    values = {"l_pix": [1.0, math.nan, 2.0][rank], "l_gan": [0.5, math.inf, math.nan][rank], "out": 0.0}
    drops = [guard.drops_step([{name: torch.tensor(value) for name, value in values.items()}])]
    guard.watch(7, {}, {})
    drops.append(guard.drops_step([{"l_pix": torch.tensor(1.0)}]))
    guard.watch(8, {}, {})
    return drops, caplog.messages[-1]


def test_a_step_that_is_dropped_names_the_losses_and_their_ranks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    message = "Iteration 7: l_gan on rank 1, l_pix on rank 1 not finite; step dropped (1 so far)."
    assert run_ranks(tmp_path, drop_steps, caplog, world_size=3) == [([True, False], message)] * 3


def stop_before_a_save(folder: Path) -> None:
    rank, _ = get_dist_info()
    report = NonfiniteReport(7, ["l_pix"], {}) if rank == 1 else None
    guard = SimpleNamespace(poll=lambda wait: report)
    stop_if_nonfinite(SimpleNamespace(guard=guard, seed=0), folder, wait=True)


def test_a_loss_that_stops_the_run_is_named_on_every_rank(tmp_path: Path) -> None:
    first, second = run_ranks(tmp_path, stop_before_a_save, tmp_path)
    assert str(first) == "l_pix not finite at iteration 7 on rank 1; see its message"
    assert "l_pix not finite at iteration 7. The batch is kept in" in str(second)


class Writer:
    def __init__(self) -> None:
        self.images: list[tuple[str, float]] = []

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.images.append((name, float(image.mean())))


def show(block: dict[str, Any]) -> list[tuple[str, float]]:
    (loader,) = build_evaluation_loaders({"datasets": {"val": block}, "num_gpu": 0}, "val")
    writer = Writer()
    evaluator = Evaluator(lambda batch: batch["gt"], ValOptions.model_validate({"pbar": False}), is_train=True)
    evaluator.evaluate(loader, 1, writer if get_dist_info()[0] == 0 else None)
    announce_skipped([loader])
    return writer.images


def test_tensorboard_shows_the_same_images_whatever_the_number_of_ranks(tmp_path: Path) -> None:
    block = paired_block(make_folder(tmp_path / "data", bad=[], count=6), phase="val")
    (alone,) = run_ranks(tmp_path / "one", show, block, world_size=1)
    assert [name for name, _ in alone] == ["pairs/p0", "pairs/p1", "pairs/p2", "pairs/p3"]
    assert run_ranks(tmp_path / "two", show, block) == [alone, []]
