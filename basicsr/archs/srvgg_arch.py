"""The small VGG-style generator of Real-ESRGAN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images
from basicsr.archs.srresnet_arch import check_added_channels
from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

_SLOPE = 0.25
"""Of PReLU for negative values, at first."""

_OTHERS = 0.1
"""Of their random size, the last weights of features that interpolation leaves alone."""


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
        init: ``random`` weights, with which it begins as nearest-neighbour enlargement and noise; or ``bilinear``, with
            which it begins as about bilinear interpolation, so that a short training leaves no blocks.

    Raises:
        ArgumentError: If the activation or ``init`` is unknown, a number is not positive, or there are fewer features
            than channels that ``bilinear`` passes through.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: Literal["relu", "prelu", "leakyrelu"] = "prelu",
        init: Literal["random", "bilinear"] = "random",
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
        check_choice("init", init, ("random", "bilinear"))
        if init == "bilinear":
            if num_feat < num_in_ch:
                raise ArgumentError("num_feat", f"init bilinear passes {num_in_ch} channels on; num_feat is {num_feat}")
            self._interpolate()

    @torch.no_grad()
    def _interpolate(self) -> None:
        """Lets the first features be the image, of which the last convolution makes what nearest neighbours lack."""
        *convs, last = [layer for layer in self.body if isinstance(layer, nn.Conv2d)]
        for conv in (*convs, last):
            nn.init.kaiming_normal_(conv.weight, a=_SLOPE)
            conv.bias.zero_()  # type: ignore[union-attr]
        # No activation changes an image, which has no negative values; what it becomes later, PReLU leaves alone.
        for layer in self.body:
            if isinstance(layer, nn.PReLU):
                layer.weight[: self.num_in_ch] = 1
        for conv in convs:
            nn.init.dirac_(conv.weight[: self.num_in_ch])
        last.weight *= _OTHERS
        # The response to one bright pixel: 9 blocks of outputs, the block at offset (dy, dx) by the tap (-dy, -dx).
        pixel = torch.zeros(1, 1, 3, 3)
        pixel[0, 0, 1, 1] = 1
        bilinear, nearest = (
            F.interpolate(pixel, scale_factor=self.upscale, mode=mode) for mode in ("bilinear", "nearest")
        )
        taps = F.pixel_unshuffle(bilinear - nearest, self.upscale)[0].flip(1, 2)
        last.weight[:, : self.num_in_ch] = 0
        for channel, weight in enumerate(last.weight.unflatten(0, (-1, len(taps)))):
            weight[:, channel % self.num_in_ch] = taps

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, upscale·H, upscale·W)``."""
        check_images(x, self.num_in_ch, "SRVGGNetCompact")
        return self.upsampler(self.body(x)) + F.interpolate(x, scale_factor=self.upscale, mode="nearest")
