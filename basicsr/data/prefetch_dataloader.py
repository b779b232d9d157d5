"""Loading ahead of the training step: on a thread, or on a CUDA stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from basicsr.utils.errors import UserError

_Outcome = tuple[Any, BaseException | None]
"""An item, or the error in its place; ``StopIteration`` at the end."""


class PrefetchGenerator(Iterator[Any]):
    """Runs another iterator on a thread, up to ``num_prefetch_queue`` items ahead.

    An error in the iterator is raised where its item would have come. Dropping the generator, or :meth:`close`, ends
    the thread.

    Args:
        generator: What to run.
        num_prefetch_queue: How many items may wait, at least 1.
    """

    def __init__(self, generator: Iterable[Any], num_prefetch_queue: int) -> None:
        if num_prefetch_queue < 1:
            raise ValueError(f"num_prefetch_queue must be at least 1, got {num_prefetch_queue}")
        self._queue: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._free = threading.Semaphore(num_prefetch_queue)
        self._stop = threading.Event()
        self._done = False
        arguments = (generator, self._queue, self._free, self._stop)
        self._thread = threading.Thread(target=_pump, args=arguments, daemon=True, name="prefetch")
        self._thread.start()

    def __next__(self) -> Any:
        if self._done:
            raise StopIteration
        item, error = self._queue.get()
        self._free.release()
        if error is not None:
            self._done = True
            raise error
        return item

    def close(self, timeout: float | None = None) -> None:
        """Ends the thread, after the item that it is waiting for; nothing comes after that.

        Args:
            timeout: Seconds to wait for that item; ``None``: as long as it takes.
        """
        self._done = True
        self._stop.set()
        self._free.release()
        self._thread.join(timeout)

    def __del__(self) -> None:
        self._stop.set()
        # The thread may be waiting for a place.
        self._free.release()


def _pump(
    items: Iterable[Any], target: queue.SimpleQueue[_Outcome], free: threading.Semaphore, stop: threading.Event
) -> None:
    # A function, not a method: the thread must not keep the generator alive, or it would never be collected.
    try:
        for item in items:
            free.acquire()
            if stop.is_set():
                return
            target.put((item, None))
        target.put((None, StopIteration()))
    except BaseException as error:
        target.put((None, error))


class PrefetchDataLoader(DataLoader):
    """A loader whose batches are collected on a thread while the caller works.

    Args:
        num_prefetch_queue: How many batches may wait.
        **kwargs: As for :class:`torch.utils.data.DataLoader`.
    """

    def __init__(self, num_prefetch_queue: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_prefetch_queue = num_prefetch_queue

    def __iter__(self) -> Any:
        return PrefetchGenerator(super().__iter__(), self.num_prefetch_queue)


class CPUPrefetcher:
    """Walks through a loader with ``next()``, which gives None at the end, and ``reset()``."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.ori_loader = loader
        self.loader = iter(loader)

    def next(self) -> Any:
        """The next batch, or None at the end."""
        return next(self.loader, None)

    def reset(self) -> None:
        """Starts over."""
        self.loader = iter(self.ori_loader)


class CUDAPrefetcher:
    """Copies the next batch to the GPU on a stream of its own while the step runs on the current one.

    Args:
        loader: Gives mappings whose tensors lie in pinned memory (``pin_memory: true``), or the copy is synchronous.
        opt: The run's options; ``num_gpu`` 0 is refused.
        device: Where to; None: the current CUDA device.

    Raises:
        UserError: If there is no CUDA device.
    """

    def __init__(self, loader: Iterable[Any], opt: Mapping[str, Any], device: torch.device | str | None = None) -> None:
        if opt.get("num_gpu", 1) == 0 or not torch.cuda.is_available():
            raise UserError("prefetch_mode: cuda needs a CUDA device; use prefetch_mode: cpu, or null for none")
        self.ori_loader = loader
        self.opt = opt
        self.device = torch.device(device) if device is not None else torch.device("cuda", torch.cuda.current_device())
        self.stream = torch.cuda.Stream(self.device)
        self.reset()

    def reset(self) -> None:
        """Starts over and begins to copy the first batch."""
        self.loader = iter(self.ori_loader)
        self.preload()

    def preload(self) -> None:
        """Begins to copy the next batch."""
        self.batch = next(self.loader, None)
        if self.batch is not None:
            with torch.cuda.stream(self.stream):
                self.batch = {
                    key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                    for key, value in self.batch.items()
                }

    def next(self) -> Any:
        """The next batch on the device, or None at the end."""
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        batch = self.batch
        if batch is not None:
            for value in batch.values():
                if isinstance(value, torch.Tensor):
                    # Otherwise the allocator may hand the memory to the next copy while the step still reads it.
                    value.record_stream(current)
            self.preload()
        return batch
