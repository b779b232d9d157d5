"""Options that all data sets share, validated before anything is read.

Every data set class carries a pydantic model ``Options`` derived from :class:`DatasetOptions`. Models are closed (a key
that nobody knows is an error) and frozen. What a single value must be is checked when the model is made; what has to
fit together, and the files, by :meth:`DatasetOptions.find_conflicts` and the data set's ``check_files``.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from basicsr.utils.errors import OptionsError, Problem


def _path_to_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


PathText = Annotated[str, BeforeValidator(_path_to_text)]
Probability = Annotated[float, Field(ge=0, le=1)]
ThreeNumbers = Annotated[list[float], Field(min_length=3, max_length=3)]


class IoBackend(BaseModel):
    """Where images are read from: ``disk`` (files) or ``lmdb`` (databases, see create_lmdb.py)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["disk", "lmdb"] = Field("disk", description="`disk` or `lmdb`.")
    db_paths: list[PathText] | None = Field(None, description="Taken from the dataroot; accepted and not used.")
    client_keys: list[str] | None = Field(None, description="Chosen by the data set; accepted and not used.")


@cache
def _notice_ignored(dataset: str, key: str, reason: str) -> None:
    logging.getLogger("basicsr").info("data set %s: %s is not used (%s)", dataset, key, reason)


class DatasetOptions(BaseModel):
    """Keys of every data set block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IGNORED: ClassVar[Mapping[str, str]] = {
        "use_shuffle": "training data is always shuffled, other data never",
        "data_type": "suffixes tell",
        "cache_keys": "for video",
    }
    """Keys that published files carry and nothing reads, with the reason; they are accepted with a notice."""

    name: str | None = Field(None, description="Name for logs and result folders.")
    type: str | None = Field(None, description="The data set class.")
    phase: Literal["train", "val", "test"] = Field("test", description="Filled in from the block's key.")
    scale: int | None = Field(None, ge=1, description="GT pixels per LQ pixel; filled in from the file's scale.")
    seed: int = Field(0, description="Seeds crops, flips and kernels; filled in from manual_seed.")
    io_backend: IoBackend = Field(
        default_factory=lambda: IoBackend.model_validate({}), description="Files or databases."
    )

    gt_size: int | None = Field(None, ge=1, description="Side of the GT crop in pixels; a multiple of scale.")
    use_hflip: bool = Field(False, description="Flip at random, left to right (training).")
    use_rot: bool = Field(False, description="Flip top to bottom and transpose at random (training).")
    mean: ThreeNumbers | None = Field(None, description="Subtracted from R, G, B in [0, 1].")
    std: ThreeNumbers | None = Field(None, description="R, G, B are divided by it.")
    max_failed_share: Probability = Field(
        0.05, description="Largest share of images that may be unusable before the run stops."
    )

    batch_size_per_gpu: int | None = Field(None, ge=1, description="Training batch of one process; needed to train.")
    num_worker_per_gpu: int = Field(0, ge=0, description="Loading processes of one process; 0: none.")
    dataset_enlarge_ratio: Annotated[int | float, Field(gt=0)] = Field(
        1, description="How often an epoch visits each image."
    )
    prefetch_mode: Literal["cpu", "cuda"] | None = Field(
        None, description="`cpu`: batches wait on a thread; `cuda`: they are copied to the GPU during the step."
    )
    num_prefetch_queue: int = Field(1, ge=1, description="Batches that wait with prefetch_mode cpu.")
    prefetch_factor: int | None = Field(None, ge=1, description="Batches that each loading process keeps ready.")
    pin_memory: bool = Field(False, description="Page-locked batches, for fast copies to a GPU.")
    persistent_workers: bool = Field(True, description="Keep loading processes between epochs.")

    @model_validator(mode="before")
    @classmethod
    def _drop_ignored(cls, block: Any) -> Any:
        if not isinstance(block, Mapping):
            return block
        for key in cls.IGNORED:
            if key in block:
                _notice_ignored(str(block.get("name")), key, cls.IGNORED[key])
        return {key: value for key, value in block.items() if key not in cls.IGNORED}

    def find_conflicts(self) -> list[str]:
        """What does not fit together in this block, in sentences that name the options; empty if all is well."""
        problems = []
        if self.gt_size and self.scale and self.gt_size % self.scale:
            below = self.gt_size - self.gt_size % self.scale
            problems.append(
                f"gt_size {self.gt_size} is not divisible by scale {self.scale}; use {below} or {below + self.scale}"
                if below
                else f"gt_size {self.gt_size} is smaller than scale {self.scale}"
            )
        if self.std and min(self.std) <= 0:
            problems.append(f"std must be positive, got {self.std}")
        return problems


OptionsT = TypeVar("OptionsT", bound=DatasetOptions)


def parse_options(model: type[OptionsT], block: Mapping[str, Any] | DatasetOptions) -> OptionsT:
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
    try:
        return model.model_validate(dict(block))
    except ValidationError as error:
        problems = [_describe(item, model) for item in error.errors(include_url=False)]
        raise OptionsError(problems, f"data set {dict(block).get('name') or model.__name__}") from None


def _describe(error: Any, model: type[DatasetOptions]) -> Problem:
    path = ".".join(str(part) for part in error["loc"]) or "(block)"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), model.model_fields, n=1)
        return Problem(path, "unknown key" + (f"; did you mean {near[0]}?" if near else ""))
    return Problem(path, f"{error['msg'].removeprefix('Value error, ')}, got {error['input']!r}")
