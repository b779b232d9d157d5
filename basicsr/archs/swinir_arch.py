"""SwinIR: image restoration by shifted-window attention (arXiv 2108.10257)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from basicsr.archs.arch_util import (
    NEGATIVE_SLOPE,
    RGB_MEAN,
    Upsample,
    channel_mean,
    check_images,
    convolve_enlarged,
    double_backward,
    leaky_relu,
    split_scale,
    to_2tuple,
)
from basicsr.archs.recomputation import recompute_blocks
from basicsr.archs.swin_blocks import (
    BlockStack,
    SwinNetwork,
    init_transformer_weights,
)
from basicsr.archs.window_attention import BlockOptions, NormLayer, build_shift_mask
from basicsr.processing.filters import extend_by_reflection
from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

UPSAMPLING_WIDTH = 64

Upsampler = Literal["", "pixelshuffle", "pixelshuffledirect", "nearest+conv"]
Connection = Literal["1conv", "3conv"]


def _build_connection(kind: str, dim: int) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(dim, dim, 3, 1, 1)
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, 1, 1),
        nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        nn.Conv2d(dim // 4, dim, 3, 1, 1),
    )


class ResidualSwinGroup(nn.Module):
    """Swin blocks and a convolution within a residual connection, on maps ``(B, H, W, C)``."""

    def __init__(self, blocks: BlockStack, conv: nn.Module) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": blocks})
        self.conv = conv

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.residual_group["blocks"](x, mask)
        return x + self.conv(attended.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@ARCH_REGISTRY.register()
class SwinIR(SwinNetwork):
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
        use_checkpoint: Have blocks drop what they compute in between, see :func:`recompute_blocks`.
        upscale: Factor.
        img_range: Images are multiplied by it on the way in and divided on the way out.
        upsampler: ``pixelshuffle`` (classical), ``pixelshuffledirect`` (lightweight), ``nearest+conv`` (real-world,
            upscale 2 or 4), or empty for restoration at the same size.
        resi_connection: ``1conv``, or ``3conv`` to save parameters.

    Raises:
        ArgumentError: If sizes do not fit together or an option has an unknown value.
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
        self.img_size = to_2tuple(img_size, "img_size")
        check_positive(in_chans=in_chans, embed_dim=embed_dim, upscale=upscale, img_size=min(self.img_size))
        check_choice("patch_size", patch_size, (1,))
        check_choice("resi_connection", resi_connection, get_args(Connection))
        check_choice("upsampler", upsampler, get_args(Upsampler))
        if upsampler == "" and upscale != 1:
            choices = "pixelshuffle, pixelshuffledirect or nearest+conv"
            raise ArgumentError("upscale", f"upscale {upscale} needs an upsampler: {choices}")
        if upsampler == "nearest+conv" and upscale not in (2, 4):
            raise ArgumentError("upscale", f"upsampler nearest+conv is defined for upscale 2 and 4, got {upscale}")
        if upsampler == "pixelshuffle":
            split_scale("upscale", upscale)
        if resi_connection == "3conv" and embed_dim < 4:
            raise ArgumentError("embed_dim", f"resi_connection 3conv needs embed_dim of at least 4, got {embed_dim}")
        if not img_range > 0:
            raise ArgumentError("img_range", f"img_range must be positive, got {img_range!r}")
        options = BlockOptions(window_size, mlp_ratio, qkv_bias, qk_scale, drop_rate, attn_drop_rate, norm_layer)
        self.window_size = self.size_multiple = min(window_size, *self.img_size)
        self.img_range = img_range
        self.upscale = upscale
        self.upsampler = upsampler
        self.register_buffer("mean", channel_mean(RGB_MEAN, in_chans), persistent=False)

        self.conv_first = nn.Conv2d(in_chans, embed_dim, 3, 1, 1)
        # The norm of shallow features, under its published name.
        self.patch_embed = nn.Sequential(OrderedDict(norm=norm_layer(embed_dim) if patch_norm else nn.Identity()))
        self.add_positions(self.img_size, embed_dim, ape, drop_rate)
        self.layers = nn.ModuleList()
        for blocks in self.build_stages(embed_dim, depths, num_heads, drop_path_rate, options):
            self.layers.append(ResidualSwinGroup(blocks, _build_connection(resi_connection, embed_dim)))
        self.norm = norm_layer(embed_dim)
        self.conv_after_body = _build_connection(resi_connection, embed_dim)

        # Reconstruction: a residual, or an enlarged image.
        width = UPSAMPLING_WIDTH if upsampler in ("pixelshuffle", "nearest+conv") else embed_dim
        if upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(nn.Conv2d(width, in_chans * upscale**2, 3, 1, 1), nn.PixelShuffle(upscale))
        elif upsampler:
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(embed_dim, width, 3, 1, 1), nn.LeakyReLU(inplace=True))
        if upsampler == "pixelshuffle":
            self.upsample = Upsample(upscale, width)
        elif upsampler == "nearest+conv":
            for step in range(1, upscale // 2 + 1):
                self.add_module(f"conv_up{step}", nn.Conv2d(width, width, 3, 1, 1))
            self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        if upsampler != "pixelshuffledirect":
            self.conv_last = nn.Conv2d(width, in_chans, 3, 1, 1)
        self.apply(init_transformer_weights)
        if use_checkpoint:
            recompute_blocks(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """The trunk: features ``(B, embed_dim, H, W)`` to the same shape; the window divides ``H`` and ``W``."""
        height, width = x.shape[-2:]
        mask = None
        if (height, width) != self.img_size:
            mask = build_shift_mask(height, width, self.window_size, self.window_size // 2, x.device)
        tokens = self.embed_positions(self.patch_embed(x.permute(0, 2, 3, 1)))
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.norm(tokens).permute(0, 3, 1, 2)

    def no_weight_decay(self) -> set[str]:
        """Parameters that optimizers with weight decay had better leave alone."""
        return {"absolute_pos_embed"}

    def no_weight_decay_keywords(self) -> set[str]:
        """The same by a part of their names."""
        return {"relative_position_bias_table"}

    def flops(self) -> int:
        """Multiply-accumulate operations for one image of ``img_size``."""
        # The fused attention kernels are not counted on every device.
        with FlopCounterMode(display=False) as counter, torch.no_grad(), double_backward():
            self(self.get_buffer("mean").new_zeros(1, self.conv_first.in_channels, *self.img_size))
        return int(counter.get_total_flops() // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Restores images ``(B, in_chans, H, W)`` as ``(B, in_chans, upscale·H, upscale·W)``.

        Raises:
            ValueError: If the number of channels differs, or with ``ape`` the size.
        """
        fixed_size = self.img_size if self.absolute_pos_embed is not None else None
        check_images(x, self.conv_first.in_channels, type(self).__name__, size=fixed_size)
        height, width = x.shape[-2:]
        mean = self.get_buffer("mean").to(x.dtype)
        scaled = extend_by_reflection((x - mean) * self.img_range, self.window_size)
        shallow = self.conv_first(scaled)
        deep = shallow + self.conv_after_body(self.forward_features(shallow))
        if self.upsampler == "":
            restored = scaled + self.conv_last(deep)
        elif self.upsampler == "pixelshuffledirect":
            restored = self.upsample(deep)
        elif self.upsampler == "pixelshuffle":
            restored = self.conv_last(self.upsample(self.conv_before_upsample(deep)))
        else:
            features = self.conv_before_upsample(deep)
            for step in range(1, self.upscale // 2 + 1):
                features = leaky_relu(convolve_enlarged(features, getattr(self, f"conv_up{step}")))
            restored = self.conv_last(leaky_relu(self.conv_hr(features)))
        return restored[..., : height * self.upscale, : width * self.upscale] / self.img_range + mean
