"""Tensors between the host and a device, without the host waiting for what the device is doing."""

from __future__ import annotations

import torch


def send_tensor(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A small tensor on ``device``, in ``dtype`` if given.

    A plain copy from pageable memory makes the host wait until a GPU has done all that it was asked for before. From
    page-locked memory, which PyTorch keeps for reuse, the copy takes its turn on the device.
    """
    dtype = dtype or tensor.dtype
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.to(dtype).pin_memory().to(device, non_blocking=True)
    return tensor.to(device, dtype)


def start_copy_to_host(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """A copy on the host that the host need not wait for: it is complete once the event is; without one, at once."""
    if not tensor.is_cuda:
        return tensor, None
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copied, event
