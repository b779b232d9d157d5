"""Saves that are written beside the training: a snapshot of its state, and the thread that writes one at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.utils.placement import is_familiar
from basicsr.utils.registry import is_own

_PLAIN = (int, float, bool, str, bytes, type(None))
_NOTHING: Mapping[int, Any] = {}


def map_tensors(value: Any, change: Callable[[Tensor], Tensor], instead: Mapping[int, Any] = _NOTHING) -> Any:
    """The same nest of dicts, lists and tuples with every tensor changed and everything else copied.

    Args:
        value: The nest.
        change: Gives the tensor to take in place of one.
        instead: What to take in place of dicts, by their ``id``.
    """
    if isinstance(value, Tensor):
        return change(value)
    kind = type(value)
    if kind is dict:
        if id(value) in instead:
            return instead[id(value)]
        return {key: map_tensors(entry, change, instead) for key, entry in value.items()}
    if kind in (list, tuple):
        return kind(map_tensors(entry, change, instead) for entry in value)
    return value if kind in _PLAIN else copy.deepcopy(value)


def list_tensors(state: Any) -> list[Tensor]:
    """The tensors of a nest of dicts, lists and tuples, one after the other."""
    if isinstance(state, Tensor):
        return [state]
    entries = state.values() if type(state) is dict else state if type(state) in (list, tuple) else ()
    return [tensor for entry in entries for tensor in list_tensors(entry)]


def on_host(state: Any) -> Any:
    """A state with its tensors on the CPU; those that are there already are not copied."""
    return map_tensors(state, lambda tensor: tensor.detach().cpu())


class Snapshot:
    """A state as it was, whatever the training does with it later.

    Tensors are copied on their device, so that the host waits for no GPU, and one that has several names once. A GPU
    without room for that beside what the training needs has them copied to the host, which then waits.

    Args:
        state: Dicts, lists and tuples of tensors and plain values.
        later: Tensors and dicts within it, on the host, that :meth:`copy_rest` copies; until then nothing may change
            them.
    """

    def __init__(self, state: Any, later: Iterable[Tensor | dict[str, Any]] = ()) -> None:
        sizes: dict[torch.device, int] = {}
        for tensor in list_tensors(state) if torch.cuda.is_initialized() else ():
            if tensor.is_cuda:
                sizes[tensor.device] = sizes.get(tensor.device, 0) + tensor.nbytes
        # The allocator may give what the next step needs, which then takes as much of what is free.
        self._crowded = {device for device, size in sizes.items() if torch.cuda.mem_get_info(device)[0] < 2 * size}
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._ours: set[int] = set()
        waiting = list(later)
        addresses = {value.data_ptr() for value in waiting if isinstance(value, Tensor) and _has_address(value)}

        def keep(tensor: Tensor) -> Tensor:
            return tensor if _has_address(tensor) and tensor.data_ptr() in addresses else self._copy(tensor)

        with torch.no_grad():
            self._state = map_tensors(state, keep, {id(value): value for value in waiting if isinstance(value, dict)})
        self._is_whole = not waiting
        self._made = [torch.cuda.current_stream(device).record_event() for device in sizes.keys() - self._crowded]

    def _copy(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self._ours:
            return tensor
        former = self._copies.get(tensor.data_ptr()) if _has_address(tensor) else None
        if former is not None and _is_same(tensor, former[0]):
            return former[1]
        # A file has elements in the order of dimensions, whatever the training's is.
        copied = tensor.cpu() if tensor.device in self._crowded else _clone_in_order(tensor)
        self._ours.add(id(copied))
        if _has_address(tensor):
            self._copies[tensor.data_ptr()] = tensor, copied
        return copied

    def copy_some(self, tensors: Iterable[Tensor]) -> None:
        """Copies these before the rest, of those that were left for later."""
        addresses = {tensor.data_ptr() for tensor in tensors}

        def copy_one(tensor: Tensor) -> Tensor:
            return self._copy(tensor) if _has_address(tensor) and tensor.data_ptr() in addresses else tensor

        if addresses:
            with torch.no_grad():
                self._state = map_tensors(self._state, copy_one)

    def copy_rest(self) -> None:
        """Copies what was left for later."""
        if not self._is_whole:
            with torch.no_grad():
                self._state = map_tensors(self._state, self._copy)
            self._is_whole = True

    def take(self) -> Any:
        """The state on the CPU, once; called in another thread, it holds up no work of the training's on a GPU."""
        self.copy_rest()
        state, self._state = self._state, None
        self._copies = {}
        if not self._made:
            return state
        stream = _copying_stream(self._made[0].device)
        for event in self._made:
            stream.wait_event(event)
        with torch.cuda.stream(stream):
            return on_host(state)


