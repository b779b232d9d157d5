"""The training step as CUDA graphs (``train.cuda_graph``): one for each kind of iteration, and why there is none."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from basicsr.adversarial import Critic
from basicsr.models.graph_capture import DeviceCapture, Result
from basicsr.models.options import ModelOptions, TrainOptions
from basicsr.utils.batch import Batch
from basicsr.utils.errors import first_line
from basicsr.utils.registry import is_own

logger = logging.getLogger("basicsr")

DEVICE = "cuda"
"""Type of device whose work can be captured."""

WARM_UP = 3
"""Iterations of a kind that run without a graph first: libraries choose algorithms, optimizers make their state."""

MAX_KINDS = 4
"""Kinds of iteration that get a graph; each holds memory."""

STEP_METHODS = (
    "optimize_parameters",
    "take_step",
    "critic_images",
    "teach_generator",
    "teach_critic",
    "total_of",
    "apply",
    "autocast",
    "gradients_synced",
    "model_ema",
)
"""What a class may override to do work in a step that nobody here knows."""

Way = tuple[bool, bool, float]
"""What the host decides of an iteration: whether the generator and whether its branch alone trains, the EMA's decay."""


class Trained(Protocol):
    """What decides whether a model's steps can be captured."""

    options: ModelOptions
    settings: TrainOptions
    device: torch.device
    optimizers: list[Optimizer]

    @property
    def optimizer_names(self) -> list[str]: ...


class Stepping(Trained, Protocol):
    """A model whose step is this package's."""

    critics: list[Critic]
    scaler: torch.amp.GradScaler

    def take_step(
        self, parts: list[Batch], trains_generator: bool, trains_branch: bool, ema_decay: float
    ) -> Result: ...


def find_obstacle(model: Trained) -> str:
    """Why a model's step cannot be captured, by the first option that is a reason; empty if none is known."""
    return next(_list_obstacles(model), "")


def _list_obstacles(model: Trained) -> Iterator[str]:
    settings = model.settings
    if model.device.type != DEVICE:
        yield "graphs need a CUDA device, and this run has none (num_gpu)"
    for name in STEP_METHODS:
        if not is_own(getattr(type(model), name, object)):
            yield f"{type(model).__name__} has a method {name} of its own"
    if model.options.dist:
        yield "several processes train together"
    if settings.on_nonfinite == "skip":
        yield "train.on_nonfinite: skip reads the losses within the step"
    if settings.augmentation:
        yield "train.diffaug draws on the host"
    if settings.activation_checkpointing:
        yield "train.activation_checkpointing reads the state of random draws"
    modules = [part for value in vars(model).values() if isinstance(value, nn.Module) for part in value.modules()]
    for part in (getattr(model, "objective", None), *modules):
        if work := getattr(part, "host_work", ""):
            yield f"{type(part).__name__} {work}"
    for name, optimizer in zip(model.optimizer_names, model.optimizers, strict=True):
        if not all(group.get("fused") for group in optimizer.param_groups):
            yield f"the optimizer of net_{name}, {type(optimizer).__name__}, steps by more than one kernel (fused)"


