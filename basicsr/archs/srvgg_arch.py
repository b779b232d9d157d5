"""The small VGG-style generator of Real-ESRGAN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images
from basicsr.archs.srresnet_arch import check_added_channels
from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


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
        activations: dict[str, Callable[[], nn.Module]] = {
            "relu": partial(nn.ReLU, inplace=True),
            "prelu": partial(nn.PReLU, num_feat),
            "leakyrelu": partial(nn.LeakyReLU, 0.1, inplace=True),
        }
        check_choice("act_type", act_type, activations)
        self.num_in_ch = num_in_ch
        self.upscale = upscale
        self.body = nn.Sequential()
        for width in [num_in_ch] + num_conv * [num_feat]:
            self.body.extend([nn.Conv2d(width, num_feat, 3, 1, 1), activations[act_type]()])
        self.body.append(nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(upscale)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, upscale·H, upscale·W)``."""
        check_images(x, self.num_in_ch, "SRVGGNetCompact")
        return self.upsampler(self.body(x)) + F.interpolate(x, scale_factor=self.upscale, mode="nearest")
