"""Batches whose tensors lie in one piece of memory that a loading process shares with the main one.

PyTorch makes a piece for each tensor, and the main process asks for every piece over a connection of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate, get_worker_info

_ALIGNMENT = 64
"""Bytes: a cache line."""


def collate_shared(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``default_collate`` makes of samples with the same keys, in a loading process in one piece of memory."""
    first = samples[0]
    stacked = [key for key in first if all(_is_plain(sample[key], first[key]) for sample in samples)]
    if get_worker_info() is None or len(stacked) < 2:
        return default_collate(list(samples))
    places, end = {}, 0
    for key in stacked:
        places[key] = end
        size = len(samples) * first[key].numel() * first[key].element_size()
        end += math.ceil(size / _ALIGNMENT) * _ALIGNMENT
    memory = torch.UntypedStorage._new_shared(end, device="cpu")
    batch = {}
    for key in first:
        values = [sample[key] for sample in samples]
        if key not in places:
            batch[key] = default_collate(values)
            continue
        like, shape = first[key], (len(samples), *first[key].shape)
        batch[key] = like.new_empty(0).set_(memory, places[key] // like.element_size(), shape)
        torch.stack(values, out=batch[key])
    return batch


def _is_plain(value: object, first: object) -> bool:
    return (
        type(value) is torch.Tensor
        and type(first) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.requires_grad
        and (value.dtype, value.shape) == (first.dtype, first.shape)
    )
