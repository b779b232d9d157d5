"""Loaders: batches, worker processes and the sampler; images that cannot be used are counted and named."""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import random
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from multiprocessing.connection import wait as wait_for_any
from types import FrameType
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.dataset_options import LoaderOptions, parse_options
from basicsr.data.keyed_draws import draw_by_key
from basicsr.data.listings import largest_allowed
from basicsr.data.prefetch_dataloader import PrefetchGenerator
from basicsr.data.shared_batch import collate_shared
from basicsr.utils.dist_util import any_rank, gather_objects
from basicsr.utils.errors import DataError, OptionsError, Problem, TrainingError, UserError, first_line, name_some
from basicsr.utils.seeding import derive_seed

FAILED_KEY = "failed"
_MOST_NAMED = 20

_PATIENCE = 5.0
"""Seconds that closing waits for an item that is being loaded: storage may have stalled."""

_MOMENT = 2.0
"""Seconds that a process which was killed may take to be gone."""

_WORKER_DIED = ("exited unexpectedly", "is killed by signal", "Bus error")
_TOO_MANY_FILES = ("Too many open files", "0 items of ancdata")
"""What PyTorch says where a batch cannot be handed over because of the limit on open files."""
_FROM_WORKER = "in DataLoader worker process"
"""What PyTorch says of an error that was raised there and is raised again here."""


