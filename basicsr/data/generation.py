"""Synthesises test sets: every image degraded by parameters that depend on the seed and its own name alone.

The result for one image is therefore the same whatever other images there are, in whatever order, on however many
workers or machines; and the manifest records every drawn parameter, so that an image can be made again by itself.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from basicsr.data.decoding import decode_image
from basicsr.data.kernel_draws import KernelDraw, draw_mixed_kernel, draw_sinc_kernel
from basicsr.data.listings import list_images
from basicsr.data.pipelines import DEGRADATIONS
from basicsr.data.pipelines.base import DrawnDegradation
from basicsr.data.pipelines.parameters import DegradationParameters
from basicsr.utils.atomic import atomic_path, atomic_write_json
from basicsr.utils.errors import DataError
from basicsr.utils.img_util import img2tensor, tensor2img
from basicsr.utils.seeding import numpy_rng, torch_generator

logger = logging.getLogger("basicsr")

KERNEL_SIDE = 21
ALL_KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
ALL_PROBABILITIES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


@dataclass(frozen=True)
class Mixture:
    """How one blur kernel is drawn.

    Attributes:
        kernel_list: Kinds of kernels.
        kernel_prob: Their probabilities.
        blur_sigma: Range of standard deviations in pixels.
        betag_range: Range of the shape of generalised kernels.
        betap_range: Range of the shape of plateau kernels.
        sinc_prob: Probability of a sinc kernel instead.
    """

    kernel_list: tuple[str, ...] = ALL_KINDS
    kernel_prob: tuple[float, ...] = ALL_PROBABILITIES
    blur_sigma: tuple[float, float] = (0.1, 3.0)
    betag_range: tuple[float, float] = (0.5, 4.0)
    betap_range: tuple[float, float] = (1.0, 2.0)
    sinc_prob: float = 0.0

    def draw(self, rng: np.random.Generator) -> KernelDraw:
        """Draws a kernel of odd size 7 … 21."""
        size = 2 * int(rng.integers(3, 11)) + 1
        if rng.uniform() < self.sinc_prob:
            return draw_sinc_kernel(size, rng)
        return draw_mixed_kernel(
            self.kernel_list,
            self.kernel_prob,
            size,
            self.blur_sigma,
            self.blur_sigma,
            betag_range=self.betag_range,
            betap_range=self.betap_range,
            rng=rng,
        )


@dataclass(frozen=True)
class GenerationRecipe:
    """A degradation and its blur kernels.

    Attributes:
        degradation: ``hard_gated``, ``simple_gated`` or ``second_order``.
        scale: Reduction.
        seed: Part of every image's key.
        mixtures: By the name under which the degradation takes the kernel.
        options: Further arguments of the degradation.
        final_sinc_prob: Probability of the last sinc filter (second order); otherwise that kernel is a pulse.
    """

    degradation: str
    scale: int
    seed: int
    mixtures: Mapping[str, Mixture] = field(default_factory=lambda: {"kernel": Mixture()})
    options: Mapping[str, Any] = field(default_factory=dict)
    final_sinc_prob: float = 0.8

    def build(self) -> DrawnDegradation:
        """The degradation, for whole images, one at a time."""
        arguments = {"scale": self.scale, "gt_size": None, "gate": "sample", **self.options}
        if self.degradation == "second_order":
            arguments.setdefault("gt_usm", True)
        degradation: Any = DEGRADATIONS[self.degradation](**arguments)
        return degradation

    def draw_kernels(self, name: str) -> dict[str, KernelDraw]:
        """The kernels of the image ``name``, by their key in the degradation's batch."""
        rng = numpy_rng("generate", self.degradation, self.seed, name)
        kernels = {key: mixture.draw(rng) for key, mixture in self.mixtures.items()}
        if self.degradation == "second_order":
            final = rng.uniform() < self.final_sinc_prob
            size = 2 * int(rng.integers(3, 11)) + 1
            kernels["sinc_kernel"] = draw_sinc_kernel(size, rng) if final else KernelDraw("pulse", KERNEL_SIDE)
        return kernels

    def draw(self, name: str, height: int, width: int) -> dict[str, Any]:
        """Everything that is drawn for one image of this size, as plain numbers."""
        generator = torch_generator("generate", self.degradation, self.seed, name)
        parameters = self.build().draw(1, height, width, generator)
        kernels = {key: kernel.to_dict() for key, kernel in self.draw_kernels(name).items()}
        return {"kernels": kernels, "parameters": parameters.to_dict()}

    def degrade(self, gt_BCHW: torch.Tensor, drawn: Mapping[str, Any]) -> torch.Tensor:
        """Makes the LQ image (1, 3, H / scale, W / scale) again from what :meth:`draw` returned."""
        batch = {"gt": gt_BCHW}
        for key, values in drawn["kernels"].items():
            kernel = KernelDraw.from_dict(values).render(KERNEL_SIDE)
            batch[key] = torch.from_numpy(kernel).float()[None]
        return self.build().apply(batch, DegradationParameters.from_dict(drawn["parameters"])).lq


def hard_gated_recipe(scale: int = 4, seed: int = 233) -> GenerationRecipe:
    """The test sets of hard-gated recipes."""
    return GenerationRecipe("hard_gated", scale, seed)


