"""Running a network on an image of any size, tile by tile, in memory that depends on the tile.

Every tile is computed together with a margin (halo) of its neighbours' pixels, and the margin's output is thrown away.
So a pixel that the network computes from inputs at most ``overlap`` pixels away comes out as if the whole image had
been passed at once. Networks that look further (RRDBNet does) differ slightly on the two sides of a seam; neighbouring
tiles are therefore blended over a narrow band, which is computed outside the margin and so costs none of the equality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.img_process_util import reflect_indices

DEFAULT_OVERLAP = 16


def size_multiple(net: nn.Module) -> int:
    """What the sides of a network's input must be divisible by: its ``unshuffle`` factor if it has one, else 1."""
    return int(getattr(net, "unshuffle", 1))


@dataclass(frozen=True)
class Span:
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
    tile: int | Mapping[str, Any] | None,
    overlap: int | None = None,
    scale: int = 1,
    multiple: int = 1,
) -> Tensor:
    """Applies a network tile by tile.

    Args:
        net: Maps (B, C, h, w) to (B, C', h * scale, w * scale) for any h and w that are multiples of ``multiple``.
        lq: (B, C, H, W).
        tile: Side of the tiles in LQ pixels; the network sees at most ``tile + 2.5 * overlap``. ``None`` or 0 passes
            the whole image. A block ``{size, overlap}`` gives both numbers.
        overlap: Margin around every tile, in LQ pixels; where the network's receptive field reaches no further than
            this, the result equals that of the whole image. 16 if not given.
        scale: Output pixels per input pixel.
        multiple: Sizes that the network takes; the image is extended by reflection and the result cropped.

    Returns:
        (B, C', H * scale, W * scale), on the device of ``lq``.

    Raises:
        ValueError: If the tile or the overlap is negative, or the network's output has another size.
    """
    size, overlap = _read_tile(tile, overlap)
    height, width = lq.shape[-2:]
    padded = _extend(lq, multiple)
    if not size or max(padded.shape[-2:]) <= size:
        # One tile: what the whole image gives.
        return _run(net, padded, scale)[..., : height * scale, : width * scale]
    rows = plan_axis(padded.shape[-2], size, overlap, multiple)
    columns = plan_axis(padded.shape[-1], size, overlap, multiple)

    def run_row(row: Span) -> Tensor:
        pieces = ((column, _run_tile(net, padded, row, column, scale)) for column in columns)
        return _assemble(pieces, padded.shape[-1], -1, scale)

    output = _assemble(((row, run_row(row)) for row in rows), padded.shape[-2], -2, scale)
    return output[..., : height * scale, : width * scale]


def _read_tile(tile: int | Mapping[str, Any] | None, overlap: int | None) -> tuple[int, int]:
    if isinstance(tile, Mapping):
        return _read_tile(tile.get("size"), overlap if tile.get("overlap") is None else tile["overlap"])
    size = int(tile or 0)
    margin = DEFAULT_OVERLAP if overlap is None else int(overlap)
    if size < 0 or margin < 0:
        raise ValueError(f"val.tile and val.tile_overlap must not be negative, got {size} and {margin}")
    return size, margin


def _extend(lq: Tensor, multiple: int) -> Tensor:
    """Extends the bottom and the right by reflection to the next multiple."""
    for axis in (-2, -1):
        length = lq.shape[axis]
        if length % multiple:
            positions = torch.arange(length + -length % multiple, device=lq.device)
            lq = lq.index_select(axis, reflect_indices(positions, length))
    return lq


def _run(net: Callable[[Tensor], Tensor], lq: Tensor, scale: int) -> Tensor:
    output = net(lq)
    expected = (lq.shape[-2] * scale, lq.shape[-1] * scale)
    if tuple(output.shape[-2:]) != expected:
        raise ValueError(
            f"the network made {tuple(output.shape[-2:])} of {tuple(lq.shape[-2:])}, expected {expected}: "
            f"does its scale agree with scale: {scale}?"
        )
    return output


def _run_tile(net: Callable[[Tensor], Tensor], lq: Tensor, row: Span, column: Span, scale: int) -> Tensor:
    window = lq[..., slice(*row.read), slice(*column.read)]
    output = _run(net, window, scale)
    kept = [slice(*((edge - span.read[0]) * scale for edge in span.write)) for span in (row, column)]
    return output[..., kept[0], kept[1]]


def _assemble(pieces: Iterable[tuple[Span, Tensor]], length: int, axis: int, scale: int) -> Tensor:
    """Lays pieces one after the other along an axis; a piece fades in over the band that it shares with the last."""
    canvas: Tensor | None = None
    for span, piece in pieces:
        if canvas is None:
            shape = list(piece.shape)
            shape[axis] = length * scale
            canvas = piece.new_empty(shape)
        start, ramp = span.write[0] * scale, span.ramp * scale
        if ramp:
            weight = (torch.arange(ramp, device=piece.device, dtype=piece.dtype) + 0.5) / ramp
            weight = weight if axis == -1 else weight.unsqueeze(-1)
            canvas.narrow(axis, start, ramp).lerp_(piece.narrow(axis, 0, ramp), weight)
        rest = piece.shape[axis] - ramp
        canvas.narrow(axis, start + ramp, rest).copy_(piece.narrow(axis, ramp, rest))
    assert canvas is not None
    return canvas
