"""Running a network on an image of any size, tile by tile, in memory that depends on the tile.

Every tile is computed together with a margin (halo) of its neighbours' pixels, and the margin's output is thrown away.
So a pixel that the network computes from inputs at most ``overlap`` pixels away comes out as if the whole image had
been passed at once. Networks that look further (RRDBNet does) differ slightly on the two sides of a seam; neighbouring
tiles are therefore blended over a narrow band, which is computed outside the margin and so costs none of the equality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from basicsr.utils.img_process_util import extend_by_reflection


def size_multiple(net: nn.Module) -> int:
    """What the sides of a network's input must be divisible by: its ``unshuffle`` factor if it has one, else 1."""
    return int(getattr(net, "unshuffle", 1))


class Span(NamedTuple):
    """One tile along one axis, in LQ pixels.

    Attributes:
        read: What the network sees, ``[start, stop)``.
        write: What is kept of it: the tile and the blending band on either side of it.
        ramp: Width of the band at the start of ``write`` that is blended with the previous tile; 0 for the first.
    """

    read: tuple[int, int]
    write: tuple[int, int]
    ramp: int


def plan_axis(length: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """Splits an axis into tiles of nearly equal length.

    Args:
        length: Pixels on the axis, a multiple of ``multiple``.
        tile: Largest length of a tile, without its margin.
        overlap: Margin on either side whose output is thrown away.
        multiple: Starts and lengths of what the network sees are multiples of this.

    Returns:
        The tiles in order; they cover the axis.
    """
    units = length // multiple
    count = math.ceil(units / max(1, tile // multiple))
    borders = [units * index // count * multiple for index in range(count + 1)]
    band = 0 if count == 1 else min(overlap // 4, min(b - a for a, b in pairwise(borders)) // 2)
    margin = math.ceil((overlap + band) / multiple) * multiple
    spans = []
    for start, stop in pairwise(borders):
        read = (max(0, start - margin), min(length, stop + margin))
        write = (max(0, start - band), min(length, stop + band))
        spans.append(Span(read, write, 2 * band if start > 0 else 0))
    return spans


def tiled_forward(
    net: Callable[[Tensor], Tensor],
    lq: Tensor,
    tile: int | None,
    overlap: int = 16,
    scale: int = 1,
    multiple: int = 1,
) -> Tensor:
    """Applies a network tile by tile.

    Args:
        net: Maps (B, C, h, w) to (B, C', h * scale, w * scale) for any h and w that are multiples of ``multiple``.
        lq: (B, C, H, W).
        tile: Side of the tiles in LQ pixels; the network sees at most ``tile + 2.5 * overlap``. ``None`` or 0 passes
            the whole image.
        overlap: Margin around every tile, in LQ pixels; where the network's receptive field reaches no further than
            this, the result equals that of the whole image.
        scale: Output pixels per input pixel.
        multiple: Sizes that the network takes; the image is extended by reflection and the result cropped.

    Returns:
        (B, C', H * scale, W * scale), on the device of ``lq``.

    Raises:
        ValueError: If the tile or the overlap is negative, or the network's output has another size.
    """
    size = tile or 0
    if min(size, overlap) < 0:
        raise ValueError(f"val.tile and val.tile_overlap must not be negative, got {size} and {overlap}")
    height, width = lq.shape[-2:]
    padded = extend_by_reflection(lq, multiple)
    plans: list[tuple[int, list[Span]]] = []  # none: what the whole image gives
    if size and max(padded.shape[-2:]) > size:
        plans = [(axis, plan_axis(padded.shape[axis], size, overlap, multiple)) for axis in (-2, -1)]

    def run(lq: Tensor, plans: Sequence[tuple[int, list[Span]]]) -> Tensor:
        """Applies the network to the tiles along the first planned axis, each made of tiles along the others."""
        if not plans:
            output = net(lq)
            made, given = tuple(output.shape[-2:]), tuple(lq.shape[-2:])
            expected = (given[0] * scale, given[1] * scale)
            if made != expected:
                mistake = f"the network made {made} of {given}, expected {expected}"
                raise ValueError(f"{mistake}: does its scale agree with scale: {scale}?")
            return output
        axis, spans = plans[0]
        # The pieces are laid one after the other; each fades in over the band that it shares with the last.
        canvas = lq.new_empty(0)
        for (first, last), (start, stop), ramp in spans:
            output = run(lq.narrow(axis, first, last - first), plans[1:])
            if not canvas.numel():
                shape = list(output.shape)
                shape[axis] = lq.shape[axis] * scale
                canvas = output.new_empty(shape)
            # Views whose last axis is the one along which the tiles follow each other.
            piece = output.movedim(axis, -1)[..., (start - first) * scale : (stop - first) * scale]
            target = canvas.movedim(axis, -1)[..., start * scale : stop * scale]
            band = ramp * scale
            if band:
                weight = (torch.arange(band, device=piece.device, dtype=piece.dtype) + 0.5) / band
                target[..., :band].lerp_(piece[..., :band], weight)
            target[..., band:] = piece[..., band:]
        return canvas

    return run(padded, plans)[..., : height * scale, : width * scale]
