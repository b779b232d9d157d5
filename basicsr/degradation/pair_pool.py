"""The pool of training pairs, which mixes degradations within a batch (X. Wang et al., "Real-ESRGAN", section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from basicsr.utils.batch import Batch
from basicsr.utils.errors import DataError

UNKNOWN_FILE = "unknown"
"""Stands for the file of a pair that came without one, such as one from a checkpoint that holds no names."""


class PairPool:
    """Keeps pairs for a while, so that batches mix what was degraded at different times.

    While the pool fills, batches pass through unchanged. A full pool is shuffled, its first batch is returned, and the
    new batch takes its place. Shuffling moves no pixels: the pool keeps an order of its slots. A sharpened GT stays
    with its pair, so that it remains the one that LQ was made from (sharpened as a whole image, not as a crop), and so
    does the name of its file.

    Args:
        queue_size: Pairs in the pool, a multiple of the batch size.
        batch_size: Pairs in a batch; checked here if given, else at the first batch.

    Raises:
        ValueError: If ``queue_size`` is not a positive multiple of the batch size.
    """

    def __init__(self, queue_size: int, batch_size: int | None = None) -> None:
        if queue_size < 1:
            raise ValueError(f"queue_size: must be positive, got {queue_size}")
        self.queue_size = queue_size
        self._count = 0
        self._order = torch.arange(queue_size)
        self._slots: dict[str, torch.Tensor] = {}
        self._files = np.full(queue_size, UNKNOWN_FILE, dtype=object)
        if batch_size is not None:
            self._check_batch_size(batch_size)

    def __len__(self) -> int:
        return self._count

    @property
    def slots(self) -> list[torch.Tensor]:
        """Its images, a tensor for each kind, which nothing but :meth:`exchange` changes."""
        return list(self._slots.values())

    @property
    def nbytes(self) -> int:
        """Bytes of its images, when it is full; 0 before the first batch."""
        return sum(slots.nbytes for slots in self._slots.values())

    def _check_batch_size(self, batch_size: int) -> None:
        if batch_size < 1 or self.queue_size % batch_size:
            lower = self.queue_size // batch_size * batch_size if batch_size > 0 else 0
            raise ValueError(
                f"queue_size: {self.queue_size} is not divisible by the batch size {batch_size}; "
                f"use {lower or batch_size} or {lower + batch_size}"
            )

    @torch.no_grad()
    def exchange(self, pair: Batch, generator: torch.Generator) -> Batch:
        """Puts a batch in and takes one of the same size out.

        Args:
            pair: A batch; its size and shapes must not change between calls.
            generator: CPU generator that the shuffle is drawn from.

        Returns:
            The batch to train on, on the device of ``pair``.

        Raises:
            ValueError: If the pool size is not a multiple of the batch size.
            DataError: If shapes differ from those in the pool.
        """
        new, size = pair.images(), pair.gt.shape[0]
        self._check_batch_size(size)
        self._prepare(new)
        # Choose the next free slots, or those that a shuffle of the full pool puts first.
        is_full = self._count == self.queue_size
        if is_full:
            self._order = self._order[torch.randperm(self.queue_size, generator=generator)]
        chosen = self._order[:size] if is_full else self._order[self._count : self._count + size]
        index = chosen.to(pair.gt.device, non_blocking=True)
        taken = pair
        if is_full:
            images = {name: self._slots[name][index] for name in new}
            files = None if pair.gt_path is None else self._files[chosen.numpy()].tolist()
            taken = pair.with_images(images, files)
        # Put the batch there.
        for name, value in new.items():
            self._slots[name][index] = value
        self._files[chosen.numpy()] = pair.gt_path or UNKNOWN_FILE
        self._count = min(self._count + size, self.queue_size)
        return taken

    def _prepare(self, new: Mapping[str, torch.Tensor]) -> None:
        if not self._slots:
            self._slots = {name: value.new_empty(self.queue_size, *value.shape[1:]) for name, value in new.items()}
        for name, slots in self._slots.items():
            if name not in new or new[name].shape[1:] != slots.shape[1:]:
                found = tuple(new[name].shape[1:]) if name in new else "nothing"
                raise DataError(
                    f"{name}: the pool holds images of {tuple(slots.shape[1:])}, the batch has {found}; if gt_size or "
                    "the data have changed since the run's checkpoint was written, change them back or start anew"
                )
            self._slots[name] = slots.to(new[name].device)

    def state_dict(self) -> dict[str, Any]:
        """The pairs in the pool and their order: plain tensors, numbers and texts (loads with ``weights_only=True``).

        Images of a full pool are the pool's own tensors, :attr:`slots`, which the next exchange changes.
        """
        is_full = self._count == self.queue_size
        images = {name: slots if is_full else slots[: self._count].clone() for name, slots in self._slots.items()}
        state = {"queue_size": self.queue_size, "count": self._count, "images": images, "order": self._order.clone()}
        return {**state, "gt_path": self._files[: self._count].tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores :meth:`state_dict`; the next exchanges are those the saved pool would have made.

        A state without ``gt_path``, as older checkpoints have it, restores pairs whose files are not known; one without
        ``order`` has its pairs in it.

        Raises:
            ValueError: If the state is of a pool of another size.
        """
        if state["queue_size"] != self.queue_size:
            raise ValueError(f"queue_size: the state is of a pool of {state['queue_size']}, this one {self.queue_size}")
        self._count = int(state["count"])
        self._order = state.get("order", torch.arange(self.queue_size)).clone()
        self._files[: self._count] = state.get("gt_path") or UNKNOWN_FILE
        self._slots = {}
        self._prepare(state["images"])
        for name, images in state["images"].items():
            self._slots[name][: self._count] = images
