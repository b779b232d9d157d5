"""Running a network on an image of any size, tile by tile, in memory that depends on the tile.

Every tile is computed together with a margin (halo) of its neighbours' pixels, and the margin's output is thrown away.
So a pixel that the network computes from inputs at most ``overlap`` pixels away comes out as if the whole image had
been passed at once; how far a network looks is measured (:mod:`basicsr.evaluation.reach`). Neighbouring tiles are
blended over a narrow band, which is computed outside the margin and so costs none of the equality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from basicsr.evaluation.reach import measure_reach
from basicsr.processing.filters import extend_by_reflection
from basicsr.utils.images import FULL_SCALE, planes_to_image

MAX_BAND = 8
"""Half the width of the widest band over which tiles are blended, in LQ pixels."""


def size_multiple(net: nn.Module) -> int:
    """What the sides of a network's input must be divisible by: its ``size_multiple``, or 1 if it states none."""
    return int(getattr(net, "size_multiple", 1))


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
    band = 0 if count == 1 else min(overlap // 4, MAX_BAND, min(b - a for a, b in pairwise(borders)) // 2)
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
    overlap: int | None = None,
    scale: int = 1,
    multiple: int = 1,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Applies a network tile by tile.

    Args:
        net: Maps (B, C, h, w) to (B, C', h * scale, w * scale) for any h and w that are multiples of ``multiple``.
        lq: (B, C, H, W).
        tile: Side of the tiles in LQ pixels; the network sees at most ``tile + 2.5 * overlap``, rounded up to
            ``multiple``. ``None`` or 0 passes the whole image.
        overlap: Margin around every tile, in LQ pixels; where the network looks no further than this, the result
            equals that of the whole image. ``None``: what :func:`~basicsr.evaluation.reach.measure_reach` finds.
        scale: Output pixels per input pixel.
        multiple: Sizes that the network takes; the image is extended by reflection and the result cropped.
        on_tile: Told after each tile how many are done, and of how many.

    Returns:
        (B, C', H * scale, W * scale), on the device of ``lq``.

    Raises:
        ValueError: If the tile or the overlap is negative, or the network's output has another size.
    """
    canvas = None
    height, width = (length * scale for length in lq.shape[-2:])
    for rows, columns, part in generate_tiles(net, lq, tile, overlap, scale, multiple, on_tile):
        if part.shape[-2:] == (height, width):
            return part
        if canvas is None:
            canvas = part.new_empty((*part.shape[:-2], height, width))
        canvas[..., rows, columns] = part
    assert canvas is not None  # there is at least one tile
    return canvas


def tiled_pictures(
    parts: Iterable[tuple[slice, slice, Tensor]],
    height: int,
    width: int,
    dtype: DTypeLike = np.uint8,
    bgr: bool = False,
    spare: int = 0,
) -> np.ndarray:
    """Puts the images of :func:`generate_tiles` together on the host, in their final depth.

    Args:
        parts: Of B images, (B, C, h, w) in [0, 1].
        height: Rows of the images.
        width: Columns of the images.
        dtype: uint8, uint16 or float32.
        bgr: Reverse the channels.
        spare: Channels behind them that are left for others to fill, such as alpha.

    Returns:
        (B, height, width, C + spare) of this type, 1 as its :data:`~basicsr.utils.images.FULL_SCALE`. Nothing else of
        this size is made.
    """
    pictures: np.ndarray = np.empty(0)
    full = FULL_SCALE.get(np.dtype(dtype))
    for rows, columns, part in parts:
        values = part.float().clamp(0, 1)
        if full is not None:
            values = values.mul_(full).round_()
        # PyTorch does little with uint16; float32 holds its values.
        images = (values.to(torch.uint8) if full == 255 else values).cpu().numpy()
        if not pictures.size:
            pictures = np.empty((len(images), height, width, images.shape[1] + spare), dtype)
        for picture, planes in zip(pictures, images):
            picture[rows, columns, : len(planes)] = planes_to_image(planes, reverse=bgr)
        # Not kept while the next tile is made.
        del part, values, images
    return pictures


def is_split(lq: Tensor, tile: int | None, multiple: int = 1) -> bool:
    """Whether an image takes more than one tile."""
    return bool(tile) and math.ceil(max(lq.shape[-2:]) / multiple) * multiple > (tile or 0)


def generate_tiles(
    net: Callable[[Tensor], Tensor],
    lq: Tensor,
    tile: int | None,
    overlap: int | None = None,
    scale: int = 1,
    multiple: int = 1,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields the image of :func:`tiled_forward` in parts that cover it once, as soon as each is finished.

    Beside the tile at hand, only the bands that are blended with later tiles are kept.

    Args:
        net: As for :func:`tiled_forward`; so are the other arguments.

    Yields:
        Rows and columns of the output, and (B, C', rows, columns), on the device of ``lq``.
    """
    size = tile or 0
    if min(size, overlap or 0) < 0:
        raise ValueError(f"val.tile and val.tile_overlap must not be negative, got {size} and {overlap}")
    height, width = lq.shape[-2:]
    padded = extend_by_reflection(lq, multiple)
    if not is_split(lq, size, multiple):
        # One tile, the whole image.
        plans = [[Span((0, length), (0, length), 0)] for length in padded.shape[-2:]]
    else:
        margin = measure_reach(net, lq, multiple).overlap if overlap is None else overlap
        plans = [plan_axis(length, size, margin, multiple) for length in padded.shape[-2:]]
    # What the last row of tiles has made of the band that the next one shares with it.
    below: Tensor | None = None
    done, total = 0, len(plans[0]) * len(plans[1])
    for row, next_row in zip(plans[0], [*plans[0][1:], None]):
        right: Tensor | None = None
        for column, next_column in zip(plans[1], [*plans[1][1:], None]):
            piece = _run_tile(net, padded, row, column, scale)
            left, top = column.write[0] * scale, row.write[0] * scale
            # Finish the columns: those that the next tile shares wait for it.
            if right is not None:
                piece = _fade(right, piece, -1)
            band = next_column.ramp * scale if next_column else 0
            right = piece[..., piece.shape[-1] - band :].clone() if band else None
            piece = piece[..., : piece.shape[-1] - band]
            # Finish the rows in the same way.
            span = slice(left, left + piece.shape[-1])
            if row.ramp and below is not None:
                piece = _fade(below[..., span], piece, -2)
            if band := next_row.ramp * scale if next_row else 0:
                if below is None:
                    below = piece.new_empty((*piece.shape[:-2], band, padded.shape[-1] * scale))
                below[..., span] = piece[..., piece.shape[-2] - band :, :]
            # Cut off what the image was extended by.
            bottom = min(top + piece.shape[-2] - band, height * scale)
            end = min(span.stop, width * scale)
            done += 1
            on_tile(done, total)
            yield slice(top, bottom), slice(left, end), piece[..., : bottom - top, : end - left]
            del piece


def _run_tile(net: Callable[[Tensor], Tensor], padded: Tensor, row: Span, column: Span, scale: int) -> Tensor:
    """What the network makes of one tile, without its margin."""
    seen = padded[..., slice(*row.read), slice(*column.read)]
    output = net(seen)
    made, given = tuple(output.shape[-2:]), tuple(seen.shape[-2:])
    expected = (given[0] * scale, given[1] * scale)
    if made != expected:
        mistake = f"the network made {made} of {given}, expected {expected}"
        raise ValueError(f"{mistake}: does its scale agree with scale: {scale}?")
    rows, columns = (slice((w - r) * scale, (e - r) * scale) for (r, _), (w, e) in (row[:2], column[:2]))
    return output[..., rows, columns]


def _fade(before: Tensor, piece: Tensor, axis: int) -> Tensor:
    """A piece whose start fades in, linearly, over what the tile before has made of the same pixels."""
    band = before.shape[axis]
    weight = (torch.arange(band, device=piece.device, dtype=piece.dtype) + 0.5) / band
    start = torch.lerp(before, piece.narrow(axis, 0, band), weight if axis == -1 else weight[:, None])
    return torch.cat([start, piece.narrow(axis, band, piece.shape[axis] - band)], dim=axis)
