"""One way from a network to measured images: each is generated, measured with 8 bit on its device, shown and saved.

The images of a data set are shared among ranks, with the result of a single process.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from basicsr.data.image_dataset import keep_depth
from basicsr.data.loader import ImageLoader
from basicsr.evaluation.dataset_images import (
    BASELINE,
    GENERATOR,
    ImageNamer,
    MeasuredImage,
    ShardSampler,
    enlarge,
    name_of,
)
from basicsr.evaluation.pictures import Showcase, draw_image
from basicsr.evaluation.results import Best, Evaluation, describe, write_results
from basicsr.evaluation.scoring import Found, comes_from_gray_file, measure_image, read_found, read_scores
from basicsr.evaluation.side_thread import SideThread
from basicsr.evaluation.spectra import SpectraCollector, SpectraMonitor
from basicsr.evaluation.tables import write_json
from basicsr.evaluation.tiler import Tiler
from basicsr.evaluation.together import Entry, count_together, group_entries, join_batches, pin
from basicsr.evaluation.val_options import MetricOptions as MetricOptions
from basicsr.evaluation.val_options import ValOptions as ValOptions
from basicsr.evaluation.workload import Workload
from basicsr.metrics import Levels, Metric
from basicsr.utils.arguments import available_cores
from basicsr.utils.batch import to_floats
from basicsr.utils.dist_util import gather_objects, get_dist_info
from basicsr.utils.errors import TrainingError
from basicsr.utils.img_util import imwrite
from basicsr.utils.stopping import interruptible_together

logger = logging.getLogger("basicsr")

MAX_PICTURES = 8
MAX_DEVICE_VALUES = 2**26
"""Larger images are measured on the CPU: in double precision a metric needs about ten times their memory."""


@dataclass
class _Asked:
    """What is done with each image of a data set.

    Attributes:
        dataset: The data set.
        compare: Whether the baseline is measured too, and ground truths get digests.
        path_of: Where an image of a name is saved; ``None``: nowhere.
        pictures: A folder for side-by-side pictures, or ``None``.
        showcase: Shows the first images.
        spectra: Collects spectra, or ``None``.
    """

    dataset: Any
    compare: bool
    path_of: Callable[[str], Path] | None
    pictures: Path | None
    showcase: Showcase
    spectra: SpectraCollector | None


@dataclass
class Evaluator:
    """Measures a generator on data sets.

    Attributes:
        predict: The generator: maps a batch of one image to the generated image (1, C, H, W) in [0, 1], on any device,
            or to the finished picture, (H, W, 3) BGR or (H, W), uint8.
        val: The options.
        scale: GT pixels per LQ pixel.
        folder: Where images go.
        name: The run's name, with which the images of a test end.
        is_train: Whether the generator is being trained.
        share: Whether ranks share the images; otherwise rank 0 does all.
        together: Whether all ranks call :meth:`evaluate`, so that they can leave it together.
        best: The best means so far, changed in place.
        device: Where the generator is, if that is known.
        may_join: Whether ``predict`` takes batches of several images, of which ``val.batch`` says how many.
        keeps_depth: Whether ``predict`` takes images of uint8 and uint16, as they are stored.
        monitor: Follows spectra and critics while training, or ``None``.
        tiler: What ``predict`` splits large images with, if it does; its notes stand beside their metrics.
    """

    predict: Callable[[Mapping[str, Any]], Any]
    val: ValOptions
    scale: int = 1
    folder: Path = Path("visualization")
    name: str = ""
    is_train: bool = False
    share: bool = True
    together: bool = True
    best: Best = field(default_factory=dict)
    device: torch.device | None = None
    may_join: bool = False
    keeps_depth: bool = False
    monitor: SpectraMonitor | None = None
    tiler: Tiler = field(default_factory=Tiler)

    def __post_init__(self) -> None:
        self.metrics = {name: Metric(part.to_plain()) for name, part in self.val.metrics.items() if part}

    def evaluate(
        self,
        dataloader: Iterable[Mapping[str, Any]],
        current_iter: int | str,
        tb_logger: Any = None,
        save_img: bool = False,
        compare: bool = False,
        pictures: Path | None = None,
        workload: Workload | None = None,
    ) -> Evaluation:
        """Measures the generator on a data set; nothing is logged but images. All ranks must call it.

        Args:
            dataloader: Batches of one image.
            current_iter: Iteration, or a label when testing.
            tb_logger: A TensorBoard writer, or ``None``; on rank 0 alone where ranks share the images.
            save_img: Whether to write every generated image.
            compare: Whether to measure ``val.baseline`` too.
            pictures: A folder for side-by-side pictures of the first images, or ``None``.
            workload: The progress of several data sets, of which this is one; ``None`` shows that of this one.

        Returns:
            Every image's metrics, in the data set's order, whatever the number of ranks; the same on all of them.
            Where the ranks do not share the images, rank 0 alone has them, and may be alone to call this.

        Raises:
            TrainingError: If the GPU's memory does not suffice for an image.
            DataError: On every rank, if more images than ``max_failed_share`` allows cannot be used.
            StopNow: On all ranks, if any of them was asked to stop meanwhile.
        """
        # Share the images among ranks.
        rank, world_size = get_dist_info()
        num_shards = world_size if self.share else 1
        dataset = getattr(dataloader, "dataset", None)
        set_name = name_of(dataloader)
        namer = ImageNamer(dataset)
        # Batches are numbered as in the data set (less, if images before them could not be read). A loader with a
        # ShardSampler holds this rank's share alone.
        holds_share = isinstance(getattr(dataloader, "sampler", None), ShardSampler)
        numbers = itertools.count(rank, num_shards) if holds_share else itertools.count()
        num_images = len(dataset) if dataset is not None else 0
        spectra = SpectraCollector(self.monitor, set_name, num_images, self.metrics) if self.monitor else None
        showcase = Showcase(tb_logger, self.share)

        # Generate and measure one after the other, save and show beside that; no image is kept, and no number is read
        # before the last.
        measured: dict[tuple[int, str], Found] = {}
        folder = partial(self.path_of, set_name, current_iter=current_iter) if save_img else None
        asked = _Asked(dataset, compare, folder, pictures, showcase, spectra)
        with ExitStack() as at_end:
            if workload is None:
                title, share = f"{'Validation' if self.is_train else 'Test'} {set_name}", (rank, num_shards)
                workload = at_end.enter_context(Workload([dataloader], title, share, self.val.pbar))
            self.tiler.on_tile = workload.end_tile
            if self.keeps_depth:
                # Who walks through the loader next may expect floats.
                at_end.callback(keep_depth, dataset, False)
                if isinstance(dataloader, ImageLoader):
                    at_end.callback(dataloader.close)
                keep_depth(dataset, True)
            # cuDNN would time its algorithms again for every image size.
            at_end.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
            torch.backends.cudnn.benchmark = False
            at_end.enter_context(interruptible_together() if self.together else nullcontext())
            is_on_gpu = self.device is not None and self.device.type == "cuda"
            is_full = not is_on_gpu and torch.get_num_threads() >= available_cores()
            beside = at_end.enter_context(SideThread(is_idle=is_full))
            # Of a loader that holds more than this rank's share, the other ranks' batches are dropped.
            entries = (
                Entry(*namer.name_batch(batch, number), pin(batch) if is_on_gpu else batch)
                for number, batch in (zip(numbers, dataloader) if rank < num_shards else ())
                if number % num_shards == rank
            )
            for group in group_entries(entries, self._count_together):
                workload.begin_image(dataloader, group[0].index, group[0].name)
                images = self._generate(group)
                for entry in group:
                    if entry is not group[0]:
                        workload.begin_image(dataloader, entry.index, entry.name)
                    measured[entry.index, entry.name] = self._take(entry, next(images), asked, beside)
                    workload.end_image()
                del group, entry, images
            workload.end_set(dataloader)
        results = dict(zip(measured, read_found([*measured.values()])))

        # Put the ranks' shares together, unless they lack too many images; should two images have one name
        # nevertheless, the later one is numbered.
        if isinstance(dataloader, ImageLoader):
            dataloader.failures.agree()
        showcase.close(set_name, current_iter)
        parts = gather_objects(results) if self.share else [results]
        merged = {key: entry for part in parts for key, entry in part.items()}
        result = Evaluation(set_name)
        seen: Counter[str] = Counter()
        for index, name in sorted(merged):
            seen[name] += 1
            unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
            result.add(unique, *merged[index, name])
        used = {metric for methods in result.images.values() for metric in methods[GENERATOR]}
        result.protocols = {name: metric.protocol for name, metric in self.metrics.items() if name in used}
        result.spectra = spectra.finish() if spectra else None
        result.warn_of_left_out()
        return result

    def _count_together(self, lq: Tensor) -> int:
        return count_together(lq, self.scale, self.val.batch, self.device) if self.may_join and not self.val.tile else 1

    def _generate(self, group: Sequence[Entry]) -> Iterator[Tensor | np.ndarray]:
        """What the generator makes of each image; together if there is memory for it, else one by one."""
        together: Sequence[Tensor] = ()
        if len(group) > 1:
            with suppress(torch.cuda.OutOfMemoryError):
                together = self.predict(join_batches(group)).split(1)
            if not together:
                self.may_join = False
                logger.info("The GPU's memory does not suffice for several images at once: each is generated alone.")
        yield from together
        for entry in () if together else group:
            try:
                made = self.predict(entry.batch)
            except torch.cuda.OutOfMemoryError as error:
                size, remedy = tuple(entry.lq.shape[-2:]), "set val.tile, e.g. --force_yml val:tile=256"
                raise TrainingError(f"out of GPU memory on image {entry.name} of {size}: {remedy}") from error
            yield made
            del made

    def _take(self, entry: Entry, made: Tensor | np.ndarray, asked: _Asked, beside: SideThread) -> Found:
        """Measures one image, and hands over what else is to be done with it."""
        gt, size = entry.batch.get("gt"), math.prod(made.shape)
        # Without ground truth only those metrics apply that need none.
        metrics = {key: metric for key, metric in self.metrics.items() if gt is not None or not metric.needs_reference}
        image = self._round(entry, made, asked, metrics)
        if asked.path_of is not None:
            # Encoding takes about as long as measuring, and need not wait for it.
            beside.submit(size, partial(_save, image.levels[GENERATOR], asked.path_of(image.name)))
        known = {GENERATOR: asked.spectra.add(image)} if asked.spectra else {}
        scores = {n: measure_image(metrics, m, image.gt_levels, known.get(n, {})) for n, m in image.levels.items()}
        found = Found(scores, self.tiler.note)
        drawn = asked.pictures if image.index < MAX_PICTURES else None
        has_digest = asked.compare and image.gt_levels is not None
        if drawn or has_digest or asked.showcase.takes(image):
            found.digest = beside.submit(size, partial(self._finish, image, found, asked, drawn))
        return found

    def _round(
        self, entry: Entry, made: Tensor | np.ndarray, asked: _Asked, metrics: Mapping[str, Metric]
    ) -> MeasuredImage:
        """One image, its ground truth and, if it is asked for, its baseline, as they are measured."""
        lq, gt = entry.lq, entry.batch.get("gt")
        sr = None if isinstance(made, np.ndarray) else made.detach()
        device = self.tiler.device if sr is None else sr.device
        if math.prod(made.shape) > MAX_DEVICE_VALUES:
            device = torch.device("cpu")
        levels = {GENERATOR: Levels(made if sr is None else sr.to(device), device)}
        if asked.compare and self.val.baseline and metrics:
            levels = {BASELINE: Levels(enlarge(to_floats(lq.cpu()), self.scale).to(device)), **levels}
        tells_gray = any(metric.options.get("matlab") for metric in metrics.values())
        is_gray = tells_gray and comes_from_gray_file(entry.batch, asked.dataset)
        gt_levels = None if gt is None else Levels(gt.to(device, non_blocking=True), is_gray=is_gray)
        return MeasuredImage(entry.index, entry.name, lq, sr, gt, levels, gt_levels)

    def _finish(self, image: MeasuredImage, found: Found, asked: _Asked, drawn: Path | None) -> str:
        """Shows one image, in a thread of its own; returns the digest of its ground truth, if asked for."""
        asked.showcase.add(image)
        if drawn is not None:
            read = read_scores([*found.measures.values()])
            image.scores = {method: scores for method, (scores, _) in zip(found.measures, read)}
            draw_image(image, drawn, self.scale)
        return image.gt_levels.digest() if asked.compare and image.gt_levels else ""

    def path_of(self, set_name: str, image_name: str, current_iter: int | str) -> Path:
        """Where the generated image goes.

        In training ``<image>/<image>_<iter>.png``; in a test ``<data set>/<image>_<suffix>.png`` with ``val.suffix``
        or else the run's name.
        """
        name = PurePosixPath(image_name)
        if self.is_train:
            return self.folder / name / f"{name.name}_{current_iter}.png"
        return self.folder / set_name / name.parent / f"{name.name}_{self.val.suffix or self.name}.png"

    def record(self, evaluation: Evaluation, current_iter: int | str, tb_logger: Any = None) -> None:
        """Logs the means of a data set, keeps the best, of equal ones the first, and writes them to TensorBoard."""
        name, averages = evaluation.dataset, evaluation.averages()
        lines = [f"  # {metric}: {average.value:.4f}{average.remark}" for metric, average in averages.items()]
        remarks = [f"  {line}" for line in evaluation.remarks()]
        if not isinstance(current_iter, int):
            logger.info("%s", "\n".join([f"Validation {name}", *lines, *remarks]))
            return
        known = self.best.setdefault(name, {})
        for index, (metric, (value, *_)) in enumerate(averages.items()):
            better, best = self.metrics[metric].better, known.get(metric)
            improves = best is None or (value > best["val"] if better == "higher" else value < best["val"])
            if improves and not math.isnan(value):
                best = known[metric] = {"better": better, "val": value, "iter": current_iter}
            if best is not None:
                lines[index] += f"  best: {best['val']:.4f} at iteration {best['iter']:,}"
            if tb_logger is not None and not math.isnan(value):
                tb_logger.add_scalar(f"metrics/{name}/{metric}", value, current_iter)
        if self.monitor and evaluation.spectra:
            lines += self.monitor.record(name, evaluation.spectra, current_iter, tb_logger)
        logger.info("%s", "\n".join([f"Validation {name}, iteration {current_iter:,}", *lines, *remarks]))

    def finish(
        self,
        dataloaders: Sequence[DataLoader[Any]],
        current_iter: int,
        root: Path,
        tb_logger: Any,
        measure: Callable[..., Evaluation],
    ) -> None:
        """Validates one last time, with the baseline and side-by-side pictures, and writes the results.

        ``metrics.json`` and ``metrics.csv`` are those of a test. ``summary.json`` holds ``{image: {method: {metric:
        value}}}``; with several data sets an image is called ``<data set>/<image>``.

        Args:
            dataloaders: Validation sets; those without ground truth are generated and not compared.
            current_iter: The last iteration.
            root: The run's folder. All ranks must call this, rank 0 writes.
            tb_logger: A TensorBoard writer, or ``None``.
            measure: Validates on one set, with the arguments of :meth:`evaluate`.
        """
        evaluations = []
        for loader in dataloaders:
            pictures = self.folder / name_of(loader) if len(dataloaders) > 1 else self.folder
            evaluation = measure(loader, current_iter, tb_logger, self.val.save_img, compare=True, pictures=pictures)
            if evaluation.protocols:
                evaluations.append(evaluation)
        if dataloaders and get_dist_info()[0] == 0:
            summary = {
                image if len(evaluations) == 1 else f"{evaluation.dataset}/{image}": methods
                for evaluation in evaluations
                for image, methods in evaluation.images.items()
            }
            write_results(evaluations, root)
            write_json(summary, root / "summary.json")
            for evaluation in evaluations:
                logger.info("%s", describe(evaluation))
            logger.info("Summary: %s; pictures: %s", root / "summary.json", self.folder)


def _save(levels: Levels, path: Path) -> None:
    imwrite(levels.arrays[0], path)
