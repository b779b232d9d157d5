"""RCAN: residual channel attention (arXiv 1807.02758)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from basicsr.archs.arch_util import RGB_MEAN, make_layer
from basicsr.archs.edsr_arch import ResidualNetwork
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


class ChannelAttention(nn.Module):
    """Weighs each channel by a number in (0, 1) that two 1×1 convolutions make of the means of all channels.

    Args:
        num_feat: Number of channels.
        squeeze_factor: Share of them that stays between the two convolutions is one to this.
    """

    def __init__(self, num_feat: int, squeeze_factor: int = 16) -> None:
        super().__init__()
        width = num_feat // squeeze_factor
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(num_feat, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class RCAB(nn.Module):
    """``x + res_scale · attention(conv(relu(conv(x))))``."""

    def __init__(self, num_feat: int, squeeze_factor: int = 16, res_scale: float = 1) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.rcab = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, 1, 1),
            ChannelAttention(num_feat, squeeze_factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rcab(x) * self.res_scale


class ResidualGroup(nn.Module):
    """``num_block`` attention blocks and a convolution within a residual connection."""

    def __init__(self, num_feat: int, num_block: int, squeeze_factor: int = 16, res_scale: float = 1) -> None:
        super().__init__()
        block = partial(RCAB, num_feat, squeeze_factor, res_scale)
        self.residual_group = make_layer(block, num_block)
        self.conv = nn.Conv2d(num_feat, num_feat, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.residual_group(x))


@ARCH_REGISTRY.register()
class RCAN(ResidualNetwork):
    """Groups of residual blocks that weigh their channels.

    Args:
        num_in_ch: Channels of the input image.
        num_out_ch: Channels of the output image.
        num_feat: Width of the trunk; at least ``squeeze_factor``.
        num_group: Number of groups.
        num_block: Number of attention blocks in a group.
        squeeze_factor: By how much the attention narrows the channels.
        upscale: 3 or a power of 2.
        res_scale: Factor of the blocks' residual branches.
        img_range: Images are multiplied by it on the way in and divided on the way out.
        rgb_mean: Subtracted from images of three channels on the way in and added on the way out.

    Raises:
        ArgumentError: If a number is not positive, the scale is another, or there are not three means.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (RCAB,)

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        num_feat: int = 64,
        num_group: int = 10,
        num_block: int = 16,
        squeeze_factor: int = 16,
        upscale: int = 4,
        res_scale: float = 1,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = RGB_MEAN,
    ) -> None:
        check_positive(num_feat=num_feat, num_group=num_group, num_block=num_block, squeeze_factor=squeeze_factor)
        if squeeze_factor > num_feat:
            rule = f"squeeze_factor {squeeze_factor} leaves none of the {num_feat} channels of num_feat"
            raise ArgumentError("squeeze_factor", rule)
        group = partial(ResidualGroup, num_feat, num_block, squeeze_factor, res_scale)
        body = partial(make_layer, group, num_group)
        super().__init__(body, num_in_ch, num_out_ch, num_feat, upscale, img_range, rgb_mean)
