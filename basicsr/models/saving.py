"""Saves that are written beside the training: a snapshot of its state, and the thread that writes one at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

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


class Buffers:
    """Memory of the host for one snapshot after another: pages that are there are filled in a fraction of the time."""

    def __init__(self) -> None:
        self._free: dict[object, list[Tensor]] = {}

    def take(self, like: Tensor) -> Tensor:
        """A tensor in the form of another one, of any content."""
        free = self._free.get(_form_of(like))
        return free.pop() if free else new_like(like)

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Keeps these for the next snapshot, and nothing else."""
        self._free = {}
        for tensor in tensors:
            self._free.setdefault(_form_of(tensor), []).append(tensor)


def new_like(tensor: Tensor) -> Tensor:
    """Memory of the host in the form of a tensor; its pages are made when something is written there."""
    return torch.empty_like(tensor, device="cpu", requires_grad=False)


def _form_of(tensor: Tensor) -> object:
    return tensor.dtype, tensor.shape, tensor.stride()


class Snapshot:
    """A state as it was, whatever the training does with it later.

    Tensors are copied on their device, so that the host waits for no GPU, and one that has several names once. A GPU
    without room for that beside what the training needs has them copied to the host, which then waits.

    Args:
        state: Dicts, lists and tuples of tensors and plain values.
        buffers: Memory for copies on the host; absent: new memory.
        later: Dicts within it, with tensors on the host, that :meth:`copy_rest` copies; until then nothing may change
            them.
    """

    def __init__(self, state: Any, buffers: Buffers | None = None, later: Iterable[dict[str, Any]] = ()) -> None:
        sizes: dict[torch.device, int] = {}
        for tensor in list_tensors(state) if torch.cuda.is_initialized() else ():
            if tensor.is_cuda:
                sizes[tensor.device] = sizes.get(tensor.device, 0) + tensor.nbytes
        # The allocator may give what the next step needs, which then takes as much of what is free.
        crowded = {device for device, size in sizes.items() if torch.cuda.mem_get_info(device)[0] < 2 * size}
        self._buffers = buffers or Buffers()
        self._lent: list[Tensor] = []
        self._rest: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, entries) for entries in later]
        copied: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.layout != torch.strided:
                return tensor.clone()
            former = copied.get(tensor.data_ptr())
            if former is None or not _is_same(tensor, former[0]):
                former = copied[tensor.data_ptr()] = tensor, duplicate(tensor)
            return former[1]

        def duplicate(tensor: Tensor) -> Tensor:
            if tensor.device.type != "cpu" and tensor.device not in crowded:
                return tensor.clone()
            self._lent.append(self._buffers.take(tensor))
            return self._lent[-1].copy_(tensor)

        with torch.no_grad():
            self._state = map_tensors(state, keep, {id(entries): empty for empty, entries in self._rest})
        self._made = [torch.cuda.current_stream(device).record_event() for device in sizes.keys() - crowded]

    def copy_rest(self) -> None:
        """Copies what was left for later."""
        with torch.no_grad():
            for copied, entries in self._rest:
                copied.update(map_tensors(entries, torch.clone))
        self._rest = []

    def take(self) -> Any:
        """The state on the CPU, once; called in another thread, it holds up no work of the training's on a GPU."""
        self.copy_rest()
        state, self._state = self._state, None
        if not self._made:
            return state
        stream = torch.cuda.Stream(self._made[0].device)
        for event in self._made:
            stream.wait_event(event)
        with torch.cuda.stream(stream):
            return on_host(state)

    def give_back(self) -> None:
        """Leaves its memory to the next snapshot; nothing may read the state any more."""
        self._buffers.keep(self._lent)


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are names of one."""
    return one.device == other.device and one.dtype == other.dtype and one.is_set_to(other)


class BackgroundWriter:
    """A thread that writes one save at a time; what goes wrong in it is raised where the save is asked after.

    Python ends no process before the thread has ended.

    Args:
        optimizers: Those whose state nothing changes but their steps: the thread copies it, and the next step waits for
            that.
    """

    def __init__(self, optimizers: Iterable[Optimizer] = ()) -> None:
        self._thread: threading.Thread | None = None
        self._written: Path | None = None
        self._error: BaseException | None = None
        self._buffers = Buffers()
        self._is_copied = threading.Event()
        self._is_copied.set()
        self._optimizers = list(optimizers)
        for optimizer in self._optimizers:
            optimizer.register_step_pre_hook(self.hold_step)

    @property
    def is_busy(self) -> bool:
        """Whether a save has been begun that nobody has collected."""
        return self._thread is not None

    def hold_step(self, *_: object) -> None:
        """Waits until the state of the optimizers is copied."""
        self._is_copied.wait()

    def prepare(self, state: Any) -> None:
        """Makes memory for copies of a state, in the thread, so that the first save takes no longer than others."""
        found = list_tensors(
            map_tensors(state, lambda tensor: tensor, {id(entries): {} for entries in self._list_later()})
        )

        def make() -> None:
            self._buffers.keep([new_like(tensor).zero_() for tensor in found if tensor.layout == torch.strided])

        self._start(make)

    def begin(self, state: Any, write: Callable[[Any], Path]) -> None:
        """Begins a save, which must be the only one.

        Args:
            state: What may change as soon as this returns, or an optimizer has waited to step.
            write: Writes what it is given, the state on the CPU, and returns the file; it may keep none of it.
        """
        if self.is_busy:
            raise RuntimeError("the save before has not been collected")
        snapshot = Snapshot(state, self._buffers, self._list_later())

        def run() -> Path:
            try:
                snapshot.copy_rest()
            finally:
                self._is_copied.set()
            try:
                return write(snapshot.take())
            finally:
                snapshot.give_back()

        self._is_copied.clear()
        try:
            self._start(run)
        except BaseException:
            self._is_copied.set()
            raise

    def _list_later(self) -> list[dict[str, Any]]:
        """What the optimizers keep for each parameter."""
        return [entries for optimizer in self._optimizers for entries in optimizer.state.values()]

    def _start(self, work: Callable[[], Path | None]) -> None:
        def run() -> None:
            try:
                self._written = work()
            except BaseException as error:
                self._error = error

        thread = threading.Thread(target=run, name="checkpoint")
        thread.start()
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


def make_writer(model: Any) -> BackgroundWriter:
    """A writer for the checkpoints of a model.

    What an optimizer of PyTorch keeps changes in its steps alone, where no code of other people takes part in the
    training. On a GPU a copy takes no time of the host's.
    """
    is_known = is_own(type(model)) and model.device.type == "cpu"
    optimizers: Iterable[Optimizer] = model.optimizers if is_known else ()
    return BackgroundWriter(each for each in optimizers if type(each).__module__.startswith("torch.optim."))
