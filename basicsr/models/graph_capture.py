"""Work of a CUDA device as a graph: how it is captured, what it reads, and its replay."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Result = tuple[Tensor, dict[str, Tensor]]
"""The generated images and the losses of a step."""

_aten = torch.ops.aten
_READS = {_aten._local_scalar_dense, _aten.nonzero, _aten.equal, _aten.is_nonzero, _aten.masked_select}
"""Operators that wait for what the device has computed."""
_INDEXED = {_aten.index, _aten.index_put, _aten.index_put_}
"""Those that do so for a mask."""


class InputTracker(TorchDispatchMode):
    """Finds the tensors that operators take and have not made, without holding any: parameters, state, tables.

    An operator that takes or gives a tensor of the host, or has the host wait for a value, raises before it runs: a
    graph would do without what the host does, and a capture that CUDA itself gives up leaves its memory behind.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self._made: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note(func, (args, kwargs), self._taken, self._made)
        if _is_for_the_host(func, args, kwargs or {}):
            raise RuntimeError(f"{func} is for the host: it waits for the device or leaves it")
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


def _is_for_the_host(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operator waits for what a device has computed, or makes something elsewhere."""
    kind = getattr(func, "overloadpacket", None)
    # A mask is turned into positions, whose number is read.
    by_mask = kind in _INDEXED and any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    return kind in _READS or by_mask or torch.device(kwargs.get("device") or "meta").type == "cpu"


@dataclass
class Replay:
    """A captured step: what it computes into, and what it reads, which must stay although a cache may drop it."""

    graph: torch.cuda.CUDAGraph
    result: Result
    inputs: list[Tensor]

    def __call__(self) -> Result:
        self.graph.replay()
        return self.result