@cache
def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream that stays: PyTorch has few, and hands them out again in turn."""
    return torch.cuda.Stream(device)


def _clone_in_order(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format) if tensor.layout == torch.strided else tensor.clone()


def _has_address(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are names of one."""
    return one.device == other.device and one.dtype == other.dtype and one.is_set_to(other)


class StepGate:
    """Where a step waits, before it changes the pool of pairs or the first weight, until a checkpoint has its copy."""

    def __init__(self) -> None:
        self._is_pool_open, self._is_open = threading.Event(), threading.Event()
        self.open()

    def __deepcopy__(self, memo: dict[int, Any]) -> StepGate:
        return StepGate()  # no checkpoint is made of a copy of a model

    def open_pool(self) -> None:
        self._is_pool_open.set()

    def open(self) -> None:
        self._is_pool_open.set()
        self._is_open.set()

    def close(self) -> None:
        self._is_pool_open.clear()
        self._is_open.clear()

    def wait_for_pool(self) -> None:
        self._is_pool_open.wait()

    def wait(self) -> None:
        self._is_open.wait()


class BackgroundWriter:
    """A thread that writes one save at a time; what goes wrong in it is raised where the save is asked after.

    Python ends no process before the thread has ended.

    Args:
        model: Whose checkpoints are written; the thread copies :func:`list_steady` of it while the gate of its steps is
            closed. Absent: everything is copied before a save has begun.
    """

    def __init__(self, model: Any = None) -> None:
        self._thread: threading.Thread | None = None
        self._written: Path | None = None
        self._error: BaseException | None = None
        self._model = model

    @property
    def is_busy(self) -> bool:
        """Whether a save has been begun that nobody has collected."""
        return self._thread is not None

    def begin(self, state: Any, write: Callable[[Any], Path]) -> None:
        """Begins a save, which must be the only one.

        Args:
            state: What may change as soon as this returns, but for what steps alone change.
            write: Writes what it is given, the state on the CPU, and returns the file.
        """
        if self.is_busy:
            raise RuntimeError("the save before has not been collected")
        later, pooled = ([], []) if self._model is None else list_steady(self._model)
        snapshot = Snapshot(state, [*later, *pooled])
        gate = self._model.step_gate if later else StepGate()

        def run() -> None:
            try:
                try:
                    # The next step changes the pool first.
                    snapshot.copy_some(pooled)
                    gate.open_pool()
                    snapshot.copy_rest()
                finally:
                    gate.open()
                self._written = write(snapshot.take())
            except BaseException as error:
                self._error = error

        gate.close()
        try:
            thread = threading.Thread(target=run, name="checkpoint")
            thread.start()
        except BaseException:
            gate.open()
            raise
        self._thread = thread

    def collect(self, wait: bool) -> Path | None:
        """What a save has written, once; ``None`` if none was begun or, without ``wait``, it is not done.

        Raises:
            Exception: What went wrong, once.
        """
        if self._thread is None or (not wait and self._thread.is_alive()):
            return None
        self._thread.join()
        self._thread = None
        written, error, self._written, self._error = self._written, self._error, None, None
        if error is not None:
            raise error
        return written


def list_steady(model: Any) -> tuple[list[Tensor | dict[str, Any]], list[Tensor]]:
    """What nothing changes but behind the gate of steps, of a model on the CPU: parameters and what optimizers keep;
    and the pool of pairs.

    Buffers are not among it: a forward pass may change them. Code of other people may change everything at any moment,
    so there is nothing where it takes part: a model or an objective; or a network, for this network's parameters.
    """
    if not (is_own(type(model)) and is_own(type(getattr(model, "objective", model))) and model.device.type == "cpu"):
        return [], []
    nets = [*model.nets.values(), *([] if model.average is None else [model.average])]
    known = [net for net in nets if is_familiar(net)]
    kept = [entries for optimizer in model.optimizers for entries in optimizer.state.values()]
    pooled = [] if getattr(model, "pool", None) is None else model.pool.slots
    return [parameter for net in known for parameter in net.parameters()] + kept, pooled
