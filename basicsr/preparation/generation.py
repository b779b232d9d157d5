"""Synthesises test sets: every image degraded by parameters that depend on the seed and its own name alone.

The result for one image is therefore the same whatever other images there are, in whatever order, on however many
workers or machines; and the manifest records every drawn parameter, so that an image can be made again by itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from tqdm import tqdm

from basicsr.preparation.folders import describe_difference, list_sources, make_folder
from basicsr.preparation.generated_set import VERSION, GeneratedSet, describe_record, find_header, read_records
from basicsr.preparation.generation_recipes import GenerationRecipe
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.errors import DataError, name_some
from basicsr.utils.images import Folder

logger = logging.getLogger("basicsr")

Jobs = Mapping[str, Mapping[str, Any] | None]
"""Names of images, each with the record to make it again from; None: its parameters are drawn."""


def generate_dataset(
    recipe: GenerationRecipe | Folder,
    input_folder: Folder,
    hr_folder: Folder,
    lr_folder: Folder,
    *,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    only: Sequence[str] | None = None,
) -> list[str]:
    """Writes HR (cut to a multiple of the scale) and LR images and a manifest, skipping what is already there.

    An image that has changed since it was degraded is degraded again.

    Args:
        recipe: What to do; or the ``…_manifest.json`` of an earlier call, whose images are made again: degradation,
            scale, version and everything drawn come from it.
        input_folder: Photographs, sub-folders included; those that the manifest was made from.
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
            whichever images are to be made now; if ``recipe`` is not a manifest, lacks an image or holds images of
            different options or versions.
    """
    # Read what an earlier call has drawn.
    records: Mapping[str, Mapping[str, Any]] = {}
    version = VERSION
    if not isinstance(recipe, GenerationRecipe):
        place, records = recipe, read_records(Path(recipe))
        only = _choose(list(records), only, place)
        header = find_header([records[name] for name in only or records], place)
        version, recipe = header.pop("version"), GenerationRecipe(**header)
    # Choose the images of this shard.
    made = GeneratedSet(recipe, Path(input_folder), Path(hr_folder), Path(lr_folder), version)
    targets = {"HR folder": made.hr, "LR folder": made.lr, "manifest folder": made.parts}
    sources = list_sources(made.source, targets, lambda name: str(Path(name).with_suffix(".png")), recursive=True)
    chosen = _choose(sources, only, input_folder)[shard[0] :: shard[1]]
    # Refuse folders that hold images of another header, whichever images are to be made now.
    for name, record in made.read_records().items():
        if difference := describe_difference(describe_record(record), made.header):
            origin = f"{made.lr} was made with other options or by an earlier version ({name} has {difference})"
            remedy = f"remove {made.lr}, {made.parts} and {made.manifest} to make it again"
            raise DataError(f"{origin}; choose another --lr_folder, or {remedy}")
    for folder in targets.values():
        make_folder(folder)
    # Make the images that are not there.
    jobs = {name: records.get(name) for name in chosen if not made.is_done(name)}
    logger.info("%d images, %d already done.", len(chosen), len(chosen) - len(jobs))
    failures = []
    with closing(_run(made, jobs, num_workers)) as results:
        for name, reason in tqdm(results, total=len(jobs), desc="generate", unit="image"):
            if reason:
                failures.append(f"{name}: {reason}")
                logger.error("%s: %s", name, reason)
    # Write the manifest of all shards so far; again if another shard wrote a record meanwhile.
    parts: list[Path] | None = None
    while parts != (present := sorted(made.parts.rglob("*.json"))):
        parts = present
        atomic_write_json(made.read_records(), made.manifest)
    return failures


def _choose(names: Sequence[str], only: Sequence[str] | None, place: Folder) -> list[str]:
    if missing := [name for name in only or () if name not in names]:
        raise DataError(f"{place} has no {name_some(missing)}; it has {name_some(names)}")
    return sorted(set(names if only is None else only))


def _run(made: GeneratedSet, jobs: Jobs, num_workers: int) -> Generator[tuple[str, str | None], None, None]:
    if num_workers <= 0 or not jobs:
        yield from ((name, made.make_image(name, known)) for name, known in jobs.items())
        return
    pool = ProcessPoolExecutor(min(num_workers, len(jobs)), multiprocessing.get_context("spawn"))
    try:
        # Workers start with interrupts blocked, so that Ctrl-C, which a terminal sends to all its processes, never
        # reaches them: this process cancels what has not begun, they finish their image. The resource tracker starts
        # first, as it would let interrupts through.
        resource_tracker.ensure_running()
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {pool.submit(made.make_image, name, known): name for name, known in jobs.items()}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        cause = "a worker process was ended from outside, most often because memory ran out"
        raise DataError(f"{cause}; lower --num_workers and run the same command again to continue") from None
    finally:
        pool.shutdown(cancel_futures=True)
