"""Samples of other packages' data sets, whose draws from process-wide streams become functions of the sample's key.

Published data sets draw from Python's, NumPy's and PyTorch's own streams. Seeded anew for each sample, they give the
same sample for any number of workers and in a run that goes on where another one was killed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from basicsr.data.data_sampler import SampleIndex
from basicsr.utils.registry import is_own
from basicsr.utils.seeding import derive_seed, random_state_kept


def draw_by_key(dataset: Dataset[Any], seed: int, is_training: bool) -> bool:
    """Makes what a loader gets from a data set a function of (seed, epoch, index), unless the class is of this package.

    Ours draw by key themselves. In training, an order of other people's that does not say which visit to an image it is
    leaves the streams running, or the image would look the same in every epoch.

    Returns:
        Whether the data set draws from process-wide streams.
    """
    if is_own(type(dataset)):
        return False
    # Loaders ask for whole batches by this method, whether the object or its class has it.
    dataset.__getitems__ = _KeyedFetch(dataset, seed, is_training)  # type: ignore[attr-defined]
    return True


class _KeyedFetch:
    """Loads the samples of a batch; an object, so that it can be sent to another process with its data set."""

    def __init__(self, dataset: Dataset[Any], seed: int, is_training: bool) -> None:
        self.dataset, self.seed, self.is_training = dataset, seed, is_training

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        fetch = getattr(type(self.dataset), "__getitems__", None)
        if fetch is not None:
            with self._seeded(indices[0]):
                return list(fetch(self.dataset, indices))
        samples = []
        for index in indices:
            with self._seeded(index):
                samples.append(self.dataset[index])
        return samples

    @contextmanager
    def _seeded(self, index: int) -> Iterator[None]:
        """Seeds the streams, and puts them back afterwards: in the main process the training step draws from them."""
        if self.is_training and not isinstance(index, SampleIndex):
            yield
            return
        epoch, draw = getattr(index, "epoch", 0), getattr(index, "draw", int(index))
        seed = derive_seed("sample", self.seed, epoch, draw)
        with random_state_kept(on_devices=False):
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)
            yield
