"""The training step as CUDA graphs (``train.cuda_graph``): one for each kind of iteration, and why there is none."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from basicsr.utils.batch import Batch
from basicsr.utils.errors import first_line
from basicsr.utils.registry import is_own

if TYPE_CHECKING:
    from basicsr.models.base_model import BaseModel
    from basicsr.models.sr_model import SRModel

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
Result = tuple[Tensor, dict[str, Tensor]]
"""The generated images and the losses of a step."""


def find_obstacle(model: BaseModel) -> str:
    """Why a model's step cannot be captured, by the first option that is a reason; empty if none is known."""
    return next(_list_obstacles(model), "")


def _list_obstacles(model: BaseModel) -> Iterator[str]:
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


class InputTracker(TorchDispatchMode):
    """Finds the tensors that operators take and have not made, without holding any: parameters, state, tables.

    An operator that takes or gives a tensor of the host raises: a graph would do without what the host does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self._made: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note(func, (args, kwargs), self._taken, self._made)
        found = func(*args, **(kwargs or {}))
        self._note(func, found, self._made, self._taken)
        return found

    def _note(self, func: Any, values: Any, seen: Any, others: Any) -> None:
        for value in tree_leaves(values):
            if isinstance(value, Tensor):
                if value.device.type == "cpu":
                    raise RuntimeError(f"{func} is for the host: its tensor is not on the device")
                if id(value) not in others:
                    seen[id(value)] = value

    def inputs(self) -> list[Tensor]:
        """Those that are still there."""
        return list(self._taken.values())


class DeviceCapture:
    """Captures work of a CUDA device. Each graph has memory of its own: what it makes stays, even in caches."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], Result]) -> Result:
        """Does the work, on the stream on which it will be captured."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = work()
        current.wait_stream(self.stream)
        return result

    def record(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Captures the work without doing it; what is returned does it, and gives the same tensors each time."""
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        state = generator.get_state()
        now = torch.cuda.current_stream(self.device)  # also after a capture that fails
        # Threads that load or save may go on meanwhile: only calls of this one are held against the capture.
        capture = torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local")
        try:
            with torch.cuda.stream(now), capture, InputTracker() as tracker:
                result = work()
        except Exception:
            # The default generator may take it that the capture still goes on.
            fresh = torch.Generator(self.device)
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
            raise
        return Replay(graph, result, tracker.inputs())


@dataclass
class Replay:
    """A captured step: what it computes into, and what it reads, which must stay although a cache may drop it."""

    graph: torch.cuda.CUDAGraph
    result: Result
    inputs: list[Tensor]

    def __call__(self) -> Result:
        self.graph.replay()
        return self.result


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

    def begin(self, model: BaseModel) -> None:
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

    def run(self, model: SRModel, parts: list[Batch], way: Way) -> Result:
        """Takes a model's step on the parts of a batch; the next iteration may overwrite what is returned."""
        if not self._is_on:
            return model.take_step(parts, *way)
        if not self._rates:
            count = sum(len(optimizer.param_groups) for optimizer in model.optimizers)
            self._rates = [torch.zeros((), device=model.device) for _ in range(count)]
        with rates_on_device(model.optimizers, self._rates):
            return model.take_step(parts, *way) if self._has_failed else self._run_kind(model, parts, way)

    def _run_kind(self, model: SRModel, parts: list[Batch], way: Way) -> Result:
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


def _forget_attempt(model: SRModel) -> None:
    """Drops what a step that was given up half-way has left on the host."""
    state, is_enabled = model.scaler.state_dict(), model.scaler.is_enabled()
    model.scaler = torch.amp.GradScaler(model.device.type, enabled=is_enabled)
    model.scaler.load_state_dict(state)
    for optimizer in model.optimizers:
        vars(optimizer).pop("grad_scale", None)
    for critic in model.critics:
        critic.forget()
