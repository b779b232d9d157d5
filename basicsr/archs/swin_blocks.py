"""Swin Transformer blocks (arXiv 2103.14030), shared by the discriminators and SwinIR.

Feature maps are kept as ``(B, H, W, C)`` throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from basicsr.archs.arch_util import DropPath, check_positive, check_rate, trunc_normal_
from basicsr.archs.window_attention import WindowAttention, build_shift_mask

NormLayer = Callable[[int], nn.Module]


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class SwinBlock(nn.Module):
    """Window attention and an MLP, each after layer norm and within a residual connection.

    A window larger than the map shrinks to it, and a window that covers the map is not shifted.

    Args:
        dim: Channels.
        input_resolution: Rows and columns of the map that the block is built for, in tokens.
        num_heads: Number of heads.
        window_size: Side of a window.
        shift_size: Rows and columns by which windows are shifted.
        mlp_ratio: Hidden width of the MLP, relative to ``dim``.
        qkv_bias: See :class:`WindowAttention`, as ``qk_scale`` and ``attn_drop``.
        drop: Dropout in MLP and projection.
        drop_path: Rate of stochastic depth.
        norm_layer: Makes a norm for a number of channels.

    Raises:
        ValueError: If ``dim`` is not divisible by ``num_heads`` or the window does not divide the map.
    """

    def __init__(
        self,
        dim: int,
        input_resolution: tuple[int, int],
        num_heads: int,
        window_size: int,
        shift_size: int = 0,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        norm_layer: NormLayer = nn.LayerNorm,
    ) -> None:
        super().__init__()
        check_positive(window_size=window_size)
        if not mlp_ratio > 0:
            raise ValueError(f"mlp_ratio must be positive, got {mlp_ratio!r}")
        if min(input_resolution) <= window_size:
            window_size, shift_size = min(input_resolution), 0
        if any(size % window_size for size in input_resolution):
            rows, cols = input_resolution
            raise ValueError(f"window_size {window_size} does not divide the map of {rows}x{cols} tokens")
        self.input_resolution = input_resolution
        self.window_size = window_size
        self.shift_size = shift_size
        self.norm1 = norm_layer(dim)
        self.attn = WindowAttention(dim, window_size, num_heads, qkv_bias, qk_scale, attn_drop, drop)
        self.drop_path = DropPath(drop_path)
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, max(1, int(dim * mlp_ratio)), drop)
        self.attn_mask: Tensor | None
        self.register_buffer("attn_mask", self._build_mask())

    def _build_mask(self) -> Tensor | None:
        if self.shift_size == 0:
            return None
        return build_shift_mask(*self.input_resolution, self.window_size, self.shift_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transforms a map ``(B, H, W, C)``; ``mask`` replaces the block's own on maps of another size."""
        if self.shift_size:
            shift = self.shift_size
            rolled = torch.roll(self.norm1(x), (-shift, -shift), (1, 2))
            attended = self.attn(rolled, self.attn_mask if mask is None else mask)
            attended = torch.roll(attended, (shift, shift), (1, 2))
        else:
            attended = self.attn(self.norm1(x))
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adapted = dict(state_dict)
        mask = self._build_mask()
        if mask is None:
            adapted.pop(prefix + "attn_mask", None)
        else:
            adapted[prefix + "attn_mask"] = mask
        super()._load_from_state_dict(adapted, prefix, *args, **kwargs)


def build_blocks(
    depth: int, dim: int, input_resolution: tuple[int, int], window_size: int, drop_path: list[float], **block: Any
) -> nn.ModuleList:
    """``depth`` blocks of which every second one is shifted by half a window; ``block`` goes to :class:`SwinBlock`."""
    check_positive(depth=depth)
    return nn.ModuleList(
        SwinBlock(
            dim,
            input_resolution,
            window_size=window_size,
            shift_size=0 if index % 2 == 0 else window_size // 2,
            drop_path=drop_path[index],
            **block,
        )
        for index in range(depth)
    )


def run_blocks(blocks: nn.ModuleList, x: Tensor, mask: Tensor | None, use_checkpoint: bool) -> Tensor:
    """Runs blocks in order; with ``use_checkpoint`` their activations are recomputed in the backward pass."""
    for block in blocks:
        if use_checkpoint and torch.is_grad_enabled():
            x = checkpoint(block, x, mask, use_reentrant=False)
        else:
            x = block(x, mask)
    return x


def init_transformer_weights(module: nn.Module) -> None:
    """Truncated normal weights (0.02) and zero biases for linear layers, the identity for norms; for ``apply``."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def spread_drop_path(rate: float, depths: list[int]) -> list[list[float]]:
    """Rates of stochastic depth, growing linearly from 0 to ``rate`` over all blocks, grouped by stage."""
    check_rate(drop_path_rate=rate)
    total = sum(depths)
    rates = iter([rate * index / max(1, total - 1) for index in range(total)])
    return [[next(rates) for _ in range(depth)] for depth in depths]
