"""Measuring a model on a data set, one image at a time, shared among ranks with the result of a single process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.evaluation.image_names import ImageNamer, picture_path
from basicsr.evaluation.scores import (
    Evaluation,
    Scores,
    ShardSampler,
    applicable_metrics,
    describe_protocols,
    number_batches,
    update_best,
)
from basicsr.evaluation.spectra import SpectraCollector, listed_distances, monitor_of
from basicsr.evaluation.spectra_record import describe_spectra, record_spectra
from basicsr.metrics import calculate_metric
from basicsr.utils.dist_util import gather_objects, get_dist_info
from basicsr.utils.errors import TrainingError
from basicsr.utils.img_util import imwrite, tensor2img
from basicsr.utils.progress import Progress

logger = logging.getLogger("basicsr")

NUM_TB_IMAGES = 4
MAX_TB_SIDE = 512

Metrics = Mapping[str, Mapping[str, Any]]
Predict = Callable[[Mapping[str, Any]], dict[str, Tensor]]
"""Maps a batch of one image to ``result`` and, where known, ``lq`` and ``gt``: (1, C, H, W) in [0, 1], on the CPU."""


@dataclass(frozen=True)
class Measured:
    """One image that was measured, for whoever saves or shows it.

    Attributes:
        index: Its number in the data set.
        name: Its name in the data set.
        result: (H, W, 3) uint8, BGR.
        gt: The same, or ``None``.
        visuals: What the prediction gave.
        scores: Its metrics.
    """

    index: int
    name: str
    result: np.ndarray
    gt: np.ndarray | None
    visuals: Mapping[str, Tensor]
    scores: Scores


def measure(
    predict: Predict,
    dataloader: Iterable[Any],
    metrics: Metrics | None,
    *,
    on_image: Callable[[Measured], None] | None = None,
    share: bool = True,
    pbar: bool = False,
    description: str = "Validation",
    spectra: SpectraCollector | None = None,
) -> Evaluation:
    """Measures a method on a data set; in a distributed run all ranks must call it, and all get the whole result.

    Args:
        predict: The method.
        dataloader: Batches of one image.
        metrics: ``{name: {type, …}}``.
        on_image: Called for every image of this rank.
        share: Whether the images are shared among ranks; otherwise rank 0 does all.
        pbar: Whether to show progress.
        description: What the progress says.
        spectra: Sees every image of this rank, too.

    Returns:
        Every image's metrics, in the data set's order, whatever the number of ranks.

    Raises:
        TrainingError: If the GPU's memory does not suffice for an image.
    """
    rank, world_size = get_dist_info()
    num_shards = world_size if share else 1
    dataset = getattr(dataloader, "dataset", None)
    namer = ImageNamer(dataset)
    measured: dict[tuple[int, str], Scores] = {}
    total = _count(dataloader, num_shards)
    with Progress(total, description, unit="image", enabled=pbar) as progress, _varying_sizes():
        for index, batch in number_batches(dataloader, rank, num_shards) if rank < num_shards else ():
            name = namer.name_batch(batch, index)
            image = _measure_image(predict, batch, metrics, namer.place(name, index), name, spectra)
            measured[image.index, image.name] = image.scores
            if on_image is not None:
                on_image(image)
            progress.update(image.name)
    merged: dict[tuple[int, str], Scores] = {}
    for part in gather_objects(measured):
        merged |= part
    images = _by_name((name, merged[index, name]) for index, name in sorted(merged))
    used = {metric for scores in images.values() for metric in scores}
    protocols = {metric: line for metric, line in describe_protocols(metrics).items() if metric in used}
    found = spectra.finish() if spectra is not None else None
    return Evaluation(_dataset_name(dataloader), images, protocols, len(merged), found)


def _count(dataloader: Iterable[Any], num_shards: int) -> int:
    sampler = getattr(dataloader, "sampler", None)
    if isinstance(sampler, ShardSampler):
        return len(sampler)
    dataset = getattr(dataloader, "dataset", ())
    return -(-len(dataset) // num_shards)


def _dataset_name(dataloader: Any) -> str:
    return str(getattr(getattr(dataloader, "dataset", None), "opt", {}).get("name") or "images")


def _by_name(entries: Iterable[tuple[str, Scores]]) -> dict[str, Scores]:
    """Images by name; should two have the same name nevertheless, the later ones are numbered."""
    images: dict[str, Scores] = {}
    for name, scores in entries:
        unique, count = name, 1
        while unique in images:
            count += 1
            unique = f"{name}#{count}"
        images[unique] = scores
    return images


def _measure_image(
    predict: Predict,
    batch: Mapping[str, Any],
    metrics: Metrics | None,
    index: int,
    name: str,
    spectra: SpectraCollector | None,
) -> Measured:
    try:
        visuals = predict(batch)
    except torch.cuda.OutOfMemoryError as error:
        shape = next((tuple(v.shape[-2:]) for v in batch.values() if isinstance(v, Tensor)), "unknown")
        raise TrainingError(
            f"out of GPU memory on image {name} of {shape}: set val.tile, e.g. --force_yml val:tile=256"
        ) from error
    result = tensor2img(visuals["result"])
    gt = tensor2img(visuals["gt"]) if visuals.get("gt") is not None else None
    data = {"img": result} if gt is None else {"img": result, "img2": gt}
    known = spectra.add(index, visuals, result, gt) if spectra is not None else {}
    scores = {
        key: known[key] if key in known else float(calculate_metric(data, block))
        for key, block in applicable_metrics(metrics, gt is not None).items()
    }
    return Measured(index, name, result, gt, visuals, scores)


@contextmanager
def _varying_sizes() -> Iterator[None]:
    """Keeps cuDNN from measuring its algorithms anew for every image size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def evaluate(
    model: Any, dataloader: Any, current_iter: int | str, tb_logger: Any = None, save_img: bool = False
) -> dict[str, dict[str, float]]:
    """Measures a model's generator on a data set, and logs, shows and keeps what came out.

    Args:
        model: Has ``opt``, ``feed_data``, ``test``, ``get_current_visuals`` and ``best_metric_results``.
        dataloader: Batches of one image.
        current_iter: Iteration, or a label when testing.
        tb_logger: A TensorBoard writer, or ``None``.
        save_img: Whether to write every generated image.

    Returns:
        ``{data set: {metric: mean}}``.
    """
    evaluation = evaluate_model(model, dataloader, current_iter, tb_logger, save_img)
    record(model, evaluation, current_iter, tb_logger)
    return {evaluation.dataset: evaluation.means}


