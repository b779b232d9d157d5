"""Learning rates as functions of the iteration: steps or cosines, with restarts, and a linear warm-up."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from basicsr.utils.errors import ArgumentError
from basicsr.utils.fields import Weight
from basicsr.utils.registry import SCHEDULER_REGISTRY


def set_learning_rates(
    scheduler: LRScheduler, current_iter: int, warmup_iter: int = -1, *, keep_warmup_shortfall: bool = False
) -> None:
    """Advances a schedule and its optimizer's rates after the optimisation step of iteration ``current_iter`` (from 1).

    While ``current_iter < warmup_iter`` the rate is ``nominal * current_iter / warmup_iter``, whatever the schedule
    says; afterwards it is the schedule's.

    Args:
        scheduler: The schedule; any of PyTorch's will do.
        current_iter: The iteration that has just been done.
        warmup_iter: Length of the warm-up; 1 or less: none.
        keep_warmup_shortfall: Reproduce the original implementation, whose schedule multiplied the last rate of the
            warm-up, so that all later rates are ``(warmup_iter - 1) / warmup_iter`` of the schedule's.
    """
    # Chained schedules multiply what they find, which must not be a warm-up rate.
    groups = scheduler.optimizer.param_groups
    for group, rate in zip(groups, scheduler.get_last_lr()):
        group["lr"] = rate
    scheduler.step()
    for group in groups:
        if current_iter < warmup_iter:
            group["lr"] = _warmed_up(group, current_iter, warmup_iter)
        elif keep_warmup_shortfall and warmup_iter > 1:
            group["lr"] *= (warmup_iter - 1) / warmup_iter


def get_position_from_periods(iteration: int, cumulative_period: Sequence[int]) -> int:
    """The index of the period that an iteration is in, by the ends of the periods.

    A period's last iteration belongs to it: the next one starts, high again, one iteration later.
    """
    return bisect_left(cumulative_period, iteration)


def _warmed_up(group: dict[str, Any], current_iter: int, warmup_iter: int) -> float:
    return float(group["initial_lr"] * current_iter / warmup_iter)


def load_schedule(scheduler: LRScheduler, state: dict[str, Any], warmup_iter: int | None = None) -> None:
    """Enters a schedule where another was left; its nominal rates, and what else its options say, are those of now.

    Args:
        scheduler: A new schedule of an optimizer whose state has been restored.
        state: The state of the other.
        warmup_iter: Length of the warm-up; ``None`` leaves the optimizer's rates as they were restored.

    Raises:
        ValueError: If the state does not say how far the other was.
    """
    if "last_epoch" in scheduler.state_dict() and not isinstance(state.get("last_epoch"), int):
        raise ValueError("it does not say after which iteration it was written (last_epoch)")
    nominal = list(getattr(scheduler, "base_lrs", ()))  # torch's schedules of schedules have none
    scheduler.load_state_dict(state)
    former = list(getattr(scheduler, "base_lrs", ()))
    if nominal:
        scheduler.base_lrs = nominal
    if isinstance(scheduler, _ClosedFormLR):
        scheduler._last_lr = scheduler.get_lr()
    elif former != nominal:
        rates = zip(scheduler.get_last_lr(), former, nominal, strict=True)
        scheduler._last_lr = [rescale(rate, old, new) for rate, old, new in rates]
    if warmup_iter is None or not isinstance(scheduler, _ClosedFormLR):
        return
    done = scheduler.last_epoch
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = _warmed_up(group, done, warmup_iter) if done < warmup_iter else rate


def rescale(rate: Any, former: Any, nominal: Any) -> Any:
    """A rate that belongs to a nominal rate of formerly, for the one of now; unchanged to the bit where that is."""
    return rate if former == nominal else nominal if former == 0 else rate * (nominal / former)


class _ClosedFormLR(LRScheduler):
    """A schedule whose rates :meth:`get_lr` depend on ``last_epoch``, the steps done, alone.

    It can be entered anywhere: its state is its position; everything else comes from the options, so that they may
    change between two runs.
    """

    _STATE = ("last_epoch", "base_lrs", "_step_count", "_last_lr")

    def step(self, epoch: int | None = None) -> None:
        # PyTorch's own step warns of an optimizer that has not stepped yet; one that waits for its turn
        # (net_d_iters, net_d_init_iters) is no mistake here.
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._step_count += 1
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name in self._STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name in self._STATE})


@SCHEDULER_REGISTRY.register(name="MultiStepLR")
@SCHEDULER_REGISTRY.register()
class MultiStepRestartLR(_ClosedFormLR):
    """Multiplies the rate by ``gamma`` at milestones; restarts put it back to a share of the nominal rate.

    Args:
        optimizer: Whose rates are set.
        milestones: Iterations after which the rate drops; one that occurs twice counts twice, and one that is not
            later than the last restart does not count.
        gamma: Factor of each drop.
        restarts: Iterations after which the rate restarts.
        restart_weights: Share of the nominal rate at each restart; as many as ``restarts``.
        last_epoch: Number of steps done; -1 starts from the beginning.

    Raises:
        ArgumentError: If ``restarts`` and ``restart_weights`` differ in length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: Weight = 0.1,
        restarts: Sequence[int] = (0,),
        restart_weights: Sequence[Weight] = (1.0,),
        last_epoch: int = -1,
    ) -> None:
        if len(restarts) != len(restart_weights):
            message = f"{len(restarts)} restarts need as many restart_weights; got {len(restart_weights)}"
            raise ArgumentError("restart_weights", message)
        self.milestones = sorted(milestones)
        self.gamma = gamma
        # Before the first restart, the rate is the nominal one and every milestone counts.
        self.restarts, self.restart_weights = zip((-math.inf, 1.0), *sorted(zip(restarts, restart_weights)))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        index = bisect_right(self.restarts, self.last_epoch) - 1
        drops = bisect_right(self.milestones, self.last_epoch) - bisect_right(self.milestones, self.restarts[index])
        weight = self.restart_weights[index]
        return [float(base_lr) * weight * self.gamma**drops for base_lr in self.base_lrs]


