"""``--check``: builds everything that a run needs, says how large it is, and rehearses a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from basicsr.engine.footprint import describe_footprint, measure_footprint
from basicsr.engine.loaders import build_evaluation_loaders, build_training_batches, describe_schedule
from basicsr.engine.loggers import announce
from basicsr.engine.rehearsal import rehearse
from basicsr.engine.training import seed_networks
from basicsr.evaluation.tables import format_table
from basicsr.models import build_model
from basicsr.models.checkpoint import Position
from basicsr.utils.frozen import FrozenOptions


def run_check(opt: FrozenOptions) -> None:
    """Builds data sets and model, logs tables of them and rehearses a training; nothing is trained or written.

    Args:
        opt: Options from :func:`basicsr.options.parse_options`, which has validated them.

    Raises:
        UserError: If something cannot be built, or the rehearsal finds a fault.
    """
    seed_networks(opt)
    is_train = bool(opt["is_train"])
    loaders = build_evaluation_loaders(opt, "val" if is_train else "test")
    batches = build_training_batches(opt) if is_train else None
    model = build_model(opt)

    # Count the networks' parameters; those of an average follow others and are not trained.
    nets = {f"net_{name}": net for name, net in model.networks().items()}
    if model.average is not None:
        nets["net_g_ema"] = model.average
    rows: list[list[object]] = []
    for name, net in nets.items():
        total = sum(parameter.numel() for parameter in net.parameters())
        trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
        rows.append([name, type(net).__name__, f"{total:,}", f"{trained:,}"])
    announce("Networks:\n%s", format_table(["network", "type", "parameters", "trained"], rows))

    # Load the first batch of each data set; the training set's goes through the model's degradation too.
    found = [(loader.name, loader, next(iter(loader), dict[str, Any]()), "") for loader in loaders]
    if batches is not None:
        _, batch = next(batches.stream(Position()))
        model.begin_iteration(1)
        model.feed_data(batch)
        found.insert(0, ("train", batches.loader, batch, describe_shapes({"lq": model.lq, "gt": model.gt})))
    rows = [
        [name, type(loader.dataset).__name__, f"{loader.failures.dataset_len:,}", describe_shapes(batch), as_trained]
        for name, loader, batch, as_trained in found
    ]
    announce("Data:\n%s", format_table(["data set", "type", "images", "first batch", "as trained on"], rows))

    if batches is not None:
        if opt.typed.train.rehearse:
            rehearse(opt, model, batches, loaders)
            if footprint := measure_footprint(model, batches):
                announce("%s", describe_footprint(footprint, model, batches.batch_size))
        announce("%s", describe_schedule(batches, int(opt["train"]["total_iter"])))
    announce("All checks passed; nothing was %s.", "trained" if is_train else "tested")


def describe_shapes(batch: Mapping[str, Any]) -> str:
    """``lq 8x3x16x16, gt 8x3x64x64`` for the tensors of a batch."""
    shapes = {key: "x".join(map(str, value.shape)) for key, value in batch.items() if isinstance(value, Tensor)}
    return ", ".join(f"{key} {shape}" for key, shape in shapes.items())