def evaluate_model(
    model: Any,
    dataloader: Any,
    current_iter: int | str,
    tb_logger: Any = None,
    save_img: bool = False,
    on_image: Callable[[Measured], None] | None = None,
) -> Evaluation:
    """Measures a model's generator on a data set; see :func:`evaluate`. Nothing is logged but images."""
    opt = model.opt
    val = opt.get("val") or {}
    dataset_name = _dataset_name(dataloader)

    def predict(batch: Mapping[str, Any]) -> dict[str, Tensor]:
        model.feed_data(batch)
        model.test()
        visuals: dict[str, Tensor] = model.get_current_visuals()
        return visuals

    def handle(image: Measured) -> None:
        if save_img:
            imwrite(image.result, picture_path(opt, dataset_name, image.name, current_iter))
        if tb_logger is not None and image.index < NUM_TB_IMAGES:
            _show(tb_logger, image, dataset_name, current_iter)
        if on_image is not None:
            on_image(image)

    monitor = monitor_of(model)
    num_images = len(dataset) if (dataset := getattr(dataloader, "dataset", None)) is not None else None
    return measure(
        predict,
        dataloader,
        val.get("metrics"),
        on_image=handle,
        share=bool(opt.get("dist_val", True)),
        pbar=bool(val.get("pbar", True)),
        description=f"{'Validation' if opt.get('is_train') else 'Test'} {dataset_name}",
        spectra=SpectraCollector(model, dataset_name, num_images, monitor) if monitor is not None else None,
    )


def record(model: Any, evaluation: Evaluation, current_iter: int | str, tb_logger: Any = None) -> None:
    """Logs the means of a data set, keeps the best, and writes them to TensorBoard."""
    metrics = (model.opt.get("val") or {}).get("metrics") or {}
    is_training = isinstance(current_iter, int)
    if is_training:
        update_best(model.best_metric_results, evaluation, metrics, int(current_iter))
    best = model.best_metric_results.get(evaluation.dataset, {}) if is_training else {}
    lines = [f"Validation {evaluation.dataset}" + (f", iteration {current_iter:,}" if is_training else "")]
    for metric, value in evaluation.means.items():
        line = f"  # {metric}: {value:.4f}"
        if metric in best:
            line += f"  best: {best[metric]['val']:.4f} at iteration {best[metric]['iter']:,}"
        lines.append(line)
        if tb_logger is not None and is_training:
            tb_logger.add_scalar(f"metrics/{evaluation.dataset}/{metric}", value, current_iter)
    if is_training and evaluation.spectra is not None:
        lines += describe_spectra(evaluation.spectra, has_distance=bool(listed_distances(metrics)))
        record_spectra(model, evaluation.dataset, evaluation.spectra, int(current_iter), tb_logger)
    logger.info("%s", "\n".join(lines))


def _show(tb_logger: Any, image: Measured, dataset_name: str, current_iter: int | str) -> None:
    """Writes the generated image and the GT side by side (their centres, if large) to TensorBoard."""
    pictures = [_centre(picture) for picture in (image.result, image.gt) if picture is not None]
    step = current_iter if isinstance(current_iter, int) else 0
    tb_logger.add_image(f"{dataset_name}/{image.name}", np.concatenate(pictures, axis=1), step, dataformats="HWC")


def _centre(image_bgr: np.ndarray) -> np.ndarray:
    """The centre of an image as RGB, at most ``MAX_TB_SIDE`` pixels a side."""
    rows, columns = (slice(max(0, (n - MAX_TB_SIDE) // 2), (n + MAX_TB_SIDE) // 2) for n in image_bgr.shape[:2])
    window = image_bgr[rows, columns]
    if window.ndim == 2:
        window = np.repeat(window[..., None], 3, axis=2)
    return window[..., ::-1]
