"""The options of a run: one model, composed of what every part declares where it is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from basicsr.models.options import DERIVED, ModelOptions, check_crop
from basicsr.models.presets import PAIRS_MADE_BEFOREHAND
from basicsr.utils.errors import Problem
from basicsr.utils.fields import Integer, PositiveInt, Section, option
from basicsr.utils.frozen import FrozenOptions, freeze
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import DATASET_REGISTRY

PHASES = ("train", "val", "test")
FILE_OPTIONS = ("dataroot", "meta_info")
_NOT_DIGESTED = (
    *("name", "type", "io_backend", "num_worker_per_gpu", "persistent_workers", "pin_memory", "prefetch_mode"),
    *("num_prefetch_queue", "prefetch_factor", "phase", "prepare"),
)

Dataset = Annotated[Part, PartOf(DATASET_REGISTRY)]


class Wandb(Section):
    """Weights & Biases; needs ``pip install basicsr[wandb]``."""

    project: str | None = None
    """Project to log to; absent: no logging there."""
    resume_id: str | None = None
    """Run to go on with."""


class LoggerOptions(Section):
    """What is logged and saved, and how often."""

    print_freq: PositiveInt = 100
    """Iterations between log lines."""
    save_checkpoint_freq: PositiveInt = 5000
    """Iterations between checkpoints."""
    use_tb_logger: bool = True
    """Write TensorBoard events under `tb_logger/<name>`."""
    wandb: Wandb | None = None
    """Weights & Biases."""
    keep_states: PositiveInt | None = None
    """Keep only that many of the latest checkpoints; absent: all."""


class DistParams(Section):
    """Training on several devices."""

    backend: Literal["nccl", "gloo", "mpi", "ucc"] | None = None
    """Communication library; absent: NCCL on GPUs, gloo without."""
    port: Annotated[Integer, Field(ge=1, le=65535)] | None = None
    """Port of rank 0 (`--launcher slurm`)."""
    timeout: Annotated[float, Field(gt=0)] = 30.0
    """Minutes that a process waits for the others before the run ends with an error."""


class RunOptions(ModelOptions):
    """An option file in today's form."""

    imports: list[str] = Field(default_factory=list)
    """Files and packages of your own that register parts, loaded before anything is checked."""
    datasets: dict[str, Dataset | None] = Field(default_factory=dict)
    """`train`, `val`, `val_1` … and `test_1` …: each a data set's `type` and its options."""
    logger: LoggerOptions = Field(default_factory=LoggerOptions)
    """Logging and checkpoints."""
    dist_params: DistParams = Field(default_factory=DistParams)
    """Training on several devices."""
    deterministic: bool = False
    """Equal bits in equal runs on a GPU too, at some cost in speed."""

    auto_clean: bool | None = option(None, unused="no checkpoint is removed by itself")
    """Carried by published files."""
    high_order_degradation: bool | None = option(
        None, unused="model_type and the data set say whether LQ is made or read"
    )
    """Carried by published files."""
    world_size: int = option(1, unused=DERIVED)
    """Number of processes."""
    root_path: str | None = option(None, unused=DERIVED)
    """The project folder."""
    auto_resume: bool = option(False, unused=DERIVED)
    """Whether to go on from the latest checkpoint."""

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    def to_mapping(self) -> FrozenOptions:
        """The options as published code reads them: nested, in the form of the file, with every section's defaults."""
        return freeze(self._written, typed=self)

    @property
    def train_set(self) -> Part | None:
        return self.datasets.get("train")

    @property
    def crop_size(self) -> int | None:
        """Side of the GT crop in training, in pixels; ``None`` if it is not known, or no multiple of the scale."""
        size = self.degradation.get("gt_size") if self.degradation else None
        if size is None and self.train_set is not None:
            size = self.train_set.get("gt_size")
        return size if isinstance(size, int) and size % (self.scale or 1) == 0 else None

    def describe_numbers(self) -> dict[str, Any]:
        data = self.train_set.to_plain() if self.train_set else {}
        names = [key for key in data if key not in _NOT_DIGESTED and not key.startswith(FILE_OPTIONS)]
        return {**super().describe_numbers(), "data": {name: data[name] for name in names}}

    def find_all_conflicts(self, *, is_ours: bool) -> Iterator[Problem]:
        """What does not fit together in the file, by its place in today's form."""
        batch = self.train_set.get("batch_size_per_gpu") if self.train_set else None
        batch = batch if isinstance(batch, int) and batch > 0 else None
        yield from self.find_conflicts(self.crop_size, batch, is_ours=is_ours)
        for key, dataset in self.datasets.items():
            path = f"datasets.{key}"
            if dataset is not None:
                scale = dataset.get("scale")
                if scale is not None and self.scale is not None and scale != self.scale:
                    yield Problem(f"{path}.scale", f"is {scale}, but the file's scale is {self.scale}")
                if hasattr(dataset.declared, "find_conflicts"):
                    yield from (problem.within(path) for problem in dataset.declared.find_conflicts())
        if self.is_train and self.train_set is not None:
            size = self.train_set.get("gt_size")
            if isinstance(size, int) and self.scale is not None:
                yield from check_crop("datasets.train.gt_size", size, self.scale)
            yield from self._check_train_set(self.train_set)

    def _check_train_set(self, train_set: Part) -> Iterator[Problem]:
        """Compares what the data set gives with what the step needs."""
        provided = getattr(train_set.constructor, "provides", None)
        made = self.degradation.constructor if self.degradation else None
        needed = getattr(made, "needs", None) if made else {"gt", "lq"}
        takes_pairs = self.degradation is not None and self.degradation.takes("gan_gt_usm")
        if not provided or needed is None or needed <= provided:
            return
        if takes_pairs and train_set.type == PAIRS_MADE_BEFOREHAND:
            return
        wants = "pairs" if made is None else f"GT images to degrade ({self.degradation.type})"  # type: ignore[union-attr]
        fitting = [n for n, cls in DATASET_REGISTRY.items() if needed <= getattr(cls, "provides", set())]
        fitting += [PAIRS_MADE_BEFOREHAND] if takes_pairs else []
        kind = self.model_type or "the run"
        message = f"{train_set.type} does not fit {kind}, which trains on {wants}; use {' or '.join(fitting)}"
        yield Problem("datasets.train.type", message)


def complete_datasets(data: dict[str, Any]) -> None:
    """Fills in what the file knows about its data sets: name, phase, scale and seed; writes out ``~`` in paths."""
    blocks = data.get("datasets")
    if not isinstance(blocks, dict):
        return
    for key, block in blocks.items():
        if isinstance(block, dict):
            numbers = {"scale": data.get("scale"), "seed": data.get("manual_seed", 0)}
            frame = {name: number for name, number in numbers.items() if isinstance(number, int)}
            blocks[key] = complete_dataset(key, block, frame)


def complete_dataset(key: str, block: dict[str, Any], frame: dict[str, Any]) -> dict[str, Any]:
    """One data set's block with what the file knows about it."""
    known = {"name": key, "phase": key.split("_")[0], **frame}
    expanded = {k: expand_home(v) if k.startswith(FILE_OPTIONS) else v for k, v in block.items()}
    return {**{k: v for k, v in known.items() if v not in (None, "")}, **expanded}


def expand_home(value: Any) -> Any:
    """Writes out a leading ``~`` in a path or in each of a list of paths; other values are left."""
    if isinstance(value, list):
        return [expand_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value
