"""Swin Transformer blocks (arXiv 2103.14030), shared by the discriminators and SwinIR.

Feature maps are kept as ``(B, H, W, C)`` throughout.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import trunc_normal_
from basicsr.archs.window_attention import (
    BlockOptions,
    WindowAttention,
    build_shift_mask,
    join_position_biases,
    resize_square_map,
)
from basicsr.utils.errors import ArgumentError, check_positive, check_rate


class SwinBlock(nn.Module):
    """Window attention and an MLP, each after layer norm and within a residual connection.

    A window larger than the map shrinks to it, and a window that covers the map is not shifted.

    Args:
        dim: Channels.
        size: Rows and columns of the map that the block is built for, in tokens.
        num_heads: Number of heads.
        is_shifted: Whether windows are shifted by half their side.
        drop_path: Rate of stochastic depth (arXiv 1603.09382), see :class:`BlockStack`.
        options: See :class:`BlockOptions`.

    Raises:
        ArgumentError: If ``dim`` is not divisible by ``num_heads`` or the window does not divide the map.
    """

    def __init__(
        self, dim: int, size: tuple[int, int], num_heads: int, is_shifted: bool, drop_path: float, options: BlockOptions
    ) -> None:
        super().__init__()
        rows, cols = size
        window_size = min(rows, cols, options.window_size)
        if rows % window_size or cols % window_size:
            message = f"window_size {window_size} does not divide the map of {rows}x{cols} tokens"
            raise ArgumentError("window_size", message)
        self.size = size
        self.window_size = window_size
        self.shift_size = window_size // 2 if is_shifted and window_size < min(rows, cols) else 0
        self.norm1 = options.norm_layer(dim)
        self.attn = WindowAttention(dim, window_size, num_heads, options)
        self.drop_path = drop_path
        self.norm2 = options.norm_layer(dim)
        hidden, drop = max(1, int(dim * options.mlp_ratio)), options.drop_rate
        layers = (nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(drop), nn.Linear(hidden, dim), nn.Dropout(drop))
        self.mlp = nn.Sequential(OrderedDict(zip(("fc1", "act", "drop1", "fc2", "drop2"), layers)))
        self.register_buffer("attn_mask", self._build_mask() if self.shift_size else None)

    def _build_mask(self) -> Tensor:
        return build_shift_mask(*self.size, self.window_size, self.shift_size)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, keep: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Transforms a map.

        Args:
            x: ``(B, H, W, C)``.
            mask: Replaces the block's own mask on maps of another size.
            keep: ``(2, B, 1, 1, 1)``, factors of the attention's and of the MLP's residuals; by default 1.
            bias: The attention's position bias, if it is there already.

        Returns:
            ``(B, H, W, C)``.
        """
        shift = self.shift_size
        if shift:
            rolled = torch.roll(self.norm1(x), (-shift, -shift), (1, 2))
            attended = self.attn(rolled, self.attn_mask if mask is None else mask, bias)
            attended = torch.roll(attended, (shift, shift), (1, 2))
        else:
            attended = self.attn(self.norm1(x), bias=bias)
        x = x + (attended if keep is None else attended * keep[0])
        mixed = self.mlp(self.norm2(x))
        return x + (mixed if keep is None else mixed * keep[1])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        state_dict.pop(prefix + "attn_mask", None)
        if self.shift_size:
            state_dict[prefix + "attn_mask"] = self._build_mask()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class BlockStack(nn.ModuleList):
    """Swin blocks of one resolution, run in order.

    In training, stochastic depth drops each residual of each sample at its block's rate ``p``, and divides those that
    are kept by ``1 - p``. One draw from the global generator of the device serves all blocks.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transforms a map ``(B, H, W, C)``; see :meth:`SwinBlock.forward`."""
        blocks = [cast(SwinBlock, block) for block in self]
        keeps: Sequence[Tensor | None] = [None] * len(blocks)
        # Rates grow linearly from block to block, so that the last is the largest.
        first, last = blocks[0].drop_path, blocks[-1].drop_path
        if self.training and last:
            shares = torch.linspace(1 - first, 1 - last, len(blocks), device=x.device)
            shares = shares.view(-1, 1, 1, 1, 1, 1).expand(-1, 2, len(x), 1, 1, 1)
            keeps = (torch.bernoulli(shares) / shares).unbind()
        biases = join_position_biases([block.attn for block in blocks])
        for block, keep, bias in zip(blocks, keeps, biases, strict=True):
            x = block(x, mask, keep, bias)
        return x


def init_transformer_weights(module: nn.Module) -> None:
    """Truncated normal weights (0.02) and zero biases for linear layers; for ``apply``. Norms begin as the identity."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class SwinNetwork(nn.Module):
    """Base of networks of Swin blocks on a token map, which may have a learned absolute position embedding.

    An embedding that was saved for another size of map is resized when it is loaded.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (SwinBlock,)
    merges_tokens = False  # between stages: half the rows and columns, twice the channels

    def add_positions(self, grid_size: tuple[int, int], dim: int, ape: bool, drop_rate: float) -> None:
        """Adds the embedding, if there is one, and the dropout that follows it, under their published names."""
        self.grid_size = grid_size
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, grid_size[0] * grid_size[1], dim))
            trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(drop_rate)

    def embed_positions(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, H, W, C)`` with their positions added; without an embedding any size will do."""
        if self.absolute_pos_embed is not None:
            tokens = tokens + self.absolute_pos_embed.view(1, *self.grid_size, -1)
        return self.pos_drop(tokens)

    def build_stages(
        self, width: int, depths: Sequence[int], num_heads: Sequence[int], drop_path_rate: float, options: BlockOptions
    ) -> Iterator[BlockStack]:
        """The blocks of each stage in turn, on the map that has positions; every second block is shifted.

        Stages are built when they are asked for: what a network makes between two of them draws its initial weights
        there.

        Args:
            width: Channels of the first stage.
            depths: Number of blocks in each stage.
            num_heads: Number of heads in each stage.
            drop_path_rate: Stochastic depth of the last block; grows linearly from 0 over all blocks.
            options: What the blocks have in common.

        Raises:
            ArgumentError: If stages and heads differ in number, a map cannot be halved, or a value is impossible.
        """
        if not depths or len(depths) != len(num_heads):
            message = f"depths and num_heads need one entry per stage, got {list(depths)} and {list(num_heads)}"
            raise ArgumentError("num_heads", message)
        check_rate(drop_path_rate=drop_path_rate)
        size, last = self.grid_size, max(1, sum(depths) - 1)
        rates = (drop_path_rate * index / last for index in range(sum(depths)))
        for stage, (depth, heads) in enumerate(zip(depths, num_heads)):
            check_positive(depths=depth)
            if self.merges_tokens and stage > 0:
                rows, cols = size
                if rows % 2 or cols % 2:
                    message = f"the map of {rows}x{cols} tokens in stage {stage} cannot be halved for stage {stage + 1}"
                    raise ArgumentError("img_size", f"{message}; change img_size or patch_size, or use fewer stages")
                size, width = (rows // 2, cols // 2), width * 2
            blocks = (SwinBlock(width, size, heads, index % 2 == 1, next(rates), options) for index in range(depth))
            yield BlockStack(blocks)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        name = prefix + "absolute_pos_embed"
        if self.absolute_pos_embed is not None and name in state_dict:
            state_dict[name] = resize_square_map(state_dict[name][0], self.grid_size)[None]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
