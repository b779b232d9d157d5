"""The small VGG-style generator of Real-ESRGAN."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images
from basicsr.archs.srresnet_arch import check_added_channels
from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


def _build_activation(act_type: str, num_feat: int) -> nn.Module:
    if act_type == "prelu":
        return nn.PReLU(num_parameters=num_feat)
    if act_type == "leakyrelu":
        return nn.LeakyReLU(negative_slope=0.1, inplace=True)
    return nn.ReLU(inplace=True)


@ARCH_REGISTRY.register()
class SRVGGNetCompact(nn.Module):
    """A plain stack of convolutions at input size, one pixel shuffle, and the nearest-enlarged input added.

    Args:
        num_in_ch: Channels of the input image; 1 or ``num_out_ch``.
        num_out_ch: Channels of the output image.
        num_feat: Width of the stack.
        num_conv: Number of convolutions between the first and the last.
        upscale: Factor, at least 1.
        act_type: ``relu``, ``prelu`` or ``leakyrelu``.

    Raises:
        ArgumentError: If the activation is unknown or a number is not positive.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: Literal["relu", "prelu", "leakyrelu"] = "prelu",
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat, upscale=upscale)
        if num_conv < 0:
            raise ArgumentError("num_conv", f"num_conv must not be negative, got {num_conv}")
        check_added_channels(num_in_ch, num_out_ch, "SRVGGNetCompact")
        check_choice("act_type", act_type, ("relu", "prelu", "leakyrelu"))
        self.num_in_ch = num_in_ch
        self.upscale = upscale
        self.body = nn.ModuleList([nn.Conv2d(num_in_ch, num_feat, 3, 1, 1), _build_activation(act_type, num_feat)])
        for _ in range(num_conv):
            self.body.extend([nn.Conv2d(num_feat, num_feat, 3, 1, 1), _build_activation(act_type, num_feat)])
        self.body.append(nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(upscale)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, upscale·H, upscale·W)``."""
        check_images(x, self.num_in_ch, "SRVGGNetCompact")
        out = x
        for layer in self.body:
            out = layer(out)
        return self.upsampler(out) + F.interpolate(x, scale_factor=self.upscale, mode="nearest")
