"""Averages over rings of integer radius, taken from the half spectrum that a real FFT returns.

A real image has a Hermitian spectrum, so each bin of the half spectrum stands for one or two bins of the full map. A
layout says, once per (size, device), which ring each half-spectrum bin falls in and how many bins of the map it stands
for; averaging is then one weighted sum by index and is differentiable any number of times.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

NyquistRule = Literal["symmetric", "published"]


class RingLayout(NamedTuple):
    """Where the bins of a flattened half spectrum go.

    Attributes:
        source: Index of the half-spectrum bin behind each entry; ``None`` when entries are the bins in order.
        ring: Ring of each entry, an integer.
        weight: Number of bins of the full map that each entry stands for.
        num_bins: Number of bins of the full map in each ring; its type is what averages are accumulated in.
        radius: Mean radius of the bins in each ring, in the layout's own unit.
    """

    source: Tensor | None
    ring: Tensor
    weight: Tensor
    num_bins: Tensor
    radius: Tensor


def half_frequencies(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Integer frequencies of the half spectrum: rows ``(H, 1)`` signed, columns ``(1, W // 2 + 1)``; float64."""
    rows = torch.fft.ifftshift(torch.arange(-(height // 2), (height + 1) // 2, dtype=torch.float64))
    cols = torch.arange(width // 2 + 1, dtype=torch.float64)
    return rows[:, None], cols[None, :]


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices that have no float64 (Apple's)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _finish(source: Tensor | None, ring: Tensor, weight: Tensor, radius: Tensor, device: torch.device) -> RingLayout:
    # What adds up entries on a CPU takes 64 bits.
    ring = ring.to(torch.int64 if device.type == "cpu" else torch.int32)
    num_bins = torch.bincount(ring, weight)
    mean = torch.bincount(ring, weight * radius) / num_bins
    dtype = accumulation_dtype(device)
    return RingLayout(
        source=None if source is None else source.to(device),
        ring=ring.to(device),
        weight=weight.to(device, torch.float32),
        num_bins=num_bins.to(device, dtype),
        radius=mean.to(device, dtype),
    )


@lru_cache(maxsize=16)
def integer_rings(height: int, width: int, nyquist: NyquistRule, device: torch.device) -> RingLayout:
    """Rings ``floor(sqrt(u² + v²))`` on the odd-sized map in which the Nyquist row and column appear on both sides.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        nyquist: ``symmetric`` duplicates the Nyquist frequency of each even side. ``published`` does what the published
            numbers rest on: for two even, unequal sides it duplicates column ``H // 2`` instead, which shifts the
            columns between the two; for other sizes both are the same.
        device: Where the index lives.

    Returns:
        The layout; radii are in bins.
    """
    # Made outside inference mode even when first asked for inside it: a cached index must serve training as well.
    with torch.inference_mode(False):
        if nyquist == "published" and height % 2 == width % 2 == 0 and height // 2 < width != height:
            # The duplicated entry sits right after the original; the map is then labelled as if it were the Nyquist
            # frequency.
            sizes = (height, width)
            labels = [torch.arange(size + 1) for size in sizes]
            rows, cols = (torch.where(label > height // 2, label - 1, label) for label in labels)
            v, u = (torch.where(label > size // 2, label - size - 1, label) for label, size in zip(labels, sizes))
            # Columns of the other half are mirror images.
            mirrored = cols > width // 2
            row_index = torch.where(mirrored[None, :], (-rows[:, None]) % height, rows[:, None])
            col_index = torch.where(mirrored, width - cols, cols)[None, :]
            source = (row_index * (width // 2 + 1) + col_index).flatten()
            radius = (v[:, None].double().square() + u[None, :].double().square()).sqrt().flatten()
            weight = torch.ones_like(radius)
        else:
            source = None
            v, u = half_frequencies(height, width)
            radius = (v.square() + u.square()).sqrt().flatten()
            weight = ((1 + (v.abs() * 2 == height).double()) * torch.where(u > 0, 2.0, 1.0).double()).flatten()
        return _finish(source, radius.floor(), weight, radius, device)


@lru_cache(maxsize=16)
def frequency_rings(height: int, width: int, device: torch.device) -> RingLayout:
    """Rings of equal width in frequency (cycles per pixel), so that non-square images keep isotropic rings.

    The ring of a bin is ``floor(min(H, W) · sqrt((u/H)² + (v/W)²))``; for square images these are the rings of integer
    radius, each bin counted once. Radii are normalised: 1 is the corner of the spectrum, ``sqrt(1/2)`` cycles a pixel.
    """
    with torch.inference_mode(False):
        rows, cols = half_frequencies(height, width)
        # Squared radii are ratios of integers; dividing last keeps exact multiples from falling one ring short.
        squared = (rows * width).square() + (cols * height).square()
        radius = squared.sqrt().flatten() / max(height, width)
        self_paired = (cols == 0) | (cols * 2 == width)
        weight = torch.where(self_paired, 1.0, 2.0).double().expand(height, -1).flatten()
        return _finish(None, radius.floor(), weight, radius * (2**0.5 / min(height, width)), device)


def mean_over_rings(half: Tensor, layout: RingLayout) -> Tensor:
    """Averages a half spectrum over the rings of a layout.

    Args:
        half: Values on the half spectrum, ``(..., H, W // 2 + 1)``.
        layout: From :func:`integer_rings` or :func:`frequency_rings`, for the same size and device.

    Returns:
        ``(..., num_rings)`` in float64 (float32 on a device without it).
    """
    flat = half.flatten(-2).to(layout.num_bins.dtype)
    if layout.source is not None:
        flat = flat.index_select(-1, layout.source)
    sums, weighted = flat.new_zeros((*flat.shape[:-1], layout.num_bins.numel())), flat * layout.weight
    if flat.device.type == "cpu":
        # The same additions in the same order, in a fraction of the time; on a GPU their order is left to chance.
        sums = sums.scatter_add(-1, layout.ring.expand_as(weighted), weighted)
    else:
        sums = sums.index_add(-1, layout.ring, weighted)
    return sums / layout.num_bins
