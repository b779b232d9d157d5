"""Losses that are NaN or infinite, found without making the device wait and reported with what reproduces them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from basicsr.utils.batch import start_copy_to_host
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import TrainingError

logger = logging.getLogger("basicsr")

MAX_SKIPPED_IN_A_ROW = 10


@dataclass
class NonfiniteReport:
    """An iteration that had a loss which is not finite.

    Attributes:
        iteration: Its number.
        terms: Names of the logged losses that were NaN or infinite.
        batch: What reproduces it: the batch's tensors (``lq``, ``gt`` …) and file names.
    """

    iteration: int
    terms: list[str]
    batch: dict[str, Any]


@dataclass
class NonfiniteGuard:
    """Watches the losses of every iteration.

    Args:
        mode: ``stop`` looks at flags that the device computed and copied on its own: on a GPU the report comes one
            iteration late, and nothing waits; on a CPU, where looking costs nothing, the weights stay what they were.
            ``skip`` must know before each optimizer step, and waits for the device.

    Attributes:
        num_skipped: Iterations with a dropped step so far.
    """

    mode: str = "stop"
    num_skipped: int = 0
    _in_a_row: int = 0
    _dropped: set[str] = field(default_factory=set)
    _pending: list[tuple[NonfiniteReport, Tensor, torch.cuda.Event | None]] = field(default_factory=list)

    def drops_step(self, logs: list[dict[str, Tensor]]) -> bool:
        """Whether the optimizer step that these logs belong to is to be dropped (on every rank, if on any).

        Args:
            logs: Scalars by name, the same names for each part of the batch and on every rank.
        """
        if self.mode == "stop" and next(iter(logs[0].values())).device.type != "cpu":
            return False
        is_bad = torch.stack([_flag_nonfinite(part) for part in logs]).any(dim=0)
        rank, world_size = get_dist_info()
        # Of the ranks whose loss it was the largest number remains, that of the first of them.
        marks = is_bad * (world_size - rank)
        if self.mode == "skip" and world_size > 1:
            dist.all_reduce(marks, op=dist.ReduceOp.MAX)
        found = {name: world_size - mark for name, mark in zip(logs[0], marks.tolist(), strict=True) if mark}
        self._dropped |= {f"{name} on rank {first}" if world_size > 1 else name for name, first in found.items()}
        return bool(found)

    def watch(self, iteration: int, logs: dict[str, Tensor], batch: dict[str, Any]) -> None:
        """Takes note of a finished iteration.

        Raises:
            TrainingError: With ``skip``, after 10 iterations in a row that dropped a step.
        """
        if self.mode == "stop":
            # All losses are named until the flags, which the device still computes, tell which are meant.
            report = NonfiniteReport(iteration, list(logs), batch)
            self._pending.append((report, *start_copy_to_host(_flag_nonfinite(logs))))
            return
        names, self._dropped = ", ".join(sorted(self._dropped)), set()
        if not names:
            self._in_a_row = 0
            return
        self.num_skipped += 1
        self._in_a_row += 1
        logger.warning("Iteration %d: %s not finite; step dropped (%d so far).", iteration, names, self.num_skipped)
        if self._in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"{names} not finite in {self._in_a_row} iterations in a row, the last is {iteration}; "
                "lower the learning rate, clip gradients (train.clip_grad_norm) or use train.precision: fp32"
            )

    def poll(self, wait: bool = False) -> NonfiniteReport | None:
        """The first unreported iteration with a loss that is not finite, if there is one.

        Args:
            wait: Look at the newest iteration too, although the GPU may still be busy with it.
        """
        while self._pending:
            report, is_bad, ready = self._pending[0]
            if ready is not None:
                if len(self._pending) == 1 and not wait and not ready.query():
                    return None
                ready.synchronize()
            self._pending.pop(0)
            if is_bad.any():
                return replace(report, terms=list(compress(report.terms, is_bad.tolist())))
        return None


def _flag_nonfinite(logs: dict[str, Tensor]) -> Tensor:
    """Which of the values are NaN or infinite, on their device."""
    return ~torch.isfinite(torch.stack([value.detach().float() for value in logs.values()]))
