"""ECBSR: edge-oriented blocks for small devices (ACM MM 2021, doi 10.1145/3474085.3475291).

In training a block is a sum of branches, each of which is linear; evaluated, it is the one 3×3 convolution that they
add up to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images
from basicsr.archs.srresnet_arch import check_added_channels
from basicsr.utils.errors import ArgumentError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

Activation = Literal["prelu", "relu", "rrelu", "softplus", "linear"]

_EDGES = {
    "conv1x1-sobelx": [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]],
    "conv1x1-sobely": [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]],
    "conv1x1-laplacian": [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]],
}


class SeqConv3x3(nn.Module):
    """A 1×1 convolution followed by a 3×3 one: of free weights, or of an edge filter scaled for each channel.

    Args:
        seq_type: ``conv1x1-conv3x3``, ``conv1x1-sobelx``, ``conv1x1-sobely`` or ``conv1x1-laplacian``.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth_multiplier: Channels between two free convolutions, relative to those of the output.
    """

    def __init__(self, seq_type: str, in_channels: int, out_channels: int, depth_multiplier: float = 1) -> None:
        super().__init__()
        check_choice("seq_type", seq_type, ("conv1x1-conv3x3", *_EDGES))
        self.is_free = seq_type not in _EDGES
        width = int(out_channels * depth_multiplier) if self.is_free else out_channels
        first = nn.Conv2d(in_channels, width, 1)
        self.k0, self.b0 = first.parameters()
        if self.is_free:
            second = nn.Conv2d(width, out_channels, 3)
            self.k1, self.b1 = second.parameters()
        else:
            self.scale = nn.Parameter(torch.randn(out_channels, 1, 1, 1) * 1e-3)
            self.bias = nn.Parameter(torch.randn(out_channels) * 1e-3)
            self.register_buffer("mask", torch.tensor(_EDGES[seq_type]).repeat(out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images or features ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        # Zeros around the input, not around the features, so that one convolution can say the same.
        features = F.conv2d(x, self.k0, self.b0, padding=1)
        if self.is_free:
            return F.conv2d(features, self.k1, self.b1)
        return F.conv2d(features, self.scale * self.get_buffer("mask"), self.bias, groups=len(self.bias))

    def rep_params(self) -> tuple[Tensor, Tensor]:
        """Weight ``(out_channels, in_channels, 3, 3)`` and bias of the 3×3 convolution that does the same."""
        if self.is_free:
            weight = torch.einsum("omhw,mi->oihw", self.k1, self.k0[:, :, 0, 0])
            return weight, self.k1.sum((2, 3)) @ self.b0 + self.b1
        edges = self.scale * self.get_buffer("mask")
        return edges * self.k0, edges.sum((1, 2, 3)) * self.b0 + self.bias


class ECB(nn.Module):
    """Edge-oriented convolution block: a 3×3 convolution, an expanded one and three of edges, added up.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth_multiplier: Channels within the expanded branch, relative to those of the output.
        act_type: ``prelu``, ``relu``, ``rrelu``, ``softplus`` or ``linear``.
        with_idt: Add the input as well, where the channels are as many.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depth_multiplier: float,
        act_type: Activation = "prelu",
        with_idt: bool = False,
    ) -> None:
        super().__init__()
        activations: dict[str, Callable[[], nn.Module]] = {
            "prelu": partial(nn.PReLU, out_channels),
            "relu": partial(nn.ReLU, inplace=True),
            "rrelu": partial(nn.RReLU, -0.05, 0.05),
            "softplus": nn.Softplus,
            "linear": nn.Identity,
        }
        self.with_idt = with_idt and in_channels == out_channels
        self.conv3x3 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv1x1_3x3 = SeqConv3x3("conv1x1-conv3x3", in_channels, out_channels, depth_multiplier)
        self.conv1x1_sbx = SeqConv3x3("conv1x1-sobelx", in_channels, out_channels)
        self.conv1x1_sby = SeqConv3x3("conv1x1-sobely", in_channels, out_channels)
        self.conv1x1_lpl = SeqConv3x3("conv1x1-laplacian", in_channels, out_channels)
        self.act = activations[act_type]()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y = sum((branch(x) for branch in self._branches()), self.conv3x3(x))
            return self.act(y + x if self.with_idt else y)
        return self.act(F.conv2d(x, *self.rep_params(), padding=1))

    def rep_params(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one 3×3 convolution that all branches add up to."""
        weights, biases = zip((self.conv3x3.weight, self.conv3x3.bias), *(b.rep_params() for b in self._branches()))
        weight = sum(weights)
        return weight + nn.init.dirac_(torch.empty_like(weight)) if self.with_idt else weight, sum(biases)

    def _branches(self) -> tuple[SeqConv3x3, ...]:
        return self.conv1x1_3x3, self.conv1x1_sbx, self.conv1x1_sby, self.conv1x1_lpl


@ARCH_REGISTRY.register()
class ECBSR(nn.Module):
    """Edge-oriented blocks at input size, one pixel shuffle, and the nearest-enlarged input added.

    Args:
        num_in_ch: Channels of the input image; 1 or ``num_out_ch``.
        num_out_ch: Channels of the output image.
        num_block: Number of blocks between the first and the last.
        num_channel: Width.
        with_idt: Add a block's input to its branches, where the channels are as many.
        act_type: ``prelu``, ``relu``, ``rrelu``, ``softplus`` or ``linear``.
        scale: Factor, at least 1.

    Raises:
        ArgumentError: If the activation is unknown or a number is not positive.
    """

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        num_block: int,
        num_channel: int,
        with_idt: bool,
        act_type: Activation,
        scale: int,
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_channel=num_channel, scale=scale)
        if num_block < 0:
            raise ArgumentError("num_block", f"num_block must not be negative, got {num_block}")
        check_added_channels(num_in_ch, num_out_ch, "ECBSR")
        check_choice("act_type", act_type, get_args(Activation))
        self.num_in_ch = num_in_ch
        self.scale = scale
        widths = [num_in_ch] + num_block * [num_channel]
        self.backbone = nn.Sequential(*(ECB(width, num_channel, 2, act_type, with_idt) for width in widths))
        self.backbone.append(ECB(num_channel, num_out_ch * scale**2, 2, "linear", with_idt))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, scale·H, scale·W)``."""
        check_images(x, self.num_in_ch, "ECBSR")
        return self.upsampler(self.backbone(x)) + F.interpolate(x, scale_factor=self.scale, mode="nearest")
