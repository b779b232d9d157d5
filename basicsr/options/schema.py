"""The options of a run: one model, composed of what every part declares where it is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from basicsr.models.options import DERIVED, ModelOptions, check_crop
from basicsr.models.presets import PAIRS_MADE_BEFOREHAND
from basicsr.utils.errors import Problem, check_file_name
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
    """Weights & Biases; needs ``pip install wandb``."""

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
    """Keep only that many of the latest checkpoints, with the critics' weights; the generator's stay. Absent: all."""
    report: bool = True
    """Write `report.html` into the run's folder at its end: pictures, numbers and curves on one page."""


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

    auto_clean: bool | None = option(unused="no checkpoint is removed by itself")
    """Carried by published files."""
    high_order_degradation: bool | None = option(unused="model_type and the data set say whether LQ is made or read")
    """Carried by published files."""
    world_size: int = option(1, unused=DERIVED)
    """Number of processes."""
    root_path: str | None = option(unused=DERIVED)
    """The project folder."""
    auto_resume: bool = option(False, unused=DERIVED)
    """Whether to go on from the latest checkpoint."""

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    def to_mapping(self) -> FrozenOptions:
        """The options as published code reads them: nested, in the form of the file, with every section's defaults."""
        return freeze(self._written, typed=self)

    def describe_numbers(self) -> dict[str, Any]:
        train_set = self.datasets.get("train")
        data = train_set.to_plain() if train_set else {}
        names = [key for key in data if key not in _NOT_DIGESTED and not key.startswith(FILE_OPTIONS)]
        return {**super().describe_numbers(), "data": {name: data[name] for name in names}}

    def find_all_conflicts(self, *, is_ours: bool) -> Iterator[Problem]:
        """What does not fit together in the file, by its place in today's form."""
        train_set = self.datasets.get("train")
        size = self.degradation.get("gt_size") if self.degradation else None
        size = train_set.get("gt_size") if size is None and train_set else size
        crop = size if isinstance(size, int) and size % (self.scale or 1) == 0 else None
        batch = train_set.get("batch_size_per_gpu") if train_set else None
        yield from self._check_names()
        yield from self.find_conflicts(crop, batch if isinstance(batch, int) and batch > 0 else None, is_ours=is_ours)
        for key, dataset in self.datasets.items():
            scale = dataset.get("scale") if dataset else None
            if scale is not None and self.scale is not None and scale != self.scale:
                yield Problem(f"datasets.{key}.scale", f"is {scale}, but the file's scale is {self.scale}")
            if dataset is not None and hasattr(dataset.declared, "find_conflicts"):
                yield from (problem.within(f"datasets.{key}") for problem in dataset.declared.find_conflicts())
        if self.is_train:
            yield from self._check_directions()
        if train_set is None or not self.is_train:
            return
        yield from check_crop("datasets.train.gt_size", train_set.get("gt_size"), self.scale)

        # Compare what the data set gives with what the step needs.
        provided = getattr(train_set.constructor, "provides", None)
        needed = getattr(self.degradation.constructor, "needs", None) if self.degradation else {"gt", "lq"}
        fitting = [n for n, cls in DATASET_REGISTRY.items() if needed and needed <= getattr(cls, "provides", set())]
        if self.degradation is not None and self.degradation.takes("gan_gt_usm"):
            fitting.append(PAIRS_MADE_BEFOREHAND)
        if provided and needed is not None and not needed <= provided and train_set.type not in fitting:
            wants = f"GT images to degrade ({self.degradation.type})" if self.degradation else "pairs"
            message = f"{train_set.type} does not fit {self.model_type or 'the run'}, which trains on {wants}"
            yield Problem("datasets.train.type", f"{message}; use {' or '.join(fitting)}")

    def _check_directions(self) -> Iterator[Problem]:
        """Metrics of which training keeps the best value without knowing which that is."""
        for key, metric in self.val.metrics.items() if self.val else ():
            if metric and not metric.settings.get("better") and not hasattr(metric.constructor, "better"):
                message = f"missing; {metric.type} does not say which values are better, so say higher or lower here"
                yield Problem(f"val.metrics.{key}.better", message)

    def _check_names(self) -> Iterator[Problem]:
        """Names that files and folders are called by: none may lead out of the folder that they are put in."""
        names: dict[str, Any] = {"name": self.name, "val.suffix": self.val.suffix if self.val else None}
        names |= {f"datasets.{key}.name": dataset.get("name") for key, dataset in self.datasets.items() if dataset}
        names |= {f"critics.{key}": key for key in self.critics}
        for path, name in names.items():
            # An empty suffix asks for the default, as null does.
            if isinstance(name, str) and (name or path != "val.suffix"):
                try:
                    check_file_name(name)
                except ValueError as error:
                    yield Problem(path, str(error))


def complete_datasets(blocks: Any, frame: Mapping[str, Any]) -> None:
    """Fills in what the file knows about its data sets: name, phase, scale and seed; writes out ``~`` in paths."""
    for key, block in blocks.items() if isinstance(blocks, dict) else ():
        if isinstance(block, dict):
            known = {"name": key, "phase": key.split("_")[0], **frame}
            expanded = {k: expand_home(v) if k.startswith(FILE_OPTIONS) else v for k, v in block.items()}
            blocks[key] = {**{k: v for k, v in known.items() if v not in (None, "")}, **expanded}


def expand_home(value: Any) -> Any:
    """Writes out a leading ``~`` in a path or in each of a list of paths; other values are left."""
    if isinstance(value, list):
        return [expand_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value
