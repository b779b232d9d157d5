"""``--check``: builds everything that a run needs, says how large it is, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from basicsr.data.loader import ImageLoader
from basicsr.engine.loaders import (
    TrainingBatches,
    build_evaluation_loaders,
    build_training_batches,
    describe_schedule,
)
from basicsr.engine.loggers import announce
from basicsr.engine.training import seed_networks
from basicsr.evaluation.tables import format_table
from basicsr.models import BaseModel, build_model
from basicsr.models.checkpoint import Position


def run_check(opt: Mapping[str, Any]) -> None:
    """Builds data sets and model and logs tables of them; nothing is trained or written.

    Args:
        opt: Options from :func:`basicsr.options.parse_options`, which has validated them.

    Raises:
        UserError: If something cannot be built.
    """
    seed_networks(opt)
    is_train = bool(opt["is_train"])
    loaders = build_evaluation_loaders(opt, "val" if is_train else "test")
    batches = build_training_batches(opt) if is_train else None
    model = build_model(opt)
    announce("Networks:\n%s", describe_networks(model))
    rows = [_describe_evaluation_set(loader) for loader in loaders]
    if batches is not None:
        rows.insert(0, _describe_training_set(model, batches))
    announce("Data:\n%s", format_table(["data set", "type", "images", "first batch", "as trained on"], rows))
    if batches is not None:
        announce("%s", describe_schedule(batches, int(opt["train"]["total_iter"])))
    announce("All checks passed; nothing was %s.", "trained" if is_train else "tested")


def describe_networks(model: BaseModel) -> str:
    """A table of the model's networks with their numbers of parameters."""
    rows: list[list[object]] = []
    for name, net in model.networks().items():
        rows.append([f"net_{name}", type(net).__name__, f"{_count(net):,}", f"{_count(net, trained=True):,}"])
    average = getattr(model, "net_g_ema", None)
    if average is not None:
        rows.append(["net_g_ema", type(average).__name__, f"{_count(average):,}", "0"])
    return format_table(["network", "type", "parameters", "trained"], rows)


def _count(net: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad or not trained)


def _describe_training_set(model: BaseModel, batches: TrainingBatches) -> list[object]:
    _, batch = next(batches.stream(Position()))
    model.begin_iteration(1)
    model.feed_data(batch)
    shapes = {"lq": model.lq, "gt": model.gt}
    return ["train", *_describe_data(batches.loader), describe_shapes(batch), describe_shapes(shapes)]


def _describe_evaluation_set(loader: ImageLoader) -> list[object]:
    batch: Mapping[str, Any] = next(iter(loader), {})
    return [loader.name, *_describe_data(loader), describe_shapes(batch), ""]


def _describe_data(loader: ImageLoader) -> tuple[str, str]:
    return type(loader.dataset).__name__, f"{loader.failures.dataset_len:,}"


def describe_shapes(batch: Mapping[str, Any]) -> str:
    """``lq 8x3x16x16, gt 8x3x64x64`` for the tensors of a batch."""
    shapes = {key: "x".join(map(str, value.shape)) for key, value in batch.items() if isinstance(value, Tensor)}
    return ", ".join(f"{key} {shape}" for key, shape in shapes.items())
