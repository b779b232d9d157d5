"""Residual-in-residual dense networks (ESRGAN, arXiv 1809.00219; Real-ESRGAN, arXiv 2107.10833)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import (
    NEGATIVE_SLOPE,
    check_images,
    convolve_enlarged,
    default_init_weights,
    leaky_relu,
    make_layer,
    pixel_unshuffle,
)
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

RESIDUAL_SCALE = 0.2


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees the block's input and the outputs of all before it.

    Args:
        num_feat: Channels of input and output.
        num_grow_ch: Channels that each of the first four convolutions adds.
    """

    def __init__(self, num_feat: int = 64, num_grow_ch: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_grow_ch, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat + num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv3 = nn.Conv2d(num_feat + 2 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv4 = nn.Conv2d(num_feat + 3 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow_ch, num_feat, 3, 1, 1)
        default_init_weights(self, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        later = (self.conv2, self.conv3, self.conv4, self.conv5)
        out = self.conv1(x)
        is_watched = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
        if is_watched or x.shape[0] != 1 or not x.is_contiguous():
            # Each result extends what was seen before: in the backward pass, gradients meet once in a layer, not once
            # for each later layer.
            seen = x
            for conv in later:
                seen = torch.cat((seen, leaky_relu(out)), 1)
                out = conv(seen)
        else:
            # Leading channels of one NCHW image are contiguous, so convolutions can read them from a shared buffer. In
            # larger batches, or with channels last, they would be copied; autograd and graph capture must not see the
            # writes.
            end, growth = x.shape[1], out.shape[1]
            buffer = out.new_empty((1, end + 4 * growth, *x.shape[2:]))
            buffer[:, :end] = x
            for conv in later:
                start, end = end, end + growth
                torch.ops.aten.leaky_relu.out(out, NEGATIVE_SLOPE, out=buffer[:, start:end])
                out = conv(buffer[:, :end])
        return torch.add(x, out, alpha=RESIDUAL_SCALE)


class RRDB(nn.Sequential):
    """Three residual dense blocks within one more residual connection.

    Args:
        num_feat: Channels of input and output.
        num_grow_ch: Growth of the dense blocks.
    """

    def __init__(self, num_feat: int, num_grow_ch: int = 32) -> None:
        names = ("rdb1", "rdb2", "rdb3")
        super().__init__(OrderedDict((name, ResidualDenseBlock(num_feat, num_grow_ch)) for name in names))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, super().forward(x), alpha=RESIDUAL_SCALE)


@ARCH_REGISTRY.register()
class RRDBNet(nn.Module):
    """ESRGAN's generator. It always enlarges by 4; for smaller scales the input is pixel-unshuffled first.

    Args:
        num_in_ch: Channels of the input image.
        num_out_ch: Channels of the output image.
        scale: 1, 2 or 4. Inputs of scale 2 need even sides, those of scale 1 sides divisible by 4.
        num_feat: Width of the trunk.
        num_block: Number of RRDB blocks.
        num_grow_ch: Growth of the dense blocks.

    Raises:
        ArgumentError: If the scale is another, or a number is not positive.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (RRDB,)
    scales: ClassVar[tuple[int, ...]] = (1, 2, 4)
    last_kernel_size = 3  # of upsampling steps after the second

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
    ) -> None:
        if scale not in self.scales:
            raise ArgumentError("scale", f"RRDBNet covers scale 1, 2 and 4, RRDBNetS 8 and 16; got {scale!r}")
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat)
        check_positive(num_block=num_block, num_grow_ch=num_grow_ch)
        self.num_in_ch = num_in_ch
        self.scale = scale
        self.unshuffle = self.size_multiple = max(1, 4 // scale)
        self.num_ups = max(2, scale.bit_length() - 1)
        self.conv_first = nn.Conv2d(num_in_ch * self.unshuffle**2, num_feat, 3, 1, 1)
        self.body = make_layer(RRDB, num_block, num_feat=num_feat, num_grow_ch=num_grow_ch)
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        for index in range(1, self.num_ups + 1):
            kernel_size = 3 if index <= 2 else self.last_kernel_size
            self.add_module(f"conv_up{index}", nn.Conv2d(num_feat, num_feat, kernel_size, 1, kernel_size // 2))
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=NEGATIVE_SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Restores images ``(B, num_in_ch, H, W)`` as ``(B, num_out_ch, scale·H, scale·W)``.

        Raises:
            ValueError: If the number of channels differs, or a side is not divisible by the unshuffle factor.
        """
        check_images(x, self.num_in_ch, type(self).__name__, multiple_of=self.unshuffle)
        if self.unshuffle > 1:
            x = pixel_unshuffle(x, self.unshuffle)
        shallow = self.conv_first(x)
        features = shallow + self.conv_body(self.body(shallow))
        for index in range(1, self.num_ups + 1):
            features = self.lrelu(convolve_enlarged(features, getattr(self, f"conv_up{index}")))
        return self.conv_last(self.lrelu(self.conv_hr(features)))


@ARCH_REGISTRY.register()
class RRDBNetS(RRDBNet):
    """RRDBNet with one (scale 8) or two (scale 16) further upsampling steps before ``conv_hr``.

    Args:
        num_in_ch: Channels of the input image.
        num_out_ch: Channels of the output image.
        scale: 8 or 16.
        num_feat: Width of the trunk.
        num_block: Number of RRDB blocks.
        num_grow_ch: Growth of the dense blocks.
        last_kernel_size: Kernel size of the further steps' convolutions, odd.

    Raises:
        ArgumentError: If the scale is another, the kernel size even, or a number not positive.
    """

    scales: ClassVar[tuple[int, ...]] = (8, 16)

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        scale: int = 8,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
        last_kernel_size: int = 3,
    ) -> None:
        check_positive(last_kernel_size=last_kernel_size)
        if last_kernel_size % 2 == 0:
            raise ArgumentError("last_kernel_size", f"last_kernel_size must be odd, got {last_kernel_size}")
        self.last_kernel_size = last_kernel_size  # before the layers are made, which ask for it
        super().__init__(num_in_ch, num_out_ch, scale, num_feat, num_block, num_grow_ch)
