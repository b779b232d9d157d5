"""Attention within (shifted) windows of a feature map (Swin Transformer, arXiv 2103.14030).

Windows are formed once per call, on queries, keys and values together, and undone once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import trunc_normal_
from basicsr.utils.errors import ArgumentError, check_positive, check_rate

MASKED = -100.0
"""Added to the attention between tokens that are neighbours only because of the cyclic shift, as published."""

_MAX_GRID = {"cuda": 65_000}
"""Batch entries or heads in one call: CUDA's attention kernels spend a grid dimension (at most 65,535) on each."""


NormLayer = Callable[[int], nn.Module]


@dataclass(frozen=True)
class BlockOptions:
    """What all Swin blocks of a network have in common; :class:`SwinTransformer` describes the values.

    Raises:
        ArgumentError: If a value is impossible.
    """

    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    norm_layer: NormLayer = nn.LayerNorm

    def __post_init__(self) -> None:
        check_positive(window_size=self.window_size)
        check_rate(drop_rate=self.drop_rate, attn_drop_rate=self.attn_drop_rate)
        if not self.mlp_ratio > 0:
            raise ArgumentError("mlp_ratio", f"mlp_ratio must be positive, got {self.mlp_ratio!r}")


DEFAULTS = BlockOptions()
"""Of attention that is used outside of a block."""


def index_relative_positions(window_size: int) -> Tensor:
    """Row of the position table for each pair of tokens in a window: ``(N, N)`` int64 with ``N = window_size²``.

    It is part of published state dicts.
    """
    steps = torch.arange(window_size)
    offset = steps[:, None] - steps[None, :] + window_size - 1
    rows = offset[:, None, :, None] * (2 * window_size - 1)
    return (rows + offset[None, :, None, :]).reshape(window_size**2, window_size**2)


def build_shift_mask(
    height: int, width: int, window_size: int, shift: int, device: torch.device | None = None
) -> Tensor:
    """What to add to the attention in each window of a cyclically shifted map.

    Args:
        height: Rows of the map, divisible by ``window_size``.
        width: Columns of the map, divisible by ``window_size``.
        window_size: Side of a window.
        shift: Rows and columns by which the map is rolled up and left.
        device: Where the mask is made.

    Returns:
        ``(windows, N, N)`` float32: 0 between tokens of one region, :data:`MASKED` between regions.
    """
    regions = []
    for size in (height, width):
        position = torch.arange(size, device=device)
        regions.append((position >= size - window_size).long() + (position >= size - shift).long())
    region = regions[0][:, None] * 3 + regions[1][None, :]
    windows = region.unflatten(1, (-1, window_size)).unflatten(0, (-1, window_size)).transpose(1, 2)
    label = windows.reshape(-1, window_size**2)
    return (label[:, :, None] != label[:, None, :]).float() * MASKED


