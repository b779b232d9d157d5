"""The order in which a training run visits its images, as published or for any number of ranks, exactly resumable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler


class SampleIndex(int):
    """An index into a data set that also says which visit it is.

    Attributes:
        epoch: The epoch.
        draw: Position in the enlarged data set, before it was reduced to an index: two visits to one image within an
            epoch have different draws, and so different crops.
    """

    epoch: int
    draw: int

    def __new__(cls, value: int, epoch: int = 0, draw: int | None = None) -> SampleIndex:
        index = super().__new__(cls, value)
        index.epoch = epoch
        index.draw = int(value) if draw is None else draw
        return index

    def __reduce__(self) -> tuple[type[SampleIndex], tuple[int, int, int]]:
        # Without the attributes once more, as for other objects: the main process packs one for every sample.
        return SampleIndex, (int(self), self.epoch, self.draw)


class EnlargedSampler(Sampler[int]):
    """Shards a shuffled data set over ranks and repeats it ``ratio`` times an epoch, so that epochs are long.

    The order is a permutation by a generator seeded with the epoch, taken modulo the length; rank r visits positions
    r, r + num_replicas, … It is published of ``ceil(len * ratio / num_replicas) * num_replicas`` positions, and so
    another for every number of ranks. With ``pads_order=False`` it is of ``ceil(len * ratio)`` positions, and begins
    anew where the ranks need up to ``num_replicas - 1`` more: whatever numbers of ranks share an epoch, they visit
    every position, and none twice before that. Where the ranks divide ``ceil(len * ratio)``, both are the same.

    Args:
        dataset: What is sampled; only its length is used.
        num_replicas: Number of ranks; None: 1.
        rank: This rank; None: 0.
        ratio: How often the data set is repeated in an epoch, not necessarily an integer.
        pads_order: Whether the order is the published one.

    Raises:
        ValueError: If a number is out of range or the data set is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = 1,
        rank: int | None = 0,
        ratio: float = 1,
        pads_order: bool = True,
    ) -> None:
        self.dataset = dataset
        self.pads_order = pads_order
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = rank or 0
        self.ratio = ratio
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank {rank} is not among {num_replicas} replicas")
        if ratio <= 0:
            raise ValueError(f"dataset_enlarge_ratio must be positive, got {ratio}")
        if len(dataset) == 0:
            raise ValueError("the data set is empty")
        self.total_size = self.size_of_epoch(self.num_replicas)
        self.num_samples = self.total_size // self.num_replicas
        self.set_epoch(0)

    def size_of_epoch(self, num_replicas: int) -> int:
        """Samples of a whole epoch of that many ranks, all ranks together."""
        return math.ceil(len(self.dataset) * self.ratio / num_replicas) * num_replicas

    def set_epoch(self, epoch: int, start: int = 0, num_replicas: int | None = None) -> None:
        """Chooses the next epoch.

        Args:
            epoch: Its number, which seeds the order.
            start: How many samples of it all ranks together have consumed; they are skipped.
            num_replicas: The number of ranks that it began with, where that is another: its order stays, and what is
                left of it is dealt to the present ranks.
        """
        size = self.size_of_epoch(num_replicas or self.num_replicas)
        if not 0 <= start <= size:
            raise ValueError(f"start {start} is not within the epoch's {size} samples")
        self._num_positions = size
        if not self.pads_order:
            self._num_positions = self.size_of_epoch(1)
            left = max(0, self._num_positions - start)
            size = start + math.ceil(left / self.num_replicas) * self.num_replicas
        self.epoch, self.start, self._size = epoch, start, size

    def __iter__(self) -> Iterator[SampleIndex]:
        generator = torch.Generator().manual_seed(self.epoch)
        order = torch.randperm(self._num_positions, generator=generator)
        steps = torch.arange(self.start, self._size)
        # Another visit to a position is another draw.
        draws = order[steps % self._num_positions] + steps // self._num_positions * self._num_positions
        epoch, length = self.epoch, len(self.dataset)
        for draw in draws[self.rank :: self.num_replicas][: len(self)].tolist():
            yield SampleIndex(draw % self._num_positions % length, epoch, draw)

    def __len__(self) -> int:
        """Samples of this rank that are left in the epoch."""
        return (self._size - self.start) // self.num_replicas
