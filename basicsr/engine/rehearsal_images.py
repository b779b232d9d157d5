"""The images of a rehearsal: a batch and a validation image, loaded beside the loaders, and what is wrong with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from basicsr.data.keyed_draws import draw_by_key
from basicsr.data.loader import FAILED_KEY, ImageLoader
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.term_proof import Note, describe
from basicsr.models import BaseModel
from basicsr.utils.frozen import thaw

MAX_SIZED = 200
"""Validation images whose sizes are compared."""

LARGEST_LEVEL = 8.0
"""Images in [0, 1] stay well below; those in [0, 255] do not."""


def draw_batch(batches: TrainingBatches, epoch: int, size: int, seed: int) -> dict[str, Any]:
    """The first samples of an epoch, loaded in this process by a copy of the data set; empty if none can be used."""
    sampler = copy.copy(batches.sampler)
    sampler.set_epoch(epoch)
    return load_samples(batches.loader, list(islice(sampler, size)), seed, is_training=True)


def load_samples(loader: ImageLoader, indices: list[Any], seed: int, *, is_training: bool) -> dict[str, Any]:
    # A file or database that the copy opens is not handed on to the loader's processes. Published data sets take keys
    # out of their options when they first open one.
    dataset: Any = copy.copy(loader.dataset)
    for name, value in getattr(dataset, "__dict__", {}).items():
        if isinstance(value, dict):
            setattr(dataset, name, thaw(value))
    draw_by_key(dataset, seed, is_training)
    fetch = getattr(dataset, "__getitems__", None)
    batch = loader.collate_fn(fetch(indices) if fetch else [dataset[index] for index in indices])
    images = {key: value for key, value in batch.items() if key != FAILED_KEY} if isinstance(batch, Mapping) else batch
    return dict(images)


def find_smallest(dataset: Any) -> int:
    """Index of the smallest of the first images of a data set, by their files' headers; 0 where they tell nothing."""
    areas = read_areas(dataset)
    return min(areas, key=areas.__getitem__, default=0)


def read_areas(dataset: Any) -> dict[int, int]:
    """Pixels of the first images of a data set, by index, from their files' headers; empty where they tell nothing."""
    entries, options = getattr(dataset, "paths", None), getattr(dataset, "options", None)
    readers = getattr(dataset, "size_readers", None)
    if not entries or readers is None:
        return {}
    kind, read = next(iter(readers(options).items()))
    areas: dict[int, int] = {}
    for index, entry in enumerate(entries[:MAX_SIZED]):
        try:
            height, width = read(entry[f"{kind}_path"])
        except (ValueError, KeyError, OSError):
            continue
        areas[index] = height * width
    return areas


def look_at_images(actor: BaseModel, note: Note, report: Note) -> None:
    """Looks at sizes and ranges of the images that a step gets.

    Args:
        actor: A model that has been fed a batch.
        note: Is told what no step can do with.
        report: Is told what this package's steps cannot do with.
    """
    gt, lq, scale = getattr(actor, "gt", None), getattr(actor, "lq", None), actor.options.scale
    if not isinstance(gt, Tensor) or not isinstance(lq, Tensor) or gt.ndim != 4 or lq.ndim != 4:
        return
    if scale is not None and tuple(gt.shape[2:]) != tuple(side * scale for side in lq.shape[2:]):
        is_swapped = tuple(lq.shape[2:]) == tuple(side * scale for side in gt.shape[2:])
        text = f"at scale {scale} LQ of {describe(lq)} does not fit GT of {describe(gt)}"
        report("datasets.train", text + ("; LQ and GT are swapped" if is_swapped else ""))
        return
    block = (actor.opt.get("datasets") or {}).get("train") or {}
    is_normalized = any(block.get(key) is not None for key in ("mean", "std"))
    for name, images in (("lq", lq), ("gt", gt)):
        if not images.isfinite().all():
            note("datasets.train", f"{name} has values that are not finite")
            continue
        if is_normalized:
            continue
        low, high = images.min().item(), images.max().item()
        if max(-low, high) > LARGEST_LEVEL:
            report(
                "datasets.train", f"{name} has values from {low:.4g} to {high:.4g}; images are in [0, 1]: divide by 255"
            )
        elif low >= 0 and 0 < high <= 1.001 / 255 and images.unique().numel() > 2:
            report(
                "datasets.train",
                f"{name} has values up to {high:.2g} alone; images are in [0, 1], not divided by 255 twice",
            )
