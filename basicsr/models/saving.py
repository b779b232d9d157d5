"""Saves that are written beside the training: a snapshot of its state, and the thread that writes one at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of dicts, lists and tuples with every tensor changed and everything else copied."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) is dict:
        return {key: map_tensors(entry, change) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(entry, change) for entry in value)
    return copy.deepcopy(value)


def on_host(state: Any) -> Any:
    """A state with its tensors on the CPU; those that are there already are not copied."""
    return map_tensors(state, lambda tensor: tensor.detach().cpu())


class Snapshot:
    """A state as it was, whatever the training does with it later.

    Tensors are copied on their device, so that the host waits for no GPU, and one that has several names once. A GPU
    without room for that beside what the training needs has them copied to the host, which then waits.

    Args:
        state: Dicts, lists and tuples of tensors and plain values.
    """

    def __init__(self, state: Any) -> None:
        sizes: dict[torch.device, int] = {}

        def weigh(tensor: Tensor) -> Tensor:
            if tensor.is_cuda:
                sizes[tensor.device] = sizes.get(tensor.device, 0) + tensor.nbytes
            return tensor

        map_tensors(state, weigh)
        # The allocator may give what the next step needs, which then takes as much of what is free.
        crowded = {device for device, size in sizes.items() if torch.cuda.mem_get_info(device)[0] < 2 * size}
        copied: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.layout != torch.strided:
                return tensor.clone()
            former = copied.get(tensor.data_ptr())
            if former is None or not _is_same(tensor, former[0]):
                former = tensor, tensor.cpu() if tensor.device in crowded else tensor.clone()
                copied[tensor.data_ptr()] = former
            return former[1]

        with torch.no_grad():
            self._state = map_tensors(state, keep)
        self._made = [torch.cuda.current_stream(device).record_event() for device in sizes.keys() - crowded]

    def take(self) -> Any:
        """The state on the CPU, once; called in another thread, it holds up no work of the training's on a GPU."""
        state, self._state = self._state, None
        if not self._made:
            return state
        stream = torch.cuda.Stream(self._made[0].device)
        for event in self._made:
            stream.wait_event(event)
        with torch.cuda.stream(stream):
            return on_host(state)


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are names of one."""
    return one.device == other.device and one.dtype == other.dtype and one.is_set_to(other)


class BackgroundWriter:
    """A thread that writes one save at a time; what goes wrong in it is raised where the save is asked after.

    Python ends no process before the thread has ended.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._written: Path | None = None
        self._error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a save has been begun that nobody has collected."""
        return self._thread is not None

    def begin(self, write: Callable[[], Path]) -> None:
        """Begins a save, which must be the only one; it returns what it has written."""
        if self.is_busy:
            raise RuntimeError("the save before has not been collected")

        def run() -> None:
            try:
                self._written = write()
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