def collate_samples(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Makes a batch; what failed while its samples were loaded becomes one list under ``failed``.

    Args:
        samples: From a data set. A sample that holds nothing but ``failed`` (no replacement was found) adds no image.

    Returns:
        Tensors stacked on a new first axis, strings in lists; only ``failed`` if there is no image at all.

    Raises:
        UserError: If images in one batch have different sizes.
    """
    failed = [line for sample in samples for line in sample.get(FAILED_KEY, "").splitlines()]
    kept = [{key: value for key, value in sample.items() if key != FAILED_KEY} for sample in samples]
    kept = [sample for sample in kept if sample]
    for key, first in kept[0].items() if kept else ():
        if isinstance(first, torch.Tensor):
            shapes = {tuple(sample[key].shape) for sample in kept}
            if len(shapes) > 1:
                found = f"a batch needs images of one size, but {key!r} has shapes {sorted(shapes)[:4]}"
                raise UserError(f"{found}; use a batch size of 1, or a gt_size")
    batch: dict[str, Any] = collate_shared(kept) if kept else {}
    return {**batch, FAILED_KEY: failed}


class FailureCounter:
    """Counts the images of one data set that could not be used, each once.

    Args:
        dataset_len: Images in the data set.
        max_failed_share: Largest share of them that may fail.
        name: The data set, for messages.

    Attributes:
        failed: What could not be used: a line each that names the image and the reason.
        is_shared: Whether several ranks load the data set. One rank's count then decides nothing; :meth:`agree` does.
    """

    def __init__(self, dataset_len: int, max_failed_share: float = 0.05, name: str = "data set") -> None:
        self.dataset_len = dataset_len
        self.max_failed_share = max_failed_share
        self.name = name
        self.failed: dict[str, None] = {}
        self.is_shared = False
        # Those that all ranks know of, in the same order; a thread that loads ahead may have found more.
        self._agreed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.failed)

    def is_too_many(self, count: int) -> bool:
        """Whether so many images are more than may fail."""
        # However large the share is, a set without one good image gives nothing.
        return count > min(largest_allowed(self.max_failed_share, self.dataset_len), self.dataset_len - 1)

    def update(self, batch: Mapping[str, Any]) -> None:
        """Takes in a batch; each new failure is logged.

        Raises:
            DataError: If more than the allowed share of the data set has failed, unless it ``is_shared``.
        """
        texts = batch.get(FAILED_KEY, ())
        for line in "\n".join([texts] if isinstance(texts, str) else texts).splitlines():
            if line and line not in self.failed:
                self.failed[line] = None
                logging.getLogger("basicsr").warning("%s: image skipped: %s", self.name, line)
        if not self.is_shared:
            self._refuse_too_many(list(self.failed))

    def agree(self) -> None:
        """Takes in what the other ranks have found, which must all call this, if the data set ``is_shared``.

        Raises:
            DataError: On every rank, if more than the allowed share of the data set has failed on all of them together.
        """
        if not self.is_shared:
            return
        new = [line for line in list(self.failed) if line not in self._agreed]
        if any_rank(bool(new)):
            self._agreed |= dict.fromkeys(line for part in gather_objects(new) for line in part)
            self.failed |= self._agreed
            self._refuse_too_many(list(self._agreed))

    def _refuse_too_many(self, failed: list[str]) -> None:
        if not self.is_too_many(len(failed)):
            return
        raise DataError(
            f"{self.name}: {len(failed)} of {self.dataset_len} images cannot be used, more than "
            f"max_failed_share {self.max_failed_share:g} allows; fix or remove them "
            "(basicsr data check finds all):\n  " + name_some(failed, _MOST_NAMED, "\n  ")
        )


class ImageLoader(DataLoader):
    """A loader that counts images that cannot be used and explains why a worker process died.

    Batches hold what the data set gives, and a list ``failed`` of the images that were skipped. Batches without any
    image (only possible outside training) are left out.

    Args:
        options: The data set's name, how much of it may be unusable, and whether batches wait on a thread.
        advances_epoch: Give the sampler a new epoch each time the loader is walked through.
        **kwargs: As for :class:`torch.utils.data.DataLoader`.

    Attributes:
        name: The data set, for messages.
        failures: What could not be used so far.
    """

    def __init__(self, options: LoaderOptions, advances_epoch: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = options
        self.name = options.name or type(self.dataset).__name__
        self.failures = FailureCounter(len(cast(Sized, self.dataset)), options.max_failed_share, self.name)
        self._epochs = itertools.count() if advances_epoch else None
        self._thread: weakref.ref[PrefetchGenerator] | None = None

    def __iter__(self) -> Any:
        # Persistent workers serve one iterator: a walk that was given up must not go on taking batches from it.
        self._end_thread()
        if self._epochs is not None:
            cast(EnlargedSampler, self.sampler).set_epoch(next(self._epochs))
        # Here and not in the generator below, so that workers start when the loop does and not a step later.
        counted = self._count(super().__iter__())
        _hold_reports()
        if self.options.prefetch_mode != "cpu":
            return counted
        waiting = PrefetchGenerator(counted, self.options.num_prefetch_queue)
        self._thread = weakref.ref(waiting)
        return waiting

    def close(self) -> None:
        """Ends the loading processes that wait for another walk; a later walk starts new ones."""
        self._end_thread(timeout=_PATIENCE)
        iterator, self._iterator = self._iterator, None
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            # Letting go of it would do, were it not for frames that third parties keep alive, and all that is in them.
            try:
                iterator._shutdown_workers()
            except RuntimeError as error:
                if explain_dead_worker(error) is None:
                    raise
                # Its work was done.
                logging.getLogger("basicsr").debug("%s: %s", self.name, error)

    def _end_thread(self, timeout: float | None = None) -> None:
        thread = self._thread() if self._thread else None
        if thread is not None:
            thread.close(timeout)

    def _count(self, batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            for batch in batches:
                self.failures.update(batch)
                # A rank that has too many failures goes on to where all ranks agree on it; in training that is before
                # its batch, which may lack images, is used.
                is_over = self.failures.is_too_many(len(self.failures))
                if is_over and not self.options.is_training:
                    return
                if is_over or batch.keys() - {FAILED_KEY}:
                    yield batch
        except UserError:
            raise
        except Exception as error:
            dead = _describe_death(batches) if _FROM_WORKER not in str(error) else ""
            if not dead and any(sign in str(error) for sign in _TOO_MANY_FILES):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), f"{self.name}: a batch") from error
            if not dead and explain_dead_worker(error) is None:
                raise
            raise TrainingError(_describe_loss(dead or first_line(error), self.name, self.num_workers)) from error


class _Report:
    """PyTorch's handler of SIGCHLD, which raises an error when a loading process has died, held back while another
    error is dealt with: that comes of the same death, and is explained where it ends a walk."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if sys.exc_info()[1] is None:
            self.handler(number, frame)


def _hold_reports() -> None:
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGCHLD)
        if callable(handler) and not isinstance(handler, _Report):
            signal.signal(signal.SIGCHLD, _Report(handler))