@SCHEDULER_REGISTRY.register()
class CosineAnnealingRestartLR(_ClosedFormLR):
    """Half a cosine from a share of the nominal rate down to ``eta_min`` in each period.

    Loshchilov and Hutter, "SGDR", ICLR 2017 (arXiv 1608.03983), Eq. 5. After the last period the rate stays where
    that ended, at ``eta_min``'s level.

    Args:
        optimizer: Whose rates are set.
        periods: Length of each period in iterations.
        restart_weights: Share of the nominal rate at the start of each period; as many as ``periods``, or one for all.
        eta_min: Lowest rate.
        last_epoch: Number of steps done; -1 starts from the beginning.

    Raises:
        ArgumentError: If there is no period, one is not positive, or the numbers of periods and weights differ.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[int],
        restart_weights: Sequence[Weight] = (1.0,),
        eta_min: Weight = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not periods or min(periods) < 1:
            raise ArgumentError("periods", f"periods must be positive, and at least one; got {list(periods)}")
        if len(restart_weights) not in (1, len(periods)):
            message = f"{len(periods)} periods need as many restart_weights; got {len(restart_weights)}"
            raise ArgumentError("restart_weights", message)
        self.periods = list(periods)
        self.ends = list(accumulate(periods))
        self.restart_weights = list(restart_weights) * (len(periods) if len(restart_weights) == 1 else 1)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        iteration = min(self.last_epoch, self.ends[-1])
        index = get_position_from_periods(iteration, self.ends)
        done = (iteration - self.ends[index] + self.periods[index]) / self.periods[index]
        half, height = self.restart_weights[index] * 0.5, 1 + math.cos(math.pi * done)
        return [self.eta_min + half * (float(base_lr) - self.eta_min) * height for base_lr in self.base_lrs]
