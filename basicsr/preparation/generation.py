"""Synthesises test sets: every image degraded by parameters that depend on the seed and its own name alone.

The result for one image is therefore the same whatever other images there are, in whatever order, on however many
workers or machines; and the manifest records every drawn parameter, so that an image can be made again by itself.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from basicsr.data.listings import name_some
from basicsr.preparation.generated_set import GeneratedSet, describe_recipe, describe_records, read_manifest
from basicsr.preparation.generation_recipes import GenerationRecipe, hard_gated_recipe, second_order_recipe
from basicsr.preparation.output_folders import describe_source, is_unchanged, refuse_clashes
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images, read_image, round_to_8_bits, write_image
from basicsr.utils.img_util import img2tensor, tensor2img

__all__ = [
    "GenerationRecipe",
    "generate_dataset",
    "hard_gated_recipe",
    "reproduce_dataset",
    "second_order_recipe",
]

logger = logging.getLogger("basicsr")


def generate_dataset(
    recipe: GenerationRecipe,
    input_folder: str | Path,
    hr_folder: str | Path,
    lr_folder: str | Path,
    *,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    only: Sequence[str] | None = None,
) -> list[str]:
    """Writes HR (cut to a multiple of the scale) and LR images and a manifest, skipping what is already there.

    An image that has changed since it was degraded is degraded again.

    Args:
        recipe: What to do.
        input_folder: Photographs, sub-folders included.
        hr_folder: Where the HR images go, as PNG under the same names.
        lr_folder: Where the LR images go; the manifest is beside it, ``<lr_folder>_manifest.json``, with one record an
            image, whose parts are under ``<lr_folder>_manifest/``.
        num_workers: Processes; 0 works in this one.
        shard: (index, count): take every ``count``-th image, for several machines or a job array.
        only: Names of the images to do, relative to ``input_folder``; None: all.

    Returns:
        The images that could not be done, as ``name: reason``.

    Raises:
        DataError: If the input folder is missing or has none of the images, the folders are not apart from each other,
            two inputs would get one name, or the output folders hold images of other options or another version,
            whichever images are to be made now.
    """
    names = _list_inputs(input_folder)
    chosen = _choose(names, only, str(input_folder))
    made = GeneratedSet.open(input_folder, hr_folder, lr_folder, names, describe_recipe(recipe))
    return _make([_Job(recipe, made, name) for name in chosen[shard[0] :: shard[1]]], made, num_workers)


def reproduce_dataset(
    manifest: str | Path,
    input_folder: str | Path,
    hr_folder: str | Path,
    lr_folder: str | Path,
    *,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    only: Sequence[str] | None = None,
) -> list[str]:
    """Makes images of an earlier :func:`generate_dataset` again, from the parameters in its manifest.

    Args:
        manifest: The ``…_manifest.json``; degradation, scale, version and everything drawn come from it.
        input_folder: The photographs that it was made from.
        hr_folder: See :func:`generate_dataset`; as are ``lr_folder``, ``num_workers`` and ``shard``.
        only: Names of the images to do, as in the manifest; None: all of them.

    Returns:
        The images that could not be done, as ``name: reason``.

    Raises:
        DataError: As :func:`generate_dataset`, and if the manifest is none, lacks an image or holds images of
            different options or versions.
    """
    records = read_manifest(Path(manifest))
    chosen = _choose(list(records), only, str(manifest))
    names = _list_inputs(input_folder)
    _choose(names, chosen, str(input_folder))
    header = describe_records([records[name] for name in chosen or records], manifest)
    made = GeneratedSet.open(input_folder, hr_folder, lr_folder, names, header)
    recipe = GenerationRecipe(header["degradation"], header["scale"], header["seed"], options=header["options"])
    jobs = [_Job(recipe, made, name, records[name]) for name in chosen[shard[0] :: shard[1]]]
    return _make(jobs, made, num_workers)


@dataclass(frozen=True)
class _Job:
    recipe: GenerationRecipe
    made: GeneratedSet
    name: str
    known: Mapping[str, Any] | None = None

    @property
    def source(self) -> Path:
        return self.made.source / self.name

    @property
    def hr(self) -> Path:
        return (self.made.hr / self.name).with_suffix(".png")

    @property
    def lr(self) -> Path:
        return (self.made.lr / self.name).with_suffix(".png")

    def is_done(self) -> bool:
        part = self.made.part(self.name)
        if not (self.hr.is_file() and self.lr.is_file() and part.is_file()):
            return False
        found = json.loads(part.read_text(encoding="utf-8"))
        # Records of the first version do not describe the photograph.
        if "source" in found and not is_unchanged(self.source, found["source"]):
            logger.info("%s has changed since the last run: made again", self.source)
            return False
        return True


def _make(jobs: Sequence[_Job], made: GeneratedSet, num_workers: int) -> list[str]:
    todo = [job for job in jobs if not job.is_done()]
    logger.info("%d images, %d already done.", len(jobs), len(jobs) - len(todo))
    failures = []
    with closing(_run(todo, num_workers)) as results:
        for name, reason in tqdm(results, total=len(todo), desc="generate", unit="image"):
            if reason:
                failures.append(f"{name}: {reason}")
                logger.error("%s: %s", name, reason)
    made.collect_records()
    return failures


def _do(job: _Job) -> tuple[str, str | None]:
    torch.set_num_threads(1)
    try:
        source = describe_source(job.source)
        image = round_to_8_bits(read_image(job.source))
        if job.known and "source" in job.known and not is_unchanged(job.source, job.known["source"]):
            return job.name, f"{job.source} is not the image that the manifest was made from: its digest differs"
    except (DataError, OSError) as error:
        return job.name, str(error)
    scale = job.recipe.scale
    height, width = (size // scale * scale for size in image.shape[:2])
    if not height or not width:
        return job.name, f"{job.source} is smaller than the scale {scale}"
    image = image[:height, :width]
    drawn = job.recipe.draw(job.name, height, width)
    if job.known:
        drawn = {key: job.known[key] for key in drawn}
    gt = img2tensor(image.astype(np.float32) / 255)[None]
    lq: Any = tensor2img(job.recipe.degrade(gt, drawn))
    try:
        write_image(image, job.hr)
        write_image(lq, job.lr)
        record = {"name": job.name, **job.made.header, "source": source, "height": height, "width": width, **drawn}
        atomic_write_json(record, job.made.part(job.name))
    except OSError as error:
        raise DataError(f"the results of {job.name} cannot be written: {error}") from error
    return job.name, None


def _run(jobs: Sequence[_Job], num_workers: int) -> Generator[tuple[str, str | None], None, None]:
    if num_workers <= 0 or not jobs:
        yield from map(_do, jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(num_workers, len(jobs)), context)
    try:
        with _interrupts_held_back():
            futures = [pool.submit(_do, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process was ended from outside, most often because memory ran out; "
            "lower --num_workers and run the same command again to continue"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Starts processes that Ctrl-C does not reach, from their first moment on; this one is interrupted afterwards.

    A terminal interrupts all its processes: this one cancels what has not begun, workers finish their image.
    """
    # Begun here, as it would let interrupts through once it runs.
    resource_tracker.ensure_running()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _list_inputs(folder: str | Path) -> list[str]:
    if not Path(folder).is_dir():
        raise DataError(f"input folder not found: {folder}")
    names = list_images(folder, recursive=True)
    if not names:
        raise DataError(f"no images in {folder}")
    refuse_clashes(folder, names, lambda name: str(Path(name).with_suffix(".png")))
    return names


def _choose(names: Sequence[str], only: Sequence[str] | None, place: str) -> list[str]:
    if only is None:
        return list(names)
    missing = [name for name in only if name not in names]
    if missing:
        raise DataError(f"{place} has no {name_some(missing)}; it has {name_some(names)}")
    return sorted(set(only))
