"""Data sets and loaders of a run, and the endless stream of training batches with its position."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import indent
from typing import Any, cast

from torch.utils.data import Sampler

from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.image_dataset import keep_depth
from basicsr.data.loader import ImageLoader
from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
from basicsr.engine.signals import shield_workers
from basicsr.evaluation.dataset_images import ShardSampler
from basicsr.models import BaseModel
from basicsr.models.checkpoint import Position
from basicsr.preparation.photographs import prepare_block
from basicsr.utils.dist_util import get_dist_info, master_first
from basicsr.utils.errors import DataError, count, name_some
from basicsr.utils.registry import MODEL_REGISTRY

logger = logging.getLogger("basicsr")

MAX_SKIPPED_NAMED = 20


@dataclass
class TrainingBatches:
    """The training data of one rank.

    Attributes:
        loader: Gives the whole batches of one epoch.
        prefetch: Wraps the loader in a prefetcher.
        sampler: Orders the samples; what is skipped and which epoch is shuffled is set here.
        batch_size: Samples in a batch.
        batches_per_epoch: Iterations of a whole epoch.
    """

    loader: ImageLoader
    prefetch: Callable[[ImageLoader], CPUPrefetcher | CUDAPrefetcher] = CPUPrefetcher

    def __post_init__(self) -> None:
        self.sampler = cast(EnlargedSampler, self.loader.sampler)
        self.batch_size = self.loader.batch_size or 1
        self.batches_per_epoch = self.sampler.num_samples // self.batch_size

    def stream(self, position: Position) -> Iterator[tuple[Position, Mapping[str, Any]]]:
        """Yields batches without end.

        Args:
            position: How far the run is.

        Yields:
            The position after the batch, and the batch.

        Raises:
            DataError: If a whole epoch gives nothing, or the ranks together find too many images that cannot be used.
        """
        iteration, epoch, start, ranks = position.iteration, position.epoch, position.start, position.epoch_ranks
        while True:
            self.sampler.set_epoch(epoch, start, ranks)
            # Made anew for each epoch: it begins to load at once, in the order that was just set.
            prefetcher = self.prefetch(self.loader)
            while (batch := prefetcher.next()) is not None:
                self.loader.failures.agree()
                start += self.batch_size * self.sampler.num_replicas
                iteration += 1
                yield Position(iteration, epoch, start, ranks), batch
            if start == 0:
                raise DataError("the training set gives no batch: raise dataset_enlarge_ratio or lower the batch size")
            epoch, start, ranks = epoch + 1, 0, 0


def _build_loader(opt: Mapping[str, Any], key: str, make_sampler: Callable[[Any], Sampler[int]]) -> ImageLoader:
    """Builds ``datasets.<key>``, whose files the first process prepares where the block says so, and its loader."""
    block = opt["datasets"][key]
    with master_first():
        prepare_block(block)
        dataset = build_dataset(block)
    sampler, is_distributed = make_sampler(dataset), get_dist_info()[1] > 1
    loader = build_dataloader(dataset, block, opt["num_gpu"], is_distributed, sampler, opt.get("manual_seed"))
    shield_workers(loader)
    return loader


def _model_class(opt: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model's class, if it is one of ours or derives from them."""
    model = MODEL_REGISTRY.get(opt.get("model_type") or "SRModel")
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def build_training_batches(opt: Mapping[str, Any]) -> TrainingBatches:
    """Builds ``datasets.train`` with its loader.

    Raises:
        DataError: If the data are missing or too few for a batch.
    """
    rank, world_size = get_dist_info()
    block = opt["datasets"]["train"]
    ratio = block.get("dataset_enlarge_ratio", 1)
    loader = _build_loader(
        opt, "train", lambda dataset: EnlargedSampler(dataset, world_size, rank, ratio, pads_order=False)
    )
    loader.failures.is_shared = world_size > 1
    model = _model_class(opt)
    keep_depth(loader.dataset, model is not None and model.takes_levels())
    is_on_gpu = block.get("prefetch_mode") == "cuda"
    return TrainingBatches(loader, partial(CUDAPrefetcher, opt=opt) if is_on_gpu else CPUPrefetcher)


def build_evaluation_loaders(opt: Mapping[str, Any], phase: str) -> list[ImageLoader]:
    """Builds a loader for each data set of a phase, in the order of their keys.

    Args:
        opt: The options.
        phase: ``val`` or ``test``; a test also measures sets called ``val…``.

    Returns:
        Loaders of single images; with several processes each loads its share, or all where the model's class validates
        in a way of its own.
    """
    phases = (phase,) if phase == "val" else ("test", "val")
    rank, world_size = get_dist_info()
    model = _model_class(opt)
    measures_itself = model is not None and model.measures_itself()
    shares = world_size if opt.get("dist_val", True) and not measures_itself else 1
    keys = [key for key in sorted(opt["datasets"]) if key.split("_")[0] in phases]
    loaders = [_build_loader(opt, key, lambda dataset: ShardSampler(dataset, rank % shares, shares)) for key in keys]
    for key, loader in zip(keys, loaders, strict=True):
        loader.failures.is_shared = shares > 1
        logger.info("Data set %s (%s): %s", loader.name, key, count(loader.failures.dataset_len, "image"))
    return loaders


def describe_schedule(batches: TrainingBatches, total_iter: int) -> str:
    """Sizes of the training set, batches and epochs, in words."""
    _, world_size = get_dist_info()
    num_epochs = math.ceil(total_iter / batches.batches_per_epoch)
    return (
        f"Training: {count(batches.loader.failures.dataset_len, 'image')}, batch {batches.batch_size} x {world_size} "
        f"process{'es' if world_size != 1 else ''}, {count(batches.batches_per_epoch, 'iteration')} per epoch, "
        f"{count(total_iter, 'iteration')} in {count(num_epochs, 'epoch')}"
    )


def announce_skipped(loaders: Iterable[ImageLoader]) -> None:
    """Logs which images could not be used, on whatever rank."""
    for loader in loaders:
        if lines := sorted(loader.failures.failed):
            text = indent(name_some(lines, MAX_SKIPPED_NAMED, "\n"), "  ")
            total = loader.failures.dataset_len
            logger.warning("%s: %d of %d images were skipped:\n%s", loader.name, len(lines), total, text)
