"""What measuring a data set gives: every image's metrics, their means, and how they were measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from basicsr.metrics.metric_info import metric_direction, metric_info, metric_protocol

if TYPE_CHECKING:
    from basicsr.evaluation.spectra import Spectra

Scores = dict[str, float]


@dataclass
class Evaluation:
    """The metrics of one method on one data set.

    Attributes:
        dataset: The data set's name.
        images: Every image's metrics by name, in the data set's order.
        protocols: For each metric one line that says how it was measured.
        num_images: How many images there were, also where nothing could be measured.
        spectra: What ``val.spectra`` adds while a model trains.
    """

    dataset: str
    images: dict[str, Scores] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    num_images: int = 0
    spectra: Spectra | None = field(default=None, compare=False)

    @property
    def means(self) -> Scores:
        """Mean over images of each metric; images that a metric does not apply to do not count."""
        columns: dict[str, list[float]] = {}
        for scores in self.images.values():
            for metric, value in scores.items():
                columns.setdefault(metric, []).append(value)
        return {metric: math.fsum(values) / len(values) for metric, values in columns.items()}


class ShardSampler(Sampler[int]):
    """Every ``num_shards``-th index from ``shard`` on, so that each rank loads its own images and none is repeated.

    Args:
        dataset: What is sampled; only its length is used.
        shard: Which part.
        num_shards: Into how many parts.
    """

    def __init__(self, dataset: Sized, shard: int, num_shards: int) -> None:
        self.indices = range(shard, len(dataset), num_shards)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def number_batches(dataloader: Iterable[Any], shard: int, num_shards: int) -> Iterator[tuple[int, Any]]:
    """Yields this shard's batches with their number in the data set (less, if images before it could not be read).

    A loader with a :class:`ShardSampler` holds nothing else; of any other loader the other shards' batches are dropped.
    """
    is_share = isinstance(getattr(dataloader, "sampler", None), ShardSampler)
    for count, batch in enumerate(dataloader):
        if is_share:
            yield shard + count * num_shards, batch
        elif count % num_shards == shard:
            yield count, batch


def applicable_metrics(metrics: Mapping[str, Mapping[str, Any]] | None, has_gt: bool) -> dict[str, Mapping[str, Any]]:
    """The metrics that can be computed: without ground truth only those that need none."""
    blocks = metrics or {}
    return {name: block for name, block in blocks.items() if has_gt or not metric_info(block["type"]).needs_reference}


def describe_protocols(metrics: Mapping[str, Mapping[str, Any]] | None) -> dict[str, str]:
    """One line for each metric that says how it is measured."""
    return {name: metric_protocol(block) for name, block in (metrics or {}).items()}


def better_direction(block: Mapping[str, Any]) -> str:
    """``higher`` or ``lower``: what the option block says, else what the metric knows of itself."""
    return str(block.get("better") or metric_direction(block["type"]))


def update_best(
    best: dict[str, dict[str, Any]],
    evaluation: Evaluation,
    metrics: Mapping[str, Mapping[str, Any]],
    current_iter: int,
) -> None:
    """Keeps the best mean of each data set and metric.

    Args:
        best: ``{data set: {metric: {better, val, iter}}}``, changed in place; part of a checkpoint.
        evaluation: What was measured now.
        metrics: The metrics' option blocks.
        current_iter: Iteration that it was measured at; of equal means the first stays.
    """
    known = best.setdefault(evaluation.dataset, {})
    for name, value in evaluation.means.items():
        direction = better_direction(metrics[name])
        former = known.get(name)
        improves = former is None or (value > former["val"] if direction == "higher" else value < former["val"])
        if improves and not math.isnan(value):
            known[name] = {"better": direction, "val": value, "iter": current_iter}
