"""Loaders: determinism over workers, prefetching, and what they refuse."""

from __future__ import annotations

import errno
import gc
import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from photo_folders import make_pairs, paired_block
from torch.utils.data import DataLoader, Dataset

from basicsr.data import CPUPrefetcher, CUDAPrefetcher, EnlargedSampler, PairedImageDataset, build_dataloader
from basicsr.data.dataset_options import LoaderOptions
from basicsr.data.loader import ImageLoader, explain_dead_worker
from basicsr.data.prefetch_dataloader import PrefetchDataLoader, PrefetchGenerator
from basicsr.utils.errors import OptionsError, TrainingError, UserError


def load_epoch(root: Path, start: int = 0, **options: Any) -> list[dict[str, Any]]:
    block = paired_block(root, dataset_enlarge_ratio=3, **options)
    dataset = PairedImageDataset(block)
    sampler = EnlargedSampler(dataset, 1, 0, 3)
    sampler.set_epoch(2, start)
    return list(build_dataloader(dataset, block, sampler=sampler, seed=1))


def test_batches_do_not_depend_on_workers_prefetch_or_resumption(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 4)
    reference = load_epoch(root)
    assert len(reference) == 6
    for other in (
        load_epoch(root, num_worker_per_gpu=2),
        load_epoch(root, prefetch_mode="cpu", num_prefetch_queue=2),
        load_epoch(root, num_worker_per_gpu=1, prefetch_mode="cpu"),
    ):
        assert all(torch.equal(a["gt"], b["gt"]) and a["gt_path"] == b["gt_path"] for a, b in zip(reference, other))
        assert len(other) == 6
    resumed = load_epoch(root, start=4, num_worker_per_gpu=2)
    assert len(resumed) == 4
    assert all(torch.equal(a["lq"], b["lq"]) for a, b in zip(reference[2:], resumed))


def test_a_loader_without_sampler_shuffles_anew_each_epoch(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 6))
    loader = build_dataloader(PairedImageDataset(block), block)
    first, second = ([name for batch in loader for name in batch["gt_path"]] for _ in range(2))
    assert sorted(first) == sorted(second) and first != second


def test_evaluation_is_in_order_one_by_one_with_workers_if_asked(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 5), phase="val", num_worker_per_gpu=2)
    loader = build_dataloader(PairedImageDataset(block), block)
    assert loader.num_workers == 2 and loader.batch_size == 1
    for _ in range(2):
        assert [Path(batch["gt_path"][0]).stem for batch in loader] == ["p0", "p1", "p2", "p3", "p4"]


def test_unusable_requests_are_explained(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 3), batch_size_per_gpu=8)
    dataset = PairedImageDataset(block)
    with pytest.raises(
        UserError, match="3 samples, fewer than a batch of 8; raise dataset_enlarge_ratio at least 3-fold"
    ):
        build_dataloader(dataset, block)
    with pytest.raises(OptionsError, match="batch_size_per_gpu"):
        build_dataloader(dataset, {**block, "batch_size_per_gpu": None})
    with pytest.raises(OptionsError, match="phase"):
        build_dataloader(dataset, {**block, "phase": "training"})
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="prefetch_mode: cpu"):
            CUDAPrefetcher([], {"num_gpu": 1})


class _Dying(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        os._exit(9)


@pytest.mark.parametrize("prefetch_mode", [None, "cpu"])
def test_closing_ends_the_processes_although_somebody_holds_the_walk(prefetch_mode: str | None, tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 6), num_worker_per_gpu=1, prefetch_mode=prefetch_mode)
    loader = build_dataloader(PairedImageDataset(block), block)
    before = set(multiprocessing.active_children())
    walk = iter(loader)
    next(walk)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 1
    loader.close()
    assert not workers & set(multiprocessing.active_children())
    assert len(list(loader)) == 3
    loader.close()
    del walk


def test_the_death_of_a_worker_is_explained() -> None:
    options = LoaderOptions(name="deadly", phase="train")
    loader = ImageLoader(options, dataset=_Dying(), batch_size=1, num_workers=1)
    with pytest.raises(TrainingError, match=r"deadly: a data loading process died .* num_worker_per_gpu"):
        list(loader)


class _Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Any:
        return {"lq": torch.rand(3, 4, 4), "gt": torch.rand(3, 8, 8)}


def _broken(kills: bool, error: Exception, prefetch_mode: str | None = None) -> tuple[ImageLoader, Iterator[Any]]:
    """A loader and a walk through it that soon ends in an error, after a loading process was killed.

    A batch that came before its turn is given before that.
    """
    options = LoaderOptions(name="set", phase="train", prefetch_mode=prefetch_mode)
    loader = ImageLoader(options, dataset=_Numbers(), batch_size=1, num_workers=2, persistent_workers=True)
    walk = iter(loader)
    next(walk)
    inner = loader._iterator

    def fail(*_: object) -> None:
        if kills:
            os.kill(inner._workers[1].pid, signal.SIGKILL)
        raise error

    inner._try_get_data = fail
    return loader, walk