def resize_square_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes a learned square map, ``(S², C)`` row by row, bicubically to ``(rows·cols, C)``.

    A map that is not square, or fits already, is returned as it is.
    """
    side = math.isqrt(len(values))
    if len(values) == size[0] * size[1] or side * side != len(values):
        return values
    grid = values.float().t().unflatten(1, (side, side))[None]
    resized = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)
    return resized[0].flatten(1).t().to(values.dtype)


def _split_grid(x: Tensor, axis: int) -> Sequence[Tensor]:
    """Parts that one kernel can take; a part that is the whole is not a copy in the backward pass."""
    limit = _MAX_GRID.get(x.device.type)
    return x.split(limit, axis) if limit is not None and x.shape[axis] > limit else (x,)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each relative position.

    Args:
        dim: Channels.
        window_size: Side of a window, in tokens.
        num_heads: Number of heads; divides ``dim``.
        options: Bias of queries, keys and values, factor on the logits (default ``(dim / num_heads) ** -0.5``), dropout
            of attention weights and of the result; its window size is the largest, not this one.

    Raises:
        ArgumentError: If ``dim`` is not divisible by ``num_heads``.
    """

    def __init__(self, dim: int, window_size: int, num_heads: int, options: BlockOptions = DEFAULTS) -> None:
        super().__init__()
        check_positive(num_heads=num_heads)
        if dim % num_heads:
            message = f"{dim} channels cannot be divided among {num_heads} heads; change embed_dim or num_heads"
            raise ArgumentError("num_heads", message)
        self.window_size = window_size
        self.num_heads = num_heads
        self.options = options
        self._kept_biases: dict[tuple[Tensor | None, torch.dtype], Tensor] | None = None
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", index_relative_positions(window_size))
        self.qkv = nn.Linear(dim, dim * 3, bias=options.qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(options.drop_rate)
        trunc_normal_(self.relative_position_bias_table, std=0.02)

    def relative_position_bias(self) -> Tensor:
        """The bias between all pairs of tokens in a window, ``(heads, N, N)``."""
        # bias[(i, j), (k, l)] = table[w-1 + i-k, w-1 + j-l] is a sliding window over the table. Against look-up by
        # index, its backward pass needs no sorting and gives the same bits on every run on a GPU.
        w = self.window_size
        grid = self.relative_position_bias_table.t().reshape(self.num_heads, 2 * w - 1, 2 * w - 1)
        slices = grid.unfold(1, w, 1).unfold(2, w, 1).flip(1, 2)
        return slices.permute(0, 3, 4, 1, 2).reshape(self.num_heads, w * w, w * w)

    def forward(self, x: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Attends within each window of a map.

        Args:
            x: ``(B, H, W, C)``; ``H`` and ``W`` divisible by the window size.
            mask: ``(windows, N, N)`` added to the logits, the same for every head, or ``None``.
            bias: What :meth:`relative_position_bias` gives, if it is there already.

        Returns:
            ``(B, H, W, C)``.
        """
        batch, height, width, dim = x.shape
        w, heads = self.window_size, self.num_heads
        rows, cols = height // w, width // w
        qkv = self.qkv(x).view(batch, rows, w, cols, w, 3, heads, dim // heads)
        query, key, value = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).unbind(0)

        # Position bias plus mask, (heads, N, N) or (windows, heads, N, N); a mask is known by its identity.
        kept = {} if self._kept_biases is None or torch.is_grad_enabled() else self._kept_biases
        if (mask, query.dtype) not in kept:
            bias = (self.relative_position_bias() if bias is None else bias).to(query.dtype)
            kept[mask, query.dtype] = bias if mask is None else bias + mask.to(query.dtype)[:, None]
        bias = kept[mask, query.dtype].flatten(0, -3)[None]

        # Windows join the batch if all have one bias, else the heads, so that the bias is never copied for each image.
        axis = 0 if mask is None else 1
        queries, keys, values = (_split_grid(x.flatten(axis, axis + 2), axis) for x in (query, key, value))
        biases = _split_grid(bias, 1) if axis else [bias] * len(queries)
        dropout = self.options.attn_drop_rate if self.training else 0.0
        parts = [
            F.scaled_dot_product_attention(q, k, v, attn_mask=b, dropout_p=dropout, scale=self.options.qk_scale)
            for q, k, v, b in zip(queries, keys, values, biases)
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, axis)
        out = out.view(batch, rows, cols, heads, w, w, dim // heads).permute(0, 1, 4, 2, 5, 3, 6)
        return self.proj_drop(self.proj(out.reshape(batch, height, width, dim)))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # The dict is the copy that ``load_state_dict`` makes of the caller's.
        state_dict[prefix + "relative_position_index"] = index_relative_positions(self.window_size)
        name, side = prefix + "relative_position_bias_table", 2 * self.window_size - 1
        if name in state_dict:
            state_dict[name] = resize_square_map(state_dict[name], (side, side))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


_LARGEST_JOINED = 8
"""Side of the largest windows whose biases are joined: the product grows with its sixth power."""


def join_position_biases(layers: Sequence[WindowAttention]) -> Sequence[Tensor | None]:
    """The biases of attentions with windows of one size, by one product, which is one in the backward pass too.

    ``None`` for each where it is not worth it: without gradients, or for large windows.
    """
    window, table = layers[0].window_size, layers[0].relative_position_bias_table
    if not torch.is_grad_enabled() or window > _LARGEST_JOINED or table.dtype != torch.float32:
        return [None] * len(layers)
    with torch.autocast(table.device.type, enabled=False):
        tables = torch.cat([layer.relative_position_bias_table for layer in layers], 1)
        rows = torch.arange(len(table), device=table.device)[:, None]
        joined = tables.t() @ (rows == layers[0].relative_position_index.flatten()).float()
    heads = [layer.num_heads for layer in layers]
    return [bias.view(-1, window**2, window**2) for bias in joined.split(heads)]


@contextmanager
def keep_biases(net: nn.Module) -> Iterator[None]:
    """Within the block, forward passes without gradients share what attention adds to its logits.

    With large windows, making it costs as much as a whole image; kept, it is made once for all batches in the block.
    Parameters must not change in the meantime. Afterwards nothing is kept.

    Args:
        net: Any network; its window attentions are found.
    """
    layers = [m for m in net.modules() if isinstance(m, WindowAttention) and m._kept_biases is None]
    for layer in layers:
        layer._kept_biases = {}
    try:
        yield
    finally:
        for layer in layers:
            layer._kept_biases = None
