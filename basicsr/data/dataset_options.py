"""Options that all data sets share, validated before anything is read.

Every data set class carries a model ``Options`` derived from :class:`DatasetOptions`, which is strict, closed (a key
that nobody knows is an error) and frozen. What a single value must be is checked when the model is made; what has to
fit together by :meth:`DatasetOptions.find_conflicts`, and the files by the data set's ``check_files``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from basicsr.data.listings import SourceError
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.fields import (
    Count,
    Integer,
    Numbers,
    PositiveInt,
    Probability,
    Section,
    drop_zero_fractions,
    extra_of,
    join_path,
    list_problems,
    option,
)

PathText = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]
Phase = Literal["train", "val", "test"]
PositiveNumber = Annotated[int | float, Field(gt=0)]


def _check_channels(value: list[float]) -> list[float]:
    if len(value) not in (1, 3):
        raise ValueError("expected one number for all channels, or three for R, G, B")
    return value


PerChannel = Annotated[Numbers, AfterValidator(_check_channels), Field(min_length=1, max_length=3)]


class IoBackend(Section):
    """Where images are read from: ``disk`` (files) or ``lmdb`` (databases, see create_lmdb.py)."""

    type: Literal["disk", "lmdb"] = "disk"
    """`disk` or `lmdb`."""
    db_paths: list[PathText] | None = None
    """Taken from the dataroot; accepted and not used."""
    client_keys: list[str] | None = None
    """Chosen by the data set; accepted and not used."""


@cache
def _notice_unused(dataset: str, key: str, reason: str) -> None:
    logging.getLogger("basicsr").info("data set %s: %s is not used (%s)", dataset, key, reason)


class LoaderOptions(Section):
    """Keys of a data set's block that its loader reads, whoever wrote the data set."""

    name: str | None = None
    """Name for logs and result folders."""
    phase: Phase
    """Filled in from the block's key."""
    max_failed_share: Probability = 0.05
    """Share of images that may be unusable; more stop the run."""
    batch_size_per_gpu: PositiveInt | None = None
    """Training batch of one process; needed to train."""
    num_worker_per_gpu: Count = 0
    """Loading processes of one process; 0: none."""
    dataset_enlarge_ratio: PositiveNumber = 1
    """How often an epoch visits each image."""
    prefetch_mode: Literal["cpu", "cuda"] | None = None
    """`cpu`: batches wait on a thread; `cuda`: they are copied to the GPU during the step."""
    num_prefetch_queue: PositiveInt = 1
    """Batches that wait with prefetch_mode cpu."""
    prefetch_factor: PositiveInt | None = None
    """Batches that each loading process keeps ready."""
    pin_memory: bool = False
    """Page-locked batches, for fast copies to a GPU."""
    persistent_workers: bool = True
    """Keep loading processes between epochs."""

    @property
    def is_training(self) -> bool:
        return self.phase == "train"


class DatasetOptions(LoaderOptions):
    """Keys of every data set block."""

    type: str | None = None
    """The data set class."""
    phase: Phase = "test"
    """Filled in from the block's key."""
    scale: PositiveInt | None = None
    """GT pixels per LQ pixel; filled in from the file's scale."""
    seed: Integer = 0
    """Seeds crops, flips and kernels; filled in from manual_seed."""
    io_backend: IoBackend = IoBackend.model_validate({})
    """Files or databases."""
    meta_info_file: PathText | None = None
    """Text file of `gt_path[, lq_path]` or `path (h,w,c)` lines that chooses the images."""
    meta_info: PathText | None = None
    """Another name of meta_info_file."""

    min_size: PositiveInt | None = None
    """Images (GT, or LQ without GT) with a smaller side are left out, and counted in the log."""
    gt_size: PositiveInt | None = None
    """Side of the GT crop in pixels; a multiple of scale."""
    use_hflip: bool = False
    """Flip at random, left to right (training)."""
    use_rot: bool = False
    """Flip top to bottom and transpose at random (training)."""
    mean: PerChannel | None = None
    """Subtracted from R, G, B in [0, 1]; one number: from every channel."""
    std: PerChannel | None = None
    """R, G, B are divided by it; one number: every channel is."""

    use_shuffle: Any = option(unused="training data is always shuffled, other data never")
    """Carried by published files."""
    data_type: Any = option(unused="suffixes tell")
    """Carried by published files."""
    cache_keys: Any = option(unused="for video")
    """Carried by published files."""

    @property
    def roots(self) -> dict[str, str]:
        """The folders or databases of the kinds of image, ``gt`` and ``lq``, that the block names."""
        return {kind: root for kind in ("gt", "lq") if (root := getattr(self, f"dataroot_{kind}", None)) is not None}

    def refuse_missing(self) -> None:
        """Raises ``SourceError`` at every folder, database and list that is not there."""
        problems = [
            Problem(f"dataroot_{kind}", f"{root}: {'is not a folder' if os.path.exists(root) else 'no such folder'}")
            for kind, root in self.roots.items()
            if not os.path.isdir(root)
        ]
        for key, file in (("meta_info_file", self.meta_info_file), ("meta_info", self.meta_info)):
            if file is not None and not os.path.isfile(file):
                message = f"{file}: no such file (basicsr data meta makes one)"
                problems.append(Problem(key, message))
        if problems:
            raise SourceError(problems)

    def find_conflicts(self) -> list[Problem]:
        """What does not fit together in this block, each at the option to change (``""``: the whole block)."""
        problems = []
        if self.gt_size and self.scale and self.gt_size % self.scale:
            below = self.gt_size - self.gt_size % self.scale
            relation = f"not divisible by scale {self.scale}; use {below} or {below + self.scale}"
            if not below:
                relation = f"smaller than scale {self.scale}"
            problems.append(Problem("gt_size", f"gt_size {self.gt_size} is {relation}"))
        if self.std and min(self.std) <= 0:
            problems.append(Problem("std", f"std must be positive, got {self.std}"))
        return problems


OptionsT = TypeVar("OptionsT", bound=LoaderOptions)


def parse_options(model: type[OptionsT], block: Mapping[str, Any] | LoaderOptions) -> OptionsT:
    """Validates a data set's block.

    Args:
        model: The data set's ``Options``.
        block: Its block, or options that were made before.

    Returns:
        The frozen options.

    Raises:
        OptionsError: With all mistakes, unknown keys with the nearest known one.
    """
    if isinstance(block, model):
        return block
    plain = drop_zero_fractions(dict(block))
    name = plain.get("name") or model.__name__
    try:
        options = model.model_validate(plain, context={"is_dropping": True})
    except ValidationError as error:
        problems = [Problem(join_path(*where), text) for where, text, _ in list_problems(error)]
        raise OptionsError(problems, f"data set {name}") from None
    for key in options.model_fields_set:
        if reason := extra_of(model.model_fields[key], "unused"):
            _notice_unused(name, key, reason)
    return options