@pytest.mark.parametrize(
    ("prefetch_mode", "error"),
    [
        (None, ConnectionResetError(104, "Connection reset by peer")),
        (None, BrokenPipeError(32, "Broken pipe")),
        ("cpu", EOFError()),
        (None, RuntimeError("received 0 items of ancdata")),
    ],
)
def test_whatever_a_killed_loading_process_breaks_is_explained(prefetch_mode: str | None, error: Exception) -> None:
    loader, walk = _broken(True, error, prefetch_mode)
    # The report of its death may come first, wherever the main process is.
    with pytest.raises((TrainingError, RuntimeError)) as raised:
        for _ in walk:
            pass
    found = raised.value if isinstance(raised.value, TrainingError) else explain_dead_worker(raised.value)
    assert re.search(r"a data loading process died \(.*killed by.*lower num_worker_per_gpu.*--auto_resume", str(found))
    loader.close()


@pytest.mark.parametrize(
    "text", ["Too many open files. Communication with the workers …", "received 0 items of ancdata"]
)
def test_the_limit_on_open_files_is_what_it_says(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basicsr.data.loader._MOMENT", 0.1)
    loader, walk = _broken(False, RuntimeError(text))
    with pytest.raises(OSError, match="a batch") as raised:
        list(walk)
    assert raised.value.errno == errno.EMFILE
    loader.close()


def test_the_same_errors_of_living_processes_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basicsr.data.loader._MOMENT", 0.1)
    loader, walk = _broken(False, ConnectionResetError(104, "Connection reset by peer"))
    with pytest.raises(ConnectionResetError):
        list(walk)
    loader.close()


def test_the_report_of_a_death_does_not_break_into_the_handling_of_another_error() -> None:
    loader, walk = _broken(False, EOFError())
    workers = loader._iterator._workers
    try:
        raise ValueError("first")
    except ValueError:
        os.kill(workers[0].pid, signal.SIGKILL)
        workers[0].join()
        time.sleep(0.1)
    loader.close()
    del walk


def test_a_process_that_is_killed_when_its_work_is_done_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, _ = _broken(False, EOFError())
    workers, reported = loader._iterator._workers, []

    def kill(*_: object, **__: object) -> None:
        os.kill(workers[0].pid, signal.SIGKILL)
        try:
            time.sleep(5)
        except RuntimeError as error:
            reported.append(error)
            raise

    monkeypatch.setattr(loader._iterator, "_mark_worker_as_unavailable", kill)
    loader.close()
    assert "is killed by signal" in str(reported[0])
    for worker in workers:
        worker.join(timeout=10)  # PyTorch 2.4 does not wait for those that it ends
    assert not any(worker.is_alive() for worker in workers)


def test_cpu_prefetcher_walks_and_starts_over(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 4))
    prefetcher = CPUPrefetcher(build_dataloader(PairedImageDataset(block), block))
    for _ in range(2):
        assert prefetcher.next() is not None and prefetcher.next() is not None
        assert prefetcher.next() is None
        prefetcher.reset()


def test_prefetching_passes_errors_on_and_ends_its_thread() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    generator = PrefetchGenerator(failing(), 1)
    assert next(generator) == 1
    with pytest.raises(KeyError, match="lost"):
        next(generator)
    with pytest.raises(StopIteration):
        next(generator)

    endless = PrefetchGenerator(itertools.count(), 2)
    assert [next(endless) for _ in range(3)] == [0, 1, 2]
    thread = endless._thread
    del endless
    gc.collect()
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not thread.is_alive()
    assert list(PrefetchDataLoader(2, dataset=list(range(5)), batch_size=2))[-1].tolist() == [4]


def test_closing_does_not_wait_for_storage_that_has_stalled() -> None:
    stalled = threading.Event()
    waiting = PrefetchGenerator((stalled.wait() for _ in range(2)), 1)
    waiting.close(timeout=0.05)
    assert list(waiting) == []
    stalled.set()


def test_a_walk_that_was_given_up_does_not_take_from_the_next(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 6)
    block = paired_block(root, phase="val", num_worker_per_gpu=1, prefetch_mode="cpu")
    loader = build_dataloader(PairedImageDataset(block), block)
    before = set(threading.enumerate())
    walk = iter(loader)
    next(walk)
    assert [Path(batch["gt_path"][0]).stem for batch in loader] == [f"p{i}" for i in range(6)]
    assert len(set(threading.enumerate()) - before) < 8


@pytest.mark.gpu
def test_cuda_prefetcher_gives_the_same_batches_on_the_device(tmp_path: Path) -> None:
    block = paired_block(make_pairs(tmp_path, 6), pin_memory=True)
    dataset = PairedImageDataset(block)
    sampler = EnlargedSampler(dataset)
    loader: DataLoader[Any] = build_dataloader(dataset, block, sampler=sampler)
    expected = list(loader)
    prefetcher = CUDAPrefetcher(loader, {"num_gpu": 1})
    for _ in range(2):
        for batch in expected:
            got = prefetcher.next()
            assert got["gt"].is_cuda and torch.equal(got["gt"].cpu(), batch["gt"])
            assert got["gt_path"] == batch["gt_path"]
        assert prefetcher.next() is None
        prefetcher.reset()