def second_order_recipe(scale: int = 4, seed: int = 233) -> GenerationRecipe:
    """The test sets of Real-ESRGAN recipes, with that method's two mixtures of kernels."""
    first = Mixture(blur_sigma=(0.2, 3.0), sinc_prob=0.1)
    second = Mixture(blur_sigma=(0.2, 1.5), sinc_prob=0.1)
    return GenerationRecipe("second_order", scale, seed, {"kernel1": first, "kernel2": second})


def generate_dataset(
    recipe: GenerationRecipe,
    input_folder: str | Path,
    hr_folder: str | Path,
    lr_folder: str | Path,
    *,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> list[str]:
    """Writes HR (cut to a multiple of the scale) and LR images and a manifest, skipping what is already there.

    Args:
        recipe: What to do.
        input_folder: Photographs, sub-folders included.
        hr_folder: Where the HR images go, as PNG under the same names.
        lr_folder: Where the LR images go; the manifest is beside it, ``<lr_folder>_manifest.json``, with one record an
            image, whose parts are under ``<lr_folder>_manifest/``.
        num_workers: Processes; 0 works in this one.
        shard: (index, count): take every ``count``-th image, for several machines or a job array.

    Returns:
        The images that could not be done, as ``name: reason``.

    Raises:
        DataError: If the input folder is missing or has no images, two inputs would get one name, or the output
            folders hold images of other options.
    """
    source, records = Path(input_folder), Path(f"{lr_folder}_manifest")
    names = _list_inputs(source)
    mine = names[shard[0] :: shard[1]]
    for folder in (Path(hr_folder), Path(lr_folder), records):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        _Job(recipe, source / name, name, _target(hr_folder, name), _target(lr_folder, name), _record(records, name))
        for name in mine
    ]
    todo = [job for job in jobs if not job.is_done()]
    logger.info("%d images, %d already done.", len(jobs), len(jobs) - len(todo))
    failures = []
    with closing(_run(todo, num_workers)) as results:
        for name, reason in tqdm(results, total=len(todo), desc="generate", unit="image"):
            if reason:
                failures.append(f"{name}: {reason}")
                logger.error("%s: %s", name, reason)
    _merge_records(records, names)
    return failures


@dataclass(frozen=True)
class _Job:
    recipe: GenerationRecipe
    source: Path
    name: str
    hr: Path
    lr: Path
    record: Path

    def header(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "degradation": self.recipe.degradation,
            "scale": self.recipe.scale,
            "seed": self.recipe.seed,
        }

    def is_done(self) -> bool:
        if not (self.hr.is_file() and self.lr.is_file() and self.record.is_file()):
            return False
        found = json.loads(self.record.read_text(encoding="utf-8"))
        if any(found.get(key) != value for key, value in self.header().items()):
            raise DataError(
                f"{self.lr} was made with other options ({self.record} says which); choose another --lr_folder, or "
                "remove the folder to make it again"
            )
        return True


def _do(job: _Job) -> tuple[str, str | None]:
    torch.set_num_threads(1)
    try:
        image = _read(job.source)
    except (DataError, OSError) as error:
        return job.name, str(error)
    scale = job.recipe.scale
    height, width = (size // scale * scale for size in image.shape[:2])
    if not height or not width:
        return job.name, f"{job.source} is smaller than the scale {scale}"
    image = image[:height, :width]
    drawn = job.recipe.draw(job.name, height, width)
    gt = img2tensor(image.astype(np.float32) / 255)[None]
    lq: Any = tensor2img(job.recipe.degrade(gt, drawn))
    _write_png(image, job.hr)
    _write_png(lq, job.lr)
    atomic_write_json({**job.header(), "height": height, "width": width, **drawn}, job.record)
    return job.name, None


def _read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, BGR."""
    image = decode_image(path.read_bytes(), str(path))
    return image if image.dtype == np.uint8 else np.round(image / 257).astype(np.uint8)


def _write_png(image: np.ndarray, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _run(jobs: Sequence[_Job], num_workers: int) -> Generator[tuple[str, str | None], None, None]:
    if num_workers <= 0 or not jobs:
        yield from map(_do, jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(num_workers, len(jobs)), context, initializer=_leave_signals_to_parent)
    try:
        for future in as_completed([pool.submit(_do, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process was ended from outside, most often because memory ran out; "
            "lower --num_workers and run the same command again to continue"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_signals_to_parent() -> None:
    """Ctrl-C reaches all processes of a terminal: the parent cancels what has not begun, workers finish their image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _list_inputs(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"input folder not found: {folder}")
    names = sorted(list_images(folder, recursive=True))
    if not names:
        raise DataError(f"no images in {folder}")
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(str(Path(name).with_suffix("")), name)
        if other != name:
            raise DataError(f"{folder}: {other} and {name} would both become {Path(name).with_suffix('.png')}")
    return names


def _target(folder: str | Path, name: str) -> Path:
    return (Path(folder) / name).with_suffix(".png")


def _record(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".json")


def _merge_records(folder: Path, names: Sequence[str]) -> None:
    """Collects the records that are there, of all shards so far; again if another shard wrote one meanwhile."""

    def find() -> dict[str, Path]:
        return {name: path for name in names if (path := _record(folder, name)).is_file()}

    merged: dict[str, Any] | None = None
    while merged is None or find().keys() != merged.keys():
        merged = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in find().items()}
        atomic_write_json(merged, Path(f"{folder}.json"))
