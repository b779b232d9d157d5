"""Swin Transformer (arXiv 2103.14030) as a discriminator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import (
    check_images,
    check_positive,
    check_rate,
    double_backward,
    to_2tuple,
    trunc_normal_,
    wants_double_backward,
)
from basicsr.archs.swin_blocks import NormLayer, build_blocks, init_transformer_weights, run_blocks, spread_drop_path
from basicsr.utils.registry import ARCH_REGISTRY


class PatchEmbed(nn.Module):
    """Turns each patch of an image into a token.

    Args:
        patch_size: Side of a patch in pixels.
        in_chans: Channels of the image.
        embed_dim: Channels of a token.
        norm_layer: Makes the norm of tokens; ``None`` for none.
    """

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int, norm_layer: NormLayer | None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)
        self.norm = norm_layer(embed_dim) if norm_layer is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, H / patch_size, W / patch_size, embed_dim)``."""
        tokens = self.proj(x).permute(0, 2, 3, 1)
        return tokens if self.norm is None else self.norm(tokens)


class PatchMerging(nn.Module):
    """Joins each square of 2x2 tokens into one of twice the channels."""

    def __init__(self, dim: int, norm_layer: NormLayer = nn.LayerNorm) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to ``(B, H / 2, W / 2, 2·C)``."""
        squares = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        # Published weights expect the four tokens column by column.
        return self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class SwinStage(nn.Module):
    """Blocks at one resolution, then patch merging unless it is the last stage."""

    def __init__(self, blocks: nn.ModuleList, downsample: PatchMerging | None, use_checkpoint: bool) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample = downsample
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> Tensor:
        x = run_blocks(self.blocks, x, None, self.use_checkpoint)
        return x if self.downsample is None else self.downsample(x)


@ARCH_REGISTRY.register()
class SwinTransformer(nn.Module):
    """Scores images: patch embedding, stages of (shifted) window attention, mean over tokens, a 1x1 head.

    A state dict saved for another image or window size loads strictly: relative-position tables and absolute position
    embeddings are resized bicubically, index and mask buffers are rebuilt. The caller's dict is not changed.

    Where image and parameters both require gradients (a gradient penalty), attention runs on twice differentiable
    operations; elsewhere on the fused kernels. ``with double_backward():`` asks for the former.

    Args:
        img_size: Height and width of the images, or one number for both.
        patch_size: Side of a patch; divides ``img_size``.
        in_chans: Channels of the images.
        num_classes: Number of scores; 0 leaves out the head.
        embed_dim: Channels of the first stage; doubled by each further one.
        depths: Number of blocks in each stage.
        num_heads: Number of heads in each stage.
        window_size: Side of a window in tokens; shrinks to the map where it is larger.
        mlp_ratio: Hidden width of the MLPs, relative to the channels.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on the attention logits; ``None`` for the square root rule.
        drop_rate: Dropout of tokens and features.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0.
        norm_layer: Makes a norm for a number of channels.
        ape: Add a learned absolute position embedding.
        patch_norm: Norm after patch embedding.
        use_checkpoint: Recompute activations in the backward pass to save memory.
        fused_window_process: Accepted for old option files; has no effect.
        patch_output: Score each token instead of their mean.

    Raises:
        ValueError: If sizes do not fit together.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        norm_layer: NormLayer = nn.LayerNorm,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        fused_window_process: bool = False,
        patch_output: bool = False,
    ) -> None:
        super().__init__()
        self.img_size = to_2tuple(img_size)
        check_positive(in_chans=in_chans, embed_dim=embed_dim, patch_size=patch_size, img_size=min(self.img_size))
        check_rate(drop_rate=drop_rate)
        self.in_chans = in_chans
        self.patch_output = patch_output
        maps = plan_maps(self.img_size, patch_size, depths, num_heads)
        rates = spread_drop_path(drop_path_rate, list(depths))
        widths = [embed_dim * 2**stage for stage in range(len(depths))]

        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim, norm_layer if patch_norm else None)
        self.grid_size = maps[0]
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, maps[0][0] * maps[0][1], embed_dim))
            trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(drop_rate)
        self.layers = nn.ModuleList()
        for stage, (depth, heads, width) in enumerate(zip(depths, num_heads, widths)):
            blocks = build_blocks(
                depth,
                width,
                maps[stage],
                window_size,
                rates[stage],
                num_heads=heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                drop=drop_rate,
                attn_drop=attn_drop_rate,
                norm_layer=norm_layer,
            )
            merging = PatchMerging(width, norm_layer) if stage + 1 < len(depths) else None
            self.layers.append(SwinStage(blocks, merging, use_checkpoint))
        self.norm = norm_layer(widths[-1])
        self.head = nn.Conv1d(widths[-1], num_classes, 1) if num_classes > 0 else nn.Identity()
        self.apply(init_transformer_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features of images ``(B, C, H, W)``: ``(B, channels, 1)``, or ``(B, channels, tokens)`` for patch output."""
        check_images(x, self.in_chans, type(self).__name__, size=self.img_size)
        tokens = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            tokens = tokens + self.absolute_pos_embed.view(1, *self.grid_size, -1)
        tokens = self.pos_drop(tokens)
        differentiable = wants_double_backward(x, self.patch_embed.proj.weight)
        with double_backward() if differentiable else nullcontext():
            for stage in self.layers:
                tokens = stage(tokens)
        tokens = self.norm(tokens).flatten(1, 2).transpose(1, 2)
        return tokens if self.patch_output else tokens.mean(2, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, in_chans, H, W)`` of the size that the network is built for.

        Returns:
            ``(B, num_classes, 1)``, or ``(B, num_classes, tokens of the last stage)`` with ``patch_output``.

        Raises:
            ValueError: If the shape is another.
        """
        return self.head(self.forward_features(x))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adapted = dict(state_dict)
        name = prefix + "absolute_pos_embed"
        if self.absolute_pos_embed is not None and name in adapted:
            adapted[name] = resize_position_embedding(adapted[name], self.grid_size)
        super()._load_from_state_dict(adapted, prefix, *args, **kwargs)


def plan_maps(
    img_size: tuple[int, int], patch_size: int, depths: Sequence[int], num_heads: Sequence[int]
) -> list[tuple[int, int]]:
    """Rows and columns of the token map in each stage.

    Raises:
        ValueError: If patches do not tile the image, stages and heads differ in number, or a map cannot be halved.
    """
    if not depths or len(depths) != len(num_heads):
        raise ValueError(f"depths and num_heads need one entry per stage, got {list(depths)} and {list(num_heads)}")
    if any(size % patch_size for size in img_size):
        raise ValueError(f"patch_size {patch_size} does not divide img_size {img_size[0]}x{img_size[1]}")
    maps = [(img_size[0] // patch_size, img_size[1] // patch_size)]
    for stage in range(1, len(depths)):
        rows, cols = maps[-1]
        if rows % 2 or cols % 2:
            raise ValueError(
                f"the map of {rows}x{cols} tokens in stage {stage} cannot be halved for stage {stage + 1}; "
                "change img_size or patch_size, or use fewer stages"
            )
        maps.append((rows // 2, cols // 2))
    return maps


def resize_position_embedding(embedding: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Resizes an absolute position embedding ``(1, tokens, C)`` of a square map bicubically to another map.

    An embedding that fits already, or whose map is not known to be square, is returned as it is.
    """
    tokens = embedding.shape[1]
    side = math.isqrt(tokens)
    if tokens == grid_size[0] * grid_size[1] or side * side != tokens:
        return embedding
    grid = embedding.float().transpose(1, 2).unflatten(2, (side, side))
    resized = F.interpolate(grid, size=grid_size, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(embedding.dtype)
