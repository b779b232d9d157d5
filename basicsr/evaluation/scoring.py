"""The metrics of one image: values, and in words why an image has no finite value of a metric."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from basicsr.evaluation.dataset_images import Reasons, Scores
from basicsr.metrics import Levels, Metric, Unmeasurable
from basicsr.utils.errors import DataError
from basicsr.utils.images import read_image_shape


@dataclass
class Measures:
    """The metrics of one image, on its device until :func:`read_scores` asks for them.

    Attributes:
        metrics: The names of all metrics.
        values: Those that could be taken, ``(1,)`` each.
        reasons: Why the others could not.
        facts: Whether the image is flat, and whether it is equal to its ground truth: ``(2,)``.
    """

    metrics: tuple[str, ...]
    values: dict[str, Tensor]
    reasons: Reasons
    facts: Tensor


def measure_image(
    metrics: Mapping[str, Metric], image: Levels, reference: Levels | None, known: Mapping[str, Tensor]
) -> Measures:
    """Takes all metrics of one image; one that cannot be taken costs none of the others.

    Args:
        metrics: The metrics by name.
        image: What is measured.
        reference: Its ground truth.
        known: Those of the metrics that are known already, ``(1,)`` each.
    """
    values: dict[str, Tensor] = {}
    reasons: Reasons = {}
    for name, metric in metrics.items():
        try:
            values[name] = known[name] if name in known else metric.measure(image, reference)
        except Unmeasurable as error:
            reasons[name] = str(error)
    for levels in (image, reference):
        if levels is not None:
            levels.forget()
    return Measures(tuple(metrics), values, reasons, _find_facts(values.values(), image, reference))


def _find_facts(values: Collection[Tensor], image: Levels, reference: Levels | None) -> Tensor:
    """What explains values that are not finite; where it can be told without waiting that all are, it is not asked."""
    if not values or all(value.device.type == "cpu" and bool(value.isfinite().all()) for value in values):
        return torch.zeros(2, dtype=torch.bool)
    is_equal = torch.zeros_like(image.is_flat)
    if reference is not None and reference.batch.shape == image.batch.shape:
        is_equal = (image.batch == reference.batch).all()
    return torch.stack([image.is_flat, is_equal])


def read_scores(found: Sequence[Measures]) -> list[tuple[Scores, Reasons]]:
    """The metrics of several images, in one transfer from each device.

    Returns:
        For each image a value for each metric: ``nan`` where there is none, infinite where the metric says so (PSNR of
        equal images); and why, for those that are not finite.
    """
    parts: dict[torch.device, list[Tensor]] = {}
    for measures in found:
        for value in (*measures.values.values(), measures.facts):
            parts.setdefault(value.device, []).append(value.double().flatten())
    numbers = {device: iter(torch.cat(values).tolist()) for device, values in parts.items()}
    return [_read(measures, numbers) for measures in found]


def _read(measures: Measures, numbers: Mapping[torch.device, Iterator[float]]) -> tuple[Scores, Reasons]:
    taken = {name: next(numbers[value.device]) for name, value in measures.values.items()}
    is_flat, is_equal = (bool(next(numbers[measures.facts.device])) for _ in range(2))
    scores, reasons = {name: taken.get(name, math.nan) for name in measures.metrics}, dict(measures.reasons)
    for name, score in scores.items():
        if math.isnan(score):
            reasons.setdefault(name, "the image is flat" if is_flat else "the result is not a number")
        elif math.isinf(score):
            reasons.setdefault(name, "equal to its ground truth" if is_equal else "the result is infinite")
    return scores, reasons


@dataclass
class Found:
    """What was found of one image, which is read at the end of its data set.

    Attributes:
        measures: The metrics of each method.
        note: What is to be said of the generator's numbers, or nothing.
        digest: A digest of its ground truth, or nothing, when it is ready.
    """

    measures: dict[str, Measures]
    note: str = ""
    digest: Future[str] | None = None


def read_found(found: Sequence[Found]) -> list[tuple[dict[str, Scores], dict[str, Reasons], str, str]]:
    """For each image its metrics by method, why some have no finite value, its note, and its digest."""
    numbers = iter(read_scores([measures for one in found for measures in one.measures.values()]))
    rows = []
    for one in found:
        read = {method: next(numbers) for method in one.measures}
        scores = {method: pair[0] for method, pair in read.items()}
        reasons = {method: pair[1] for method, pair in read.items()}
        rows.append((scores, reasons, one.note, one.digest.result() if one.digest else ""))
    return rows


def comes_from_gray_file(batch: Mapping[str, Any], dataset: Any) -> bool:
    """Whether the ground truth of a batch of one image, RGB here, is stored with one channel.

    Args:
        batch: ``gt``, and ``gt_path``: a file or, in a data set that can read it, the key of a database.
        dataset: The data set; its ``is_gray(path)`` answers, if it has that.
    """
    gt, path = batch.get("gt"), batch.get("gt_path")
    path = path[0] if isinstance(path, (list, tuple)) and path else path
    if gt is None or not isinstance(path, str) or gt.shape[1] != 3 or not bool((gt == gt[:, :1]).all()):
        return False
    try:
        if hasattr(dataset, "is_gray"):
            return bool(dataset.is_gray(path))
        return read_image_shape(path)[2] == 1
    except DataError:
        # The path is a name of something else.
        return False
