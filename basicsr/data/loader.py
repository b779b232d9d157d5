"""Builds loaders: batches, worker processes, the sampler, and counting of images that cannot be used."""

from __future__ import annotations

import functools
import random
import weakref
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.failures import FAILED_KEY, FailureCounter, collate_samples
from basicsr.data.prefetch_dataloader import PrefetchGenerator
from basicsr.utils.errors import OptionsError, Problem, TrainingError, UserError
from basicsr.utils.seeding import derive_seed

_PATIENCE = 5.0
"""Seconds that closing waits for an item that is being loaded: storage may have stalled."""

_WORKER_DIED = ("exited unexpectedly", "is killed by signal", "Bus error")


class ImageLoader(DataLoader):
    """A loader that counts images that cannot be used and explains why a worker process died.

    Batches hold what the data set gives, and a list ``failed`` of the images that were skipped. Batches without any
    image (only possible outside training) are left out.

    Args:
        name: The data set, for messages.
        max_failed_share: Largest share of the data set that may be unusable.
        num_prefetch_queue: Batches that wait on a thread; 0: no thread.
        advances_epoch: Give the sampler a new epoch each time the loader is walked through.
        **kwargs: As for :class:`torch.utils.data.DataLoader`.

    Attributes:
        failures: What could not be used so far.
    """

    def __init__(
        self,
        name: str,
        max_failed_share: float,
        num_prefetch_queue: int = 0,
        advances_epoch: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.num_prefetch_queue = num_prefetch_queue
        self.failures = FailureCounter(len(cast(Sized, self.dataset)), max_failed_share, name)
        self._advances_epoch = advances_epoch
        self._next_epoch = 0
        self._thread: weakref.ref[PrefetchGenerator] | None = None

    def __iter__(self) -> Any:
        # Persistent workers serve one iterator: a walk that was given up must not go on taking batches from it.
        self._end_thread()
        if self._advances_epoch:
            cast(EnlargedSampler, self.sampler).set_epoch(self._next_epoch)
            self._next_epoch += 1
        # Here and not in the generator below, so that workers start when the loop does and not a step later.
        batches = super().__iter__()
        counted = self._count(iter(batches))
        if not self.num_prefetch_queue:
            return counted
        waiting = PrefetchGenerator(counted, self.num_prefetch_queue)
        self._thread = weakref.ref(waiting)
        return waiting

    def close(self) -> None:
        """Ends the loading processes that wait for another walk; a later walk starts new ones."""
        self._end_thread(timeout=_PATIENCE)
        iterator, self._iterator = self._iterator, None
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            # Letting go of it would do, were it not for frames that third parties keep alive, and all that is in them.
            iterator._shutdown_workers()

    def _end_thread(self, timeout: float | None = None) -> None:
        thread = self._thread() if self._thread else None
        if thread is not None:
            thread.close(timeout)

    def _count(self, batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                if not any(sign in str(error) for sign in _WORKER_DIED):
                    raise
                raise TrainingError(self._explain_death(error)) from error
            if batch is None:
                return
            self.failures.update(batch)
            if batch.keys() - {FAILED_KEY}:
                yield batch

    def _explain_death(self, error: RuntimeError) -> str:
        first = str(error).splitlines()[0]
        return (
            f"{self.name}: a data loading process died ({first}). Most often memory or shared memory (/dev/shm) "
            f"ran out: lower num_worker_per_gpu (now {self.num_workers}) or batch_size_per_gpu; "
            "with num_worker_per_gpu: 0 the cause shows itself"
        )


def worker_init_fn(worker_id: int, num_workers: int = 1, rank: int = 0, seed: int = 0) -> None:
    """Prepares a loading process: one thread, and process-wide random streams of its own for foreign data sets."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    worker_seed = derive_seed("worker", seed, rank, worker_id)
    random.seed(worker_seed)
    np.random.seed(worker_seed % 2**32)  # noqa: NPY002


def build_dataloader(
    dataset: Dataset[Any],
    dataset_opt: Mapping[str, Any],
    num_gpu: int = 1,
    dist: bool = False,
    sampler: Sampler[int] | None = None,
    seed: int | None = None,
) -> ImageLoader:
    """Builds the loader of a data set.

    Training: whole batches of ``batch_size_per_gpu``, in the sampler's order. Without a sampler one is made, whose
    epoch advances each time the loader is walked through. Validation and test: one image at a time, in order; a sampler
    may choose a rank's share.

    Args:
        dataset: What to load.
        dataset_opt: Its block: ``phase``, ``batch_size_per_gpu``, ``num_worker_per_gpu``, ``prefetch_mode``, …
        num_gpu: GPUs that one process feeds; multiplies batch and workers unless ``dist``.
        dist: Whether every process feeds one device.
        sampler: The order.
        seed: Seeds the process-wide random streams of workers.

    Returns:
        A loader whose batches are dicts.

    Raises:
        OptionsError: If training is asked for without ``batch_size_per_gpu``, or the phase is unknown.
        UserError: If an epoch would not have a single batch.
    """
    phase = dataset_opt.get("phase")
    if phase not in ("train", "val", "test"):
        raise OptionsError([Problem("phase", f"expected train, val or test, got {phase!r}")])
    rank = getattr(sampler, "rank", 0)
    multiplier = 1 if dist else max(1, num_gpu)
    workers = int(dataset_opt.get("num_worker_per_gpu") or 0) * multiplier
    arguments: dict[str, Any] = {
        "name": dataset_opt.get("name") or type(dataset).__name__,
        "max_failed_share": dataset_opt.get("max_failed_share", 0.05),
        "num_prefetch_queue": _count_waiting(dataset_opt),
        "dataset": dataset,
        "num_workers": workers,
        "sampler": sampler,
        "collate_fn": collate_samples,
        "pin_memory": bool(dataset_opt.get("pin_memory", False)) and torch.cuda.is_available(),
        "worker_init_fn": functools.partial(worker_init_fn, num_workers=workers, rank=rank, seed=seed or 0),
        "persistent_workers": workers > 0 and dataset_opt.get("persistent_workers", True),
        "prefetch_factor": dataset_opt.get("prefetch_factor") if workers else None,
    }
    if phase != "train":
        return ImageLoader(batch_size=1, shuffle=False, **arguments)
    batch_size = dataset_opt.get("batch_size_per_gpu")
    if not batch_size:
        raise OptionsError([Problem("batch_size_per_gpu", "is missing; training needs a batch size")])
    if sampler is None:
        arguments["sampler"] = EnlargedSampler(
            cast(Sized, dataset), 1, 0, dataset_opt.get("dataset_enlarge_ratio") or 1
        )
        arguments["advances_epoch"] = True
    _refuse_short_epoch(arguments["name"], arguments["sampler"], batch_size * multiplier)
    return ImageLoader(batch_size=batch_size * multiplier, drop_last=True, **arguments)


def _count_waiting(dataset_opt: Mapping[str, Any]) -> int:
    if dataset_opt.get("prefetch_mode") != "cpu":
        return 0
    return int(dataset_opt.get("num_prefetch_queue") or 1)


def _refuse_short_epoch(name: str, sampler: Any, batch_size: int) -> None:
    samples = getattr(sampler, "num_samples", None)
    if samples is not None and samples < batch_size:
        raise UserError(
            f"{name}: an epoch has {samples} samples, fewer than a batch of {batch_size}; "
            f"raise dataset_enlarge_ratio at least {-(-batch_size // samples)}-fold, or lower the batch size"
        )