@contextmanager
def rates_on_device(optimizers: Sequence[Optimizer], rates: Sequence[Tensor]) -> Iterator[None]:
    """Within the block optimizers read their learning rates from tensors, as a graph does when it is replayed.

    The tensors take what the schedules have set. Outside the groups hold plain numbers, which schedules, logs and
    checkpoints know.

    Args:
        optimizers: Fused ones.
        rates: A float32 scalar on the device for each of their parameter groups.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    keys = "lr", "capturable"
    former: list[dict[str, Any]] = [{key: group[key] for key in keys if key in group} for group in groups]
    for group, rate, plain in zip(groups, rates, former, strict=True):
        rate.fill_(group["lr"])
        group.update({**dict.fromkeys(plain, True), "lr": rate})
    try:
        yield
    finally:
        for group, plain in zip(groups, former, strict=True):
            group.update(plain)


@dataclass
class Kind:
    """Iterations that do the same work: the images that they begin from, and the graph once it is there."""

    images: list[Tensor]
    warmed: int = 0
    replay: Callable[[], Result] | None = None


class StepGraphs:
    """Runs a model's steps, by graphs where ``train.cuda_graph`` asks for them and nothing speaks against it.

    The first :data:`WARM_UP` iterations of each kind run as they are; then one is captured, and replayed from there.
    Each of them trains, whichever way it runs, with the same result.

    Args:
        asked: Whether graphs are asked for.
    """

    def __init__(self, asked: bool) -> None:
        self.asked = asked
        self._has_begun = self._is_on = self._has_failed = False
        self.forget()

    def forget(self) -> None:
        """Drops all graphs, as what they read has been replaced."""
        self._kinds: dict[Hashable, Kind] = {}
        self._rates: list[Tensor] = []
        self._capture: DeviceCapture | None = None

    def count(self) -> int:
        """How many graphs there are."""
        return sum(kind.replay is not None for kind in self._kinds.values())

    def begin(self, model: Trained) -> None:
        """Decides, once, whether a model's steps are captured, and logs it."""
        if self._has_begun or not self.asked:
            return
        self._has_begun = True
        if obstacle := find_obstacle(model):
            logger.warning("train.cuda_graph: the step runs without a graph: %s.", obstacle)
            return
        self._is_on = True
        # Rates and flags are put in place whether or not an iteration is captured.
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
        logger.info("Steps run as CUDA graphs, each kind of iteration after %d without.", WARM_UP)

    def run(self, model: Stepping, parts: list[Batch], way: Way) -> Result:
        """Takes a model's step on the parts of a batch; the next iteration may overwrite what is returned."""
        if not self._is_on:
            return model.take_step(parts, *way)
        if not self._rates:
            count = sum(len(optimizer.param_groups) for optimizer in model.optimizers)
            self._rates = [torch.zeros((), device=model.device) for _ in range(count)]
        with rates_on_device(model.optimizers, self._rates):
            return model.take_step(parts, *way) if self._has_failed else self._run_kind(model, parts, way)

    def _run_kind(self, model: Stepping, parts: list[Batch], way: Way) -> Result:
        """Takes the step by the graph of its kind, or on the way to one."""
        key, places, images = _describe(model.optimizers, parts, way)
        if key not in self._kinds:
            if len(self._kinds) == MAX_KINDS:
                return model.take_step(parts, *way)
            self._kinds[key] = Kind([torch.empty_like(image) for image in images])
            if len(self._kinds) == MAX_KINDS:
                text = "train.cuda_graph: from here on further kinds of iteration (sizes, turns) run without a graph."
                logger.info(text)
        kind = self._kinds[key]
        torch._foreach_copy_(kind.images, images, non_blocking=True)

        def work() -> Result:
            known = ({name: kind.images[index] for name, index in place.items()} for place in places)
            return model.take_step([part.with_images(one, None) for part, one in zip(parts, known, strict=True)], *way)

        self._capture = self._capture or DeviceCapture(model.device)
        if kind.warmed < WARM_UP:
            kind.warmed += 1
            return self._capture.warm_up(work)
        try:
            kind.replay = kind.replay or self._capture.record(work)
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            logger.warning("train.cuda_graph: steps run without graphs from here: %s", reason)
            self._has_failed = True
            self._kinds.clear()
            _forget_attempt(model)
        if kind.replay is None:  # the error, and with it the memory of the attempt, has gone
            return model.take_step(parts, *way)
        output, logs = kind.replay()
        return output, dict(logs)


def _describe(
    optimizers: Sequence[Optimizer], parts: Sequence[Batch], way: Way
) -> tuple[Hashable, list[dict[str, int]], list[Tensor]]:
    """What makes a kind of iteration, where each part's images are among all, and these, each once."""
    numbers: dict[Hashable, int] = {}
    images: list[Tensor] = []
    places: list[dict[str, int]] = []
    for part in parts:
        places.append({})
        for name, image in part.images().items():
            mark = image.data_ptr(), image.shape, image.stride(), image.dtype
            if mark not in numbers:
                numbers[mark] = len(images)
                images.append(image)
            places[-1][name] = numbers[mark]
    # A graph knows what it was captured with; schedules may change more than rates.
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    options = [{key: value for key, value in group.items() if key not in ("params", "lr")} for group in groups]
    sizes = tuple((image.shape, image.stride(), image.dtype) for image in images)
    return (way, repr((places, options)), sizes), places, images


def _forget_attempt(model: Stepping) -> None:
    """Drops what a step that was given up half-way has left on the host."""
    state, is_enabled = model.scaler.state_dict(), model.scaler.is_enabled()
    model.scaler = torch.amp.GradScaler(model.device.type, enabled=is_enabled)
    model.scaler.load_state_dict(state)
    for optimizer in model.optimizers:
        vars(optimizer).pop("grad_scale", None)
    for critic in model.critics:
        critic.forget()
