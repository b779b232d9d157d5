"""Generating images as ``val.tile`` says: with the margin that the network needs, and a note where it gets less."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.evaluation.reach import LEVELS, Reach, measure_reach
from basicsr.evaluation.tiling import generate_tiles, is_split, size_multiple, tiled_forward, tiled_pictures
from basicsr.utils.batch import image_of, to_floats

logger = logging.getLogger("basicsr")


class Tiler:
    """Runs networks on images of any size, in [0, 1] or of uint8 or uint16: of those only tiles become floats.

    Args:
        tile: Side of the tiles in LQ pixels; ``None`` passes whole images.
        overlap: Their margin; ``None``: measured on the network, anew whenever its weights have changed.
        scale: Output pixels per input pixel.

    Attributes:
        note: What is to be said of the last image, or nothing.
        device: Where the last image was made.
        on_tile: Told after each tile how many of the image are done, and of how many.
    """

    def __init__(self, tile: int | None = None, overlap: int | None = None, scale: int = 1) -> None:
        self.tile, self.overlap, self.scale = tile, overlap, scale
        self.note, self.device = "", torch.device("cpu")
        self.on_tile: Callable[[int, int], None] = lambda done, total: None
        self._known: WeakKeyDictionary[nn.Module, tuple[list[float], Reach]] = WeakKeyDictionary()

    def generate(self, net: nn.Module, lq: Tensor) -> Tensor:
        """The network's image (B, C', H * scale, W * scale) of (B, C, H, W), on its device."""
        overlap = self._prepare(net, lq)
        return tiled_forward(_run(net), lq, self.tile, overlap, self.scale, size_multiple(net), self.on_tile)

    def generate_picture(self, net: nn.Module, lq: Tensor) -> np.ndarray | Tensor:
        """The same of (1, C, H, W); if it takes tiles, put together on the host as (H, W, C) BGR or (H, W), uint8."""
        if not is_split(lq, self.tile, size_multiple(net)):
            return self.generate(net, lq)
        height, width = (length * self.scale for length in lq.shape[-2:])
        picture = tiled_pictures(self.generate_parts(net, lq), height, width, bgr=True)[0]
        return picture[..., 0] if picture.shape[2] == 1 else picture

    def generate_parts(self, net: nn.Module, lq: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """The same of (B, C, H, W) in parts; see :func:`~basicsr.evaluation.tiling.generate_tiles`."""
        overlap = self._prepare(net, lq)
        return generate_tiles(_run(net), lq, self.tile, overlap, self.scale, size_multiple(net), self.on_tile)

    def _prepare(self, net: nn.Module, lq: Tensor) -> int:
        """The margin for an image; what is to be said of it becomes the note."""
        self.note, self.device = "", lq.device
        if not is_split(lq, self.tile, size_multiple(net)):
            return 0
        reach = self.reach_of(net, lq)
        overlap = reach.overlap if self.overlap is None else self.overlap
        if not reach.is_bounded or overlap < reach.overlap:
            difference = f"up to {reach.levels_at(overlap):.1f} of {LEVELS} levels on noise and texture"
            tiles = f"generated in tiles of {self.tile} with overlap {overlap}, which differ from the whole image"
            remedy = f"from overlap {reach.overlap} on they do not" if reach.is_bounded else "with any overlap"
            self.note = f"{tiles} ({difference}; {remedy})"
        return overlap

    def reach_of(self, net: nn.Module, lq: Tensor) -> Reach:
        """How far the network looks, measured once for its weights."""
        weights = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
        norms = torch.stack(torch._foreach_norm(weights)).tolist() if weights else []
        known = self._known.get(net)
        if known is None or known[0] != norms:
            name = getattr(net, "label", type(net).__name__)
            logger.info("Measuring how far %s looks, for tiles …", name)
            reach = measure_reach(_run(net), lq, size_multiple(net))
            end = "does not show" if reach.is_bounded else "shows, however far it is: it averages over the image"
            logger.info("%s: what is more than %d pixels away %s", name, reach.overlap, end)
            known = self._known[net] = norms, reach
        return known[1]


def _run(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return torch.no_grad()(lambda lq: image_of(net(to_floats(lq))))
