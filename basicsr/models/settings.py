"""The numbers that the training step reads from an option file, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from basicsr.options.schema_train import Train
from basicsr.utils.fields import Section, default_of

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def read_option(block: Mapping[str, Any], section: type[Section], key: str) -> Any:
    """An option's value, or the schema's default where it is absent or null; 0 is a value.

    Args:
        block: Options that need not have been through the schema.
        section: The part of the schema that knows the option.
        key: The option.
    """
    value = block.get(key)
    return default_of(section.model_fields[key]) if value is None else value


@dataclass(frozen=True)
class StepSettings:
    """See ``docs/options.md`` for each option.

    Attributes:
        ema_decay: Decay of the generator's average; 0 is off.
        net_d_iters: The generator steps in every ``net_d_iters``-th iteration.
        net_d_init_iters: The generator rests up to and including this iteration.
        branch_init_iters: Before this iteration only parameters with ``f_`` in their name train (SPSR).
        accumulate_steps: Number of equal parts a batch is split into.
        clip_grad_norm: Largest norm of each network's gradient; 0 is off.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        on_nonfinite: ``stop`` or ``skip``.
        diffaug: Policy of differentiable augmentation of the critics' inputs; empty is off.
    """

    ema_decay: float = 0.0
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    branch_init_iters: int = 0
    accumulate_steps: int = 1
    clip_grad_norm: float = 0.0
    precision: str = "fp32"
    on_nonfinite: str = "stop"
    diffaug: str = ""

    @classmethod
    def from_options(cls, opt: Mapping[str, Any]) -> StepSettings:
        """Reads the ``train`` block; absent or null options take their default.

        Raises:
            ValueError: If a value is out of range.
        """
        train = opt["train"]
        names = [name for name in cls.__dataclass_fields__ if name not in ("diffaug", "branch_init_iters")]
        given = {name: train[name] for name in names if train.get(name) is not None}
        if train.get("diffaug"):
            given["diffaug"] = train.get("aug_policy") or default_of(Train.model_fields["aug_policy"])
        if train.get("branch_pretrain"):
            given["branch_init_iters"] = read_option(train, Train, "branch_init_iters")
        settings = cls(**given)
        if settings.precision not in _AUTOCAST:
            raise ValueError(f"train.precision must be one of {', '.join(_AUTOCAST)}, got {settings.precision!r}")
        if settings.net_d_iters < 1 or settings.accumulate_steps < 1:
            raise ValueError("train.net_d_iters and train.accumulate_steps must be at least 1")
        return settings

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        return _AUTOCAST[self.precision]

    def trains_generator(self, current_iter: int) -> bool:
        return current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters

    def trains_branch_only(self, current_iter: int) -> bool:
        return current_iter < self.branch_init_iters
