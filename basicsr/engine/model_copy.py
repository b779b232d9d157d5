"""A copy of a model to try things on: whatever is done to it, the model itself keeps every bit."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.adversarial import Objective
from basicsr.degradation import PairPool
from basicsr.models import BaseModel
from basicsr.models.compiling import Compilation
from basicsr.models.graphed_step import StepGraphs
from basicsr.models.nonfinite import NonfiniteGuard
from basicsr.utils.dist_util import bare
from basicsr.utils.frozen import FrozenOptions

ModelT = TypeVar("ModelT", bound=BaseModel)


def copy_model(model: ModelT, batch_size: int) -> ModelT:
    """Copies all that a model holds, for small batches of this process alone.

    Networks, average, optimizers, schedules, losses and every other attribute are copied, and refer to each other as
    the originals do. Networks come without their DistributedDataParallel wrappers, and nothing of this package waits
    for other processes. The pool of pairs is empty and as large as one batch, which passes through it.

    Args:
        model: The model.
        batch_size: Images of a batch; it is not split into parts.

    Raises:
        TypeError: If something in it, such as an open file, cannot be copied. (Other exceptions are possible, too.)
    """
    given = (model.options, model.settings, model.val, *([model.opt] if isinstance(model.opt, FrozenOptions) else []))
    memo: dict[int, object] = {id(options): options for options in given}
    memo[id(model.graphs)] = StepGraphs(False)  # graphs are of one model's memory
    for value in vars(model).values():
        if isinstance(value, DistributedDataParallel):
            memo[id(value)] = copy.deepcopy(value.module, memo)
        elif isinstance(value, PairPool):
            memo[id(value)] = PairPool(batch_size)
    copied = copy.deepcopy(model, memo)
    copied.options = model.options.model_copy(update={"dist": False})
    copied.compilation = Compilation(False)  # copies of networks are not compiled
    copied.settings = model.settings.model_copy(update={"accumulate_steps": 1, "on_nonfinite": "stop"})
    if isinstance(getattr(copied, "guard", None), NonfiniteGuard):
        copied.guard = NonfiniteGuard()  # type: ignore[attr-defined]
    objective = getattr(copied, "objective", None)
    if isinstance(objective, Objective) and hasattr(objective, "sync_mean"):
        objective.sync_mean = False
    return copied


def place_of(model: BaseModel, name: str) -> str:
    """Where today's form of the options has the network ``net_{name}``."""
    if name in model.options.critics:
        return f"critics.{name}.network"
    return "network_g" if name == "g" else f"net_{name}"


def trainable(net: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a network, possibly wrapped, that require a gradient, by name."""
    return {name: parameter for name, parameter in bare(net).named_parameters() if parameter.requires_grad}
