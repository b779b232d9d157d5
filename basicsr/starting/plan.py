"""Sizes of a training that fit a machine: network, patches, batch, workers and length."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from basicsr.upscaling.memory import find_free_memory
from basicsr.utils.arguments import available_cores

WORKER_BYTES = 500 * 2**20
"""A loading process without pictures."""
PICTURE_COPIES = 3
"""Decoded pictures that reading one holds at a time."""
CRITIC_BYTES = 150 * 2**20
"""What DualFormer's critics add for each patch of 128x128."""
DEGRADE_COPIES = 40
"""Images of the size of the crop that the second-order degradation holds at a time."""


@dataclass(frozen=True)
class Machine:
    """What a training may take.

    Attributes:
        device: ``cpu`` or ``cuda``.
        name: The GPU's, or that of its processors, in words.
        cores: Processor cores.
        memory: Bytes that are free of the machine's memory.
        device_memory: Bytes that are free where the network runs.
    """

    device: str
    name: str
    cores: int
    memory: int
    device_memory: int


def find_machine(device: torch.device) -> Machine:
    """This machine, if the network runs on ``device``."""
    cores, memory = available_cores(), find_free_memory(torch.device("cpu"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cores} processor cores"
    return Machine(device.type, name, cores, memory, find_free_memory(device))


@dataclass(frozen=True)
class Plan:
    """Sizes of a training.

    Attributes:
        num_feat: Width of the network.
        num_conv: Its depth.
        gt_size: Side of a patch in pixels.
        crop_pad_size: Side of the crop that is degraded (kind ``real``).
        batch: Patches in a batch.
        workers: Loading processes.
        total_iter: Iterations.
        lr: Learning rate.
    """

    num_feat: int
    num_conv: int
    gt_size: int
    crop_pad_size: int
    batch: int
    workers: int
    total_iter: int
    lr: float


def patch_side(machine: Machine, scale: int, objective: str) -> int:
    """Side of a patch in pixels, which no picture may be smaller than; the published critics take 128."""
    return 128 if objective == "dualformer" else (64 if machine.device == "cuda" else 32) * scale


def make_plan(machine: Machine, scale: int, kind: str, objective: str, largest_picture: int) -> Plan:
    """Chooses sizes.

    Args:
        machine: Where it runs.
        scale: 2 or 4.
        kind: ``clean`` or ``real``.
        objective: ``pixel`` or ``dualformer``.
        largest_picture: Pixels of the largest picture.
    """
    on_gpu = machine.device == "cuda"
    num_feat, num_conv = (64, 16) if on_gpu else (32, 8)
    has_critics = objective == "dualformer"
    gt_size = patch_side(machine, scale, objective)
    crop_pad_size = max(400 if on_gpu else 256, gt_size)
    patch_bytes = (gt_size // scale) ** 2 * num_feat * (num_conv + 2) * 4 * 6
    patch_bytes += CRITIC_BYTES if has_critics else 0
    patch_bytes += 12 * crop_pad_size**2 * DEGRADE_COPIES if kind == "real" else 0
    batch = (16 if has_critics else 32) if on_gpu else (4 if has_critics else 8)
    while batch > 2 and batch * patch_bytes > machine.device_memory / 2:
        batch //= 2
    worker_bytes = WORKER_BYTES + PICTURE_COPIES * 3 * largest_picture
    workers = max(0, min(machine.cores - 1, 8 if on_gpu else 2, int(machine.memory / 3 / worker_bytes)))
    total_iter = (40000 if on_gpu else 3000) if kind == "clean" else (100000 if on_gpu else 6000)
    total_iter //= 2 if has_critics else 1
    return Plan(num_feat, num_conv, gt_size, crop_pad_size, batch, workers, total_iter, 2e-4 if has_critics else 5e-4)
