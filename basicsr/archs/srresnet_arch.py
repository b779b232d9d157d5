"""SRResNet without batch normalisation."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import ResidualBlockNoBN, check_images, default_init_weights, make_layer
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


def check_added_channels(
    num_in_ch: int, num_out_ch: int, owner: str, names: tuple[str, str] = ("num_in_ch", "num_out_ch")
) -> None:
    """Raises ArgumentError unless the input can be added to the output of a residual network."""
    if num_in_ch not in (1, num_out_ch):
        rule = f"{owner} adds its input to its output: {names[0]} must be 1 or equal {names[1]}"
        raise ArgumentError(names[0], f"{rule}, got {num_in_ch} and {num_out_ch}")


@ARCH_REGISTRY.register()
class MSRResNet(nn.Module):
    """SRResNet (arXiv 1609.04802) as modified for ESRGAN: no batch norm, bilinear skip connection.

    Args:
        num_in_ch: Channels of the input image; 1 or ``num_out_ch``.
        num_out_ch: Channels of the output image.
        num_feat: Width of the trunk.
        num_block: Number of residual blocks.
        upscale: 2, 3 or 4.

    Raises:
        ArgumentError: If the scale is another, or a number is not positive.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (ResidualBlockNoBN,)

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 16, upscale: int = 4
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat, num_block=num_block)
        check_added_channels(num_in_ch, num_out_ch, "MSRResNet")
        if upscale not in (2, 3, 4):
            raise ArgumentError("upscale", f"MSRResNet is defined for upscale 2, 3 and 4, got {upscale!r}")
        self.upscale = upscale
        factor = 3 if upscale == 3 else 2
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = make_layer(ResidualBlockNoBN, num_block, num_feat=num_feat)
        self.upconv1 = nn.Conv2d(num_feat, num_feat * factor**2, 3, 1, 1)
        self.upconv2 = nn.Conv2d(num_feat, num_feat * factor**2, 3, 1, 1) if upscale == 4 else None
        self.pixel_shuffle = nn.PixelShuffle(factor)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.1, inplace=True)
        default_init_weights([conv for conv in (self.conv_first, self.upconv1, self.upconv2, self.conv_hr) if conv])
        default_init_weights(self.conv_last, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, upscale·H, upscale·W)``."""
        check_images(x, self.conv_first.in_channels, "MSRResNet")
        features = self.body(self.lrelu(self.conv_first(x)))
        features = self.lrelu(self.pixel_shuffle(self.upconv1(features)))
        if self.upconv2 is not None:
            features = self.lrelu(self.pixel_shuffle(self.upconv2(features)))
        residual = self.conv_last(self.lrelu(self.conv_hr(features)))
        return residual + F.interpolate(x, scale_factor=self.upscale, mode="bilinear", align_corners=False)
