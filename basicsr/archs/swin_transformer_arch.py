"""Swin Transformer (arXiv 2103.14030) as a discriminator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images, double_backward, needs_double_backward, to_2tuple
from basicsr.archs.recomputation import recompute_blocks
from basicsr.archs.swin_blocks import (
    SwinNetwork,
    init_transformer_weights,
)
from basicsr.archs.window_attention import BlockOptions, NormLayer
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


class PatchEmbed(nn.Module):
    """Turns each patch of an image into a token.

    Args:
        patch_size: Side of a patch in pixels.
        in_chans: Channels of the image.
        embed_dim: Channels of a token.
        norm_layer: Makes the norm of tokens.
    """

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)
        self.norm = norm_layer(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, H / patch_size, W / patch_size, embed_dim)``."""
        # The convolution's strides do not overlap: as a matrix product its backward pass takes a sixth of the time.
        batch, channels, height, width = x.shape
        p = self.patch_size
        squares = x.reshape(batch, channels, height // p, p, width // p, p)
        patches = squares.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return self.norm(F.linear(patches, self.proj.weight.flatten(1), self.proj.bias))


class PatchMerging(nn.Module):
    """Joins each square of 2x2 tokens into one of twice the channels."""

    def __init__(self, dim: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to ``(B, H / 2, W / 2, 2·C)``."""
        squares = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        # Published weights expect the four tokens column by column.
        return self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))


@ARCH_REGISTRY.register()
class SwinTransformer(SwinNetwork):
    """Scores images: patch embedding, stages of (shifted) window attention, mean over tokens, a 1x1 head.

    A state dict saved for another image or window size loads strictly: relative-position tables and absolute position
    embeddings are resized bicubically, index and mask buffers are rebuilt. The caller's dict is not changed.

    Where image and parameters both require gradients (a gradient penalty), attention runs on twice differentiable
    operations; elsewhere on the fused kernels. ``with double_backward():`` asks for the former, ``single_backward()``
    for the latter.

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
        use_checkpoint: Have blocks drop what they compute in between, see :func:`recompute_blocks`.
        fused_window_process: Accepted for old option files; has no effect.
        patch_output: Score each token instead of their mean.

    Raises:
        ArgumentError: If sizes do not fit together or a value is impossible.
    """

    merges_tokens = True
    judges_images_alone = True

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
        self.img_size = to_2tuple(img_size, "img_size")
        check_positive(in_chans=in_chans, embed_dim=embed_dim, patch_size=patch_size, img_size=min(self.img_size))
        self.patch_output = patch_output
        options = BlockOptions(window_size, mlp_ratio, qkv_bias, qk_scale, drop_rate, attn_drop_rate, norm_layer)
        height, width = self.img_size
        if height % patch_size or width % patch_size:
            raise ArgumentError("patch_size", f"patch_size {patch_size} does not divide img_size {height}x{width}")
        grid_size = (height // patch_size, width // patch_size)

        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim, norm_layer if patch_norm else nn.Identity)
        self.add_positions(grid_size, embed_dim, ape, drop_rate)
        self.layers = nn.ModuleList()
        channels = embed_dim
        for blocks in self.build_stages(embed_dim, depths, num_heads, drop_path_rate, options):
            self.layers.append(nn.Sequential(OrderedDict(blocks=blocks)))
            if len(self.layers) < len(depths):
                self.layers[-1].add_module("downsample", PatchMerging(channels, norm_layer))
                channels *= 2
        self.norm = norm_layer(channels)
        self.head = nn.Conv1d(channels, num_classes, 1) if num_classes > 0 else nn.Identity()
        self.apply(init_transformer_weights)
        if use_checkpoint:
            recompute_blocks(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features of images ``(B, C, H, W)``: ``(B, channels, 1)``, or ``(B, channels, tokens)`` for patch output."""
        check_images(x, self.patch_embed.proj.in_channels, type(self).__name__, size=self.img_size)
        tokens = self.embed_positions(self.patch_embed(x))
        is_penalty = needs_double_backward(x, self.patch_embed.proj.weight)
        with double_backward() if is_penalty else nullcontext():
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
