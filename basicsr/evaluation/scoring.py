"""The metrics of one image: values, and in words why an image has no finite value of a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from basicsr.evaluation.dataset_images import Reasons, Scores
from basicsr.metrics import Levels, Metric, Unmeasurable
from basicsr.utils.errors import DataError
from basicsr.utils.images import read_image_shape


def score_image(
    metrics: Mapping[str, Metric], image: Levels, reference: Levels | None, known: Mapping[str, Tensor]
) -> tuple[Scores, Reasons]:
    """Takes all metrics of one image; one that cannot be taken costs none of the others.

    Args:
        metrics: The metrics by name.
        image: What is measured.
        reference: Its ground truth.
        known: Those of the metrics that are known already, ``(1,)`` each.

    Returns:
        A value for each metric: ``nan`` where there is none, infinite where the metric says so (PSNR of equal images);
        and why, for those that are not finite.
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
    # One transfer for all metrics.
    found = dict(zip(values, torch.cat(list(values.values())).tolist() if values else ()))
    scores = {name: found.get(name, math.nan) for name in metrics}
    for name, score in scores.items():
        if not math.isfinite(score) and name not in reasons:
            reasons[name] = _explain(score, image, reference)
    return scores, reasons


def _explain(score: float, image: Levels, reference: Levels | None) -> str:
    if math.isnan(score):
        return "the image is flat" if image.is_flat else "the result is not a number"
    is_equal = reference is not None and torch.equal(image.batch, reference.batch)
    return "equal to its ground truth" if is_equal else "the result is infinite"


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