def _describe_death(batches: object) -> str:
    """Which loading process of a walk has ended, and how; empty if none has.

    When one is killed, its connections may break in many ways, and a moment before it counts as ended.
    """
    workers = {worker.sentinel: worker for worker in getattr(batches, "_workers", ())}
    for sentinel in wait_for_any(list(workers), timeout=_MOMENT) if workers else ():
        worker = workers[sentinel]
        worker.join(_MOMENT)
        if code := worker.exitcode:
            way = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return f"process {worker.pid} {way}"
    return ""


def _describe_loss(reason: str, name: str = "", num_workers: int | None = None) -> str:
    of, now = f"{name}: " if name else "", "" if num_workers is None else f" (now {num_workers})"
    remedy = f"lower num_worker_per_gpu{now} or batch_size_per_gpu; with num_worker_per_gpu: 0 the cause shows itself"
    return (
        f"{of}a data loading process died ({reason}). Most often memory or shared memory (/dev/shm) ran out: {remedy}. "
        "What was saved is kept; a training goes on from there with --auto_resume"
    )


def explain_dead_worker(error: BaseException) -> TrainingError | None:
    """The error in words, if it is PyTorch's report that a loading process has ended; else ``None``.

    PyTorch raises it in the main process wherever that is at the moment, not only where it waits for a batch.
    """
    if not isinstance(error, RuntimeError) or not any(sign in str(error) for sign in _WORKER_DIED):
        return None
    return TrainingError(_describe_loss(first_line(error).rstrip(" .")))


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
        seed: Seeds what data sets of other packages draw from process-wide streams, see
            :mod:`basicsr.data.keyed_draws`.

    Returns:
        A loader whose batches are dicts.

    Raises:
        OptionsError: If training is asked for without ``batch_size_per_gpu``, or the phase is unknown.
        UserError: If an epoch would not have a single batch.
    """
    given = {key: dataset_opt[key] for key in LoaderOptions.model_fields if dataset_opt.get(key) is not None}
    options = parse_options(LoaderOptions, {"name": type(dataset).__name__, **given})
    multiplier = 1 if dist else max(1, num_gpu)
    workers, batch_size = options.num_worker_per_gpu * multiplier, 1
    makes_sampler = options.is_training and sampler is None

    # Choose order and size of training batches.
    if options.is_training:
        if options.batch_size_per_gpu is None:
            raise OptionsError([Problem("batch_size_per_gpu", "is missing; training needs a batch size")])
        batch_size = options.batch_size_per_gpu * multiplier
        if sampler is None:
            sampler = EnlargedSampler(cast(Sized, dataset), ratio=options.dataset_enlarge_ratio)
        samples = getattr(sampler, "num_samples", batch_size)
        if samples < batch_size:
            raise UserError(
                f"{options.name}: an epoch has {samples} samples, fewer than a batch of {batch_size}; "
                f"raise dataset_enlarge_ratio at least {-(-batch_size // samples)}-fold, or lower the batch size"
            )

    if draw_by_key(dataset, seed or 0, options.is_training) and workers == 0:
        # A thread would draw from the streams that the training step draws from at that moment.
        options = options.model_copy(update={"prefetch_mode": None})
    seeding = {"num_workers": workers, "rank": getattr(sampler, "rank", 0), "seed": seed or 0}
    return ImageLoader(
        options,
        advances_epoch=makes_sampler,
        dataset=dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=options.is_training,
        num_workers=workers,
        collate_fn=collate_samples,
        pin_memory=options.pin_memory and torch.cuda.is_available(),
        worker_init_fn=functools.partial(worker_init_fn, **seeding),
        persistent_workers=workers > 0 and options.persistent_workers,
        prefetch_factor=options.prefetch_factor if workers else None,
    )
