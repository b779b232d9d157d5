"""Data sets and loaders of a run, and the endless stream of training batches with its position."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
from basicsr.engine.signals import shield_workers
from basicsr.evaluation.dataset_images import ShardSampler
from basicsr.models.checkpoint import Position
from basicsr.preparation.photographs import prepare_block
from basicsr.utils.dist_util import gather_objects, get_dist_info, master_first
from basicsr.utils.errors import DataError

logger = logging.getLogger("basicsr")

MAX_SKIPPED_NAMED = 20


@dataclass
class TrainingBatches:
    """The training data of one rank.

    Attributes:
        loader: Gives the batches of one epoch.
        sampler: Orders them; what it skips and which epoch it shuffles is set here.
        batch_size: Samples in a batch.
        prefetch: Wraps the loader in a prefetcher.
    """

    loader: Any
    sampler: Any
    batch_size: int
    prefetch: Callable[[Any], Any] = CPUPrefetcher
    _prefetcher: Any = field(default=None, init=False)

    @property
    def batches_per_epoch(self) -> int:
        """Iterations of a whole epoch."""
        samples = int(self.sampler.num_samples)
        return samples // self.batch_size if self.loader.drop_last else math.ceil(samples / self.batch_size)

    def stream(self, position: Position) -> Iterator[tuple[Position, Mapping[str, Any]]]:
        """Yields batches without end.

        Args:
            position: How far the run is.

        Yields:
            The position after the batch, and the batch.

        Raises:
            DataError: If a whole epoch gives nothing.
        """
        iteration, epoch, start = position.iteration, position.epoch, position.start
        while True:
            self.sampler.set_epoch(epoch, start)
            is_whole, before = start == 0, iteration
            for batch in self._one_epoch():
                start = min(start + self.batch_size, self.sampler.num_samples)
                iteration += 1
                yield Position(iteration, epoch, start), batch
            if is_whole and iteration == before:
                raise DataError("the training set gives no batch: raise dataset_enlarge_ratio or lower the batch size")
            epoch, start = epoch + 1, 0

    def _one_epoch(self) -> Iterator[Mapping[str, Any]]:
        if self._prefetcher is None:
            self._prefetcher = self.prefetch(self.loader)
        else:
            self._prefetcher.reset()
        batch = self._prefetcher.next()
        while batch is not None:
            yield batch
            batch = self._prefetcher.next()


def _block_of(opt: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A data set's block with what the frame knows."""
    known = {"phase": key.split("_")[0], "name": key, "seed": opt.get("manual_seed") or 0}
    if opt.get("scale") is not None:
        known["scale"] = opt["scale"]
    return known | dict(opt["datasets"][key])


def _build(block: Mapping[str, Any]) -> Any:
    """Builds a data set, whose files the first process prepares where the block says so."""
    with master_first():
        prepare_block(block)
        return build_dataset(block)


def build_training_batches(opt: Mapping[str, Any]) -> TrainingBatches:
    """Builds ``datasets.train`` with its loader.

    Raises:
        DataError: If the data are missing or too few for a batch.
    """
    block = _block_of(opt, "train")
    rank, world_size = get_dist_info()
    dataset = _build(block)
    sampler = EnlargedSampler(dataset, world_size, rank, block.get("dataset_enlarge_ratio", 1))
    loader = build_dataloader(
        dataset, block, num_gpu=opt["num_gpu"], dist=world_size > 1, sampler=sampler, seed=opt.get("manual_seed")
    )
    shield_workers(loader)
    prefetch: Callable[[Any], Any] = CPUPrefetcher
    if block.get("prefetch_mode") == "cuda":
        prefetch = lambda wrapped: CUDAPrefetcher(wrapped, opt)  # noqa: E731
    return TrainingBatches(loader, sampler, int(loader.batch_size or 1), prefetch)


def build_evaluation_loaders(opt: Mapping[str, Any], phase: str) -> list[Any]:
    """Builds a loader for each data set of a phase, in the order of their keys.

    Args:
        opt: The options.
        phase: ``val`` or ``test``; a test also measures sets called ``val…``.

    Returns:
        Loaders of single images; with several processes each loads its share.
    """
    phases = (phase,) if phase == "val" else ("test", "val")
    rank, world_size = get_dist_info()
    shares = world_size if opt.get("dist_val", True) else 1
    loaders: list[Any] = []
    for key in sorted(opt["datasets"]):
        if key.split("_")[0] not in phases:
            continue
        block = _block_of(opt, key)
        dataset = _build(block)
        sampler = ShardSampler(dataset, rank % shares, shares)
        loader = build_dataloader(
            dataset, block, num_gpu=opt["num_gpu"], dist=world_size > 1, sampler=sampler, seed=opt.get("manual_seed")
        )
        shield_workers(loader)
        loaders.append(loader)
        logger.info("Data set %s (%s): %d images", block["name"], key, len(dataset))
    return loaders


def describe_schedule(batches: TrainingBatches, total_iter: int) -> str:
    """Sizes of the training set, batches and epochs, in words."""
    _, world_size = get_dist_info()
    num_epochs = math.ceil(total_iter / batches.batches_per_epoch)
    return (
        f"Training: {len(batches.sampler.dataset):,} images, batch {batches.batch_size} x {world_size} "
        f"process{'es' if world_size != 1 else ''}, {batches.batches_per_epoch:,} iterations per epoch, "
        f"{total_iter:,} iterations in {num_epochs:,} epoch{'s' if num_epochs != 1 else ''}"
    )


def announce_skipped(loaders: Iterable[Any]) -> None:
    """Logs which images could not be used, on whatever rank; all ranks must call this.

    Args:
        loaders: Loaders with a :class:`basicsr.data.FailureCounter` as ``failures``; others are passed over.
    """
    for loader in loaders:
        counter = getattr(loader, "failures", None)
        if counter is None:
            continue
        lines = sorted({line for part in gather_objects(list(counter.failed)) for line in part})
        if lines:
            shown = [f"  {line}" for line in lines[:MAX_SKIPPED_NAMED]]
            if len(lines) > len(shown):
                shown.append(f"  and {len(lines) - len(shown)} more")
            logger.warning(
                "%s: %d of %d images were skipped:\n%s", counter.name, len(lines), counter.dataset_len, "\n".join(shown)
            )
