"""Losses that are NaN or infinite, found without making the device wait and reported with what reproduces them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from basicsr.utils.batch import start_copy_to_host
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


class _Watched(NamedTuple):
    iteration: int
    logs: dict[str, Tensor]
    batch: dict[str, Any]
    is_bad: Tensor
    ready: torch.cuda.Event | None


@dataclass
class NonfiniteGuard:
    """Watches the losses of every iteration.

    Args:
        mode: ``stop`` looks at a flag that the device computed and copied on its own: on a GPU the report comes one
            iteration late, and nothing waits; on a CPU, where looking costs nothing, the weights stay what they were.
            ``skip`` must know before each optimizer step, and waits for the device.

    Attributes:
        num_skipped: Iterations with a dropped step so far.
    """

    mode: str = "stop"
    num_skipped: int = 0
    _in_a_row: int = 0
    _dropped: set[str] = field(default_factory=set)
    _pending: list[_Watched] = field(default_factory=list)

    def drops_step(self, logs: list[dict[str, Tensor]]) -> bool:
        """Whether the optimizer step that these logs belong to is to be dropped (on every rank, if on any)."""
        values = [value for part in logs for value in part.values()]
        if self.mode == "stop":
            return values[0].device.type == "cpu" and bool(_any_nonfinite(values))
        bad = _any_nonfinite(values).float()
        if dist.is_initialized():
            dist.all_reduce(bad, op=dist.ReduceOp.MAX)
        if not bad.item():
            return False
        self._dropped |= {name for part in logs for name in _nonfinite_names(part)} or {"a loss on another rank"}
        return True

    def watch(self, iteration: int, logs: dict[str, Tensor], batch: dict[str, Any]) -> None:
        """Takes note of a finished iteration.

        Raises:
            TrainingError: With ``skip``, after 10 iterations in a row that dropped a step.
        """
        if self.mode == "skip":
            self._count_dropped(iteration)
            return
        if logs:
            is_bad, ready = start_copy_to_host(_any_nonfinite(list(logs.values())))
            self._pending.append(_Watched(iteration, logs, batch, is_bad, ready))

    def poll(self, wait: bool = False) -> NonfiniteReport | None:
        """The first unreported iteration with a loss that is not finite, if there is one.

        Args:
            wait: Look at the newest iteration too, although the GPU may still be busy with it.
        """
        while self._pending:
            watched = self._pending[0]
            if watched.ready is not None:
                if len(self._pending) == 1 and not wait and not watched.ready.query():
                    return None
                watched.ready.synchronize()
            self._pending.pop(0)
            if watched.is_bad:
                return NonfiniteReport(watched.iteration, _nonfinite_names(watched.logs), watched.batch)
        return None

    def _count_dropped(self, iteration: int) -> None:
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


def _any_nonfinite(values: list[Tensor]) -> Tensor:
    return ~torch.isfinite(torch.stack([value.detach().float() for value in values])).all()


def _nonfinite_names(logs: dict[str, Tensor]) -> list[str]:
    return [name for name, value in logs.items() if not bool(torch.isfinite(value))]
