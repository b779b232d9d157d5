"""SwinIR: image restoration by shifted-window attention (arXiv 2108.10257)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import (
    Upsample,
    check_choice,
    check_images,
    check_positive,
    check_rate,
    to_2tuple,
    trunc_normal_,
)
from basicsr.archs.swin_blocks import (
    NormLayer,
    build_blocks,
    init_transformer_weights,
    run_blocks,
    spread_drop_path,
)
from basicsr.archs.swin_transformer_arch import resize_position_embedding
from basicsr.archs.window_attention import build_shift_mask
from basicsr.utils.registry import ARCH_REGISTRY

RGB_MEAN = (0.4488, 0.4371, 0.4040)
UPSAMPLING_WIDTH = 64

Upsampler = Literal["", "pixelshuffle", "pixelshuffledirect", "nearest+conv"]
Connection = Literal["1conv", "3conv"]


def _build_connection(kind: str, dim: int) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(dim, dim, 3, 1, 1)
    if dim < 4:
        raise ValueError(f"resi_connection 3conv needs embed_dim of at least 4, got {dim}")
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, 1, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(dim // 4, dim, 3, 1, 1),
    )


def _convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class _BlockGroup(nn.Module):
    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.blocks = blocks


class ResidualSwinGroup(nn.Module):
    """Swin blocks and a convolution within a residual connection, on maps ``(B, H, W, C)``."""

    def __init__(self, blocks: nn.ModuleList, conv: nn.Module, use_checkpoint: bool) -> None:
        super().__init__()
        self.residual_group = _BlockGroup(blocks)
        self.conv = conv
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attended = run_blocks(self.residual_group.blocks, x, mask, self.use_checkpoint)
        return x + _convolve_tokens(self.conv, attended)


class _TokenNorm(nn.Module):
    """The norm of shallow features, under its published name."""

    def __init__(self, norm: nn.Module | None) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


@ARCH_REGISTRY.register()
class SwinIR(nn.Module):
    """Restores or enlarges images of any size.

    Sides that the window does not divide are padded by reflection and the result is cropped. State-dict names are those
    of the published files (classical ×2…×4, lightweight, real-world); files saved for another training size or window
    load strictly.

    Args:
        img_size: Height and width in training, in pixels; its multiples of the window need no new attention mask.
        patch_size: Must be 1.
        in_chans: Channels of the images.
        embed_dim: Channels of the trunk.
        depths: Number of blocks in each group.
        num_heads: Number of heads in each group.
        window_size: Side of a window; divides ``img_size``.
        mlp_ratio: Hidden width of the MLPs, relative to the channels.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on the attention logits; ``None`` for the square root rule.
        drop_rate: Dropout of tokens and features.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0.
        norm_layer: Makes a norm for a number of channels.
        ape: Add a learned absolute position embedding; images must then have ``img_size``.
        patch_norm: Norm of the shallow features.
        use_checkpoint: Recompute activations in the backward pass to save memory.
        upscale: Factor.
        img_range: Images are multiplied by it on the way in and divided on the way out.
        upsampler: ``pixelshuffle`` (classical), ``pixelshuffledirect`` (lightweight), ``nearest+conv`` (real-world,
            upscale 2 or 4), or empty for restoration at the same size.
        resi_connection: ``1conv``, or ``3conv`` to save parameters.

    Raises:
        ValueError: If sizes do not fit together or an option has an unknown value.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 8,
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
        upscale: int = 1,
        img_range: float = 1.0,
        upsampler: Upsampler = "",
        resi_connection: Connection = "1conv",
    ) -> None:
        super().__init__()
        self.img_size = to_2tuple(img_size)
        check_positive(in_chans=in_chans, embed_dim=embed_dim, window_size=window_size, img_size=min(self.img_size))
        check_choice("patch_size", patch_size, (1,))
        check_choice("resi_connection", resi_connection, ("1conv", "3conv"))
        check_rate(drop_rate=drop_rate)
        if not depths or len(depths) != len(num_heads):
            raise ValueError(f"depths and num_heads need one entry per group, got {list(depths)} and {list(num_heads)}")
        if not img_range > 0:
            raise ValueError(f"img_range must be positive, got {img_range!r}")
        self.in_chans = in_chans
        self.window_size = min(window_size, *self.img_size)
        self.img_range = img_range
        self.upscale = upscale
        self.mean: Tensor
        mean = torch.tensor(RGB_MEAN) if in_chans == 3 else torch.zeros(in_chans)
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)

        self.conv_first = nn.Conv2d(in_chans, embed_dim, 3, 1, 1)
        self.patch_embed = _TokenNorm(norm_layer(embed_dim) if patch_norm else None)
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.img_size[0] * self.img_size[1], embed_dim))
            trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(drop_rate)
        self.layers = nn.ModuleList()
        for depth, heads, rates in zip(depths, num_heads, spread_drop_path(drop_path_rate, list(depths))):
            blocks = build_blocks(
                depth,
                embed_dim,
                self.img_size,
                window_size,
                rates,
                num_heads=heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                drop=drop_rate,
                attn_drop=attn_drop_rate,
                norm_layer=norm_layer,
            )
            connection = _build_connection(resi_connection, embed_dim)
            self.layers.append(ResidualSwinGroup(blocks, connection, use_checkpoint))
        self.norm = norm_layer(embed_dim)
        self.conv_after_body = _build_connection(resi_connection, embed_dim)
        self._build_upsampling(upsampler, upscale, embed_dim, in_chans)
        self.apply(init_transformer_weights)

    def _build_upsampling(self, upsampler: str, upscale: int, dim: int, channels: int) -> None:
        check_choice("upsampler", upsampler, ("", "pixelshuffle", "pixelshuffledirect", "nearest+conv"))
        check_positive(upscale=upscale)
        if upsampler == "" and upscale != 1:
            raise ValueError(f"upscale {upscale} needs an upsampler: pixelshuffle, pixelshuffledirect or nearest+conv")
        if upsampler == "nearest+conv" and upscale not in (2, 4):
            raise ValueError(f"upsampler nearest+conv is defined for upscale 2 and 4, got {upscale}")
        self.upsampler = upsampler
        width = UPSAMPLING_WIDTH
        if upsampler == "pixelshuffledirect":
            shuffle = nn.PixelShuffle(upscale)
            self.upsample = nn.Sequential(nn.Conv2d(dim, channels * upscale**2, 3, 1, 1), shuffle)
            return
        if upsampler == "":
            self.conv_last = nn.Conv2d(dim, channels, 3, 1, 1)
            return
        self.conv_before_upsample = nn.Sequential(nn.Conv2d(dim, width, 3, 1, 1), nn.LeakyReLU(inplace=True))
        if upsampler == "pixelshuffle":
            self.upsample = Upsample(upscale, width)
        else:
            self.conv_up1 = nn.Conv2d(width, width, 3, 1, 1)
            if upscale == 4:
                self.conv_up2 = nn.Conv2d(width, width, 3, 1, 1)
            self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_last = nn.Conv2d(width, channels, 3, 1, 1)

    def forward_features(self, x: Tensor) -> Tensor:
        """The trunk: features ``(B, embed_dim, H, W)`` to the same shape; the window divides ``H`` and ``W``."""
        height, width = x.shape[-2:]
        mask = None
        if (height, width) != self.img_size:
            mask = build_shift_mask(height, width, self.window_size, self.window_size // 2, x.device)
        tokens = self.patch_embed(x.permute(0, 2, 3, 1))
        if self.absolute_pos_embed is not None:
            tokens = tokens + self.absolute_pos_embed.view(1, height, width, -1)
        tokens = self.pos_drop(tokens)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.norm(tokens).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Restores images ``(B, in_chans, H, W)`` as ``(B, in_chans, upscale·H, upscale·W)``.

        Raises:
            ValueError: If the number of channels differs, or with ``ape`` the size.
        """
        fixed_size = self.img_size if self.absolute_pos_embed is not None else None
        check_images(x, self.in_chans, type(self).__name__, size=fixed_size)
        height, width = x.shape[-2:]
        mean = self.mean.to(x.dtype)
        scaled = pad_by_reflection((x - mean) * self.img_range, self.window_size)
        shallow = self.conv_first(scaled)
        deep = shallow + self.conv_after_body(self.forward_features(shallow))
        restored = scaled + self.conv_last(deep) if self.upsampler == "" else self._enlarge(deep)
        return restored[..., : height * self.upscale, : width * self.upscale] / self.img_range + mean

    def _enlarge(self, features: Tensor) -> Tensor:
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(features)
        features = self.conv_before_upsample(features)
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(features))
        for conv in (self.conv_up1, self.conv_up2) if self.upscale == 4 else (self.conv_up1,):
            features = _activate(conv(F.interpolate(features, scale_factor=2, mode="nearest")))
        return self.conv_last(_activate(self.conv_hr(features)))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        adapted = dict(state_dict)
        name = prefix + "absolute_pos_embed"
        if self.absolute_pos_embed is not None and name in adapted:
            adapted[name] = resize_position_embedding(adapted[name], self.img_size)
        super()._load_from_state_dict(adapted, prefix, *args, **kwargs)


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)


def pad_by_reflection(x: Tensor, multiple_of: int) -> Tensor:
    """Continues images to the right and below until sides are divisible; images of any size, down to one pixel."""
    for dim in (-2, -1):
        size = x.shape[dim]
        missing = -size % multiple_of
        if missing == 0:
            continue
        if missing < size:
            x = F.pad(x, (0, missing, 0, 0) if dim == -1 else (0, 0, 0, missing), mode="reflect")
        else:
            period = max(1, 2 * size - 2)
            position = torch.arange(size + missing, device=x.device) % period
            x = x.index_select(dim, torch.where(position < size, position, period - position))
    return x
