"""The size of tiles: as large as memory allows, as small as a progress bar likes, and what their margins cost."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basicsr.evaluation.reach import Reach
from basicsr.evaluation.tiler import Tiler
from basicsr.evaluation.tiling import MAX_BAND, is_split, plan_axis
from basicsr.upscaling.memory import Appetite, find_free_memory, measure_appetite
from basicsr.upscaling.networks import Ensemble

SHARE = 0.5
"""Of free memory that tiles may take; measured on a small image, a network takes up to a third more than is counted."""
SMALL_AREA = 128**2
"""LQ pixels that any network can take at once."""
WHOLE_AREA = 1024**2
"""LQ pixels up to which a picture is passed whole if memory allows."""
MODEST_COST, HIGH_COST = 0.15, 0.3
"""Additional work for margins: what ``auto`` aims at, and from where on it is said."""
LEAST_GOAL, LEAST = 512, 16
"""Sides in LQ pixels: what is not worth splitting further, and what is tried in the worst case."""


class TilePlanner:
    """Chooses tiles for pictures.

    Args:
        net: What enlarges them.
        tile: Side in LQ pixels; 0 passes whole pictures, ``None`` chooses.

    Attributes:
        limit: Largest side from now on, after memory has run out.
        tiler: Runs the network in tiles.
    """

    def __init__(self, net: Ensemble, tile: int | None = None) -> None:
        self.net, self.tile = net, tile
        self.limit: int | None = None
        self.tiler = Tiler(scale=net.scale)
        self._appetites: dict[int, Appetite] = {}

    def choose(self, lq: Tensor) -> int | None:
        """The side of tiles for images (B, C, H, W); ``None`` passes them whole."""
        sides = lq.shape[-2:]
        tile = self._choose(lq) if self.tile is None else self.tile or None
        if self.limit is not None and (tile or max(sides)) > self.limit:
            tile = self.limit
        if not is_split(lq, tile, self.net.size_multiple):
            return None
        self._reach(lq)  # known from now on, when the tiles are made
        return tile

    def _choose(self, lq: Tensor) -> int | None:
        batch, channels, height, width = lq.shape
        if batch * height * width <= SMALL_AREA:
            return None
        area = self._appetite(channels).largest_area(SHARE * find_free_memory(self.net.device) / batch)
        if height * width <= min(area, WHOLE_AREA):
            return None
        margin = self._margin(lq)
        most = max(LEAST, math.isqrt(area) - 2 * margin)
        goal = max(LEAST_GOAL, math.ceil(2 * margin / (math.sqrt(1 + MODEST_COST) - 1)))
        return min(goal, most)

    def _appetite(self, channels: int) -> Appetite:
        if channels not in self._appetites:
            self._appetites[channels] = measure_appetite(self.net, channels, self.net.device)
        return self._appetites[channels]

    def _reach(self, lq: Tensor) -> Reach:
        """How far the network looks, in 32 bits: with fewer, rounding depends on the size of the image."""
        with self.net.exactly():
            return self.tiler.reach_of(self.net, lq)

    def _margin(self, lq: Tensor) -> int:
        overlap = self._reach(lq).overlap
        return overlap + min(overlap // 4, MAX_BAND)

    def halve(self, lq: Tensor, tile: int | None) -> int:
        """Takes half as large tiles from now on; returns their side."""
        self.limit = max(1, (tile or max(lq.shape[-2:])) // 2)
        if self.net.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.limit

    def cost(self, lq: Tensor, tile: int | None) -> float:
        """The share of additional work that margins are."""
        if tile is None:
            return 0.0
        overlap, multiple = self._reach(lq).overlap, self.net.size_multiple
        seen = 1.0
        for side in lq.shape[-2:]:
            length = math.ceil(side / multiple) * multiple
            seen *= sum(span.read[1] - span.read[0] for span in plan_axis(length, tile, overlap, multiple)) / length
        return seen - 1
