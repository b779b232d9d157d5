"""SPSR: super-resolution guided by a branch that restores the gradient map (arXiv 2003.13081)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.arch_util import (
    NEGATIVE_SLOPE,
    check_images,
    default_init_weights,
    make_layer,
    split_scale,
)
from basicsr.archs.rrdbnet_arch import RRDB
from basicsr.utils.errors import check_positive
from basicsr.utils.registry import ARCH_REGISTRY

NUM_TAPS = 4
BLOCKS_PER_TAP = 5
GRADIENT_EPS = 1e-6


def _conv(num_in: int, num_out: int, kernel_size: int = 3, activate: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(num_in, num_out, kernel_size, 1, kernel_size // 2)]
    if activate:
        layers.append(nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))
    return nn.Sequential(*layers)


def _list_upsampling(num_feat: int, upscale: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for factor in split_scale("upscale", upscale):
        layers += [nn.Upsample(scale_factor=factor, mode="nearest"), *_conv(num_feat, num_feat, activate=True)]
    return layers


class _ResidualBlock(RRDB):
    """RRDB under SPSR's parameter names (``RDB1.conv1.0.weight``)."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__(num_feat, num_grow_ch)
        for name, dense in list(self.named_children()):
            for inner, conv in list(dense.named_children()):
                dense.add_module(inner, nn.Sequential(conv))
            delattr(self, name)
            self.add_module(name.upper(), dense)


def place_taps(num_block: int) -> list[int]:
    """After how many blocks the trunk's features go to the gradient branch.

    5, 10, 15 and 20 as published; evenly spread where there are fewer than 20 blocks.
    """
    spread = min(num_block, NUM_TAPS * BLOCKS_PER_TAP)
    return [-(-spread * tap // NUM_TAPS) for tap in range(1, NUM_TAPS + 1)]


class GradientMap(nn.Module):
    """Magnitude ``sqrt(dv² + dh² + 1e-6)`` of central differences, for each channel, zero-padded: size is kept.

    The filters are buffers: part of the state dict under their published names, never trained.
    """

    def __init__(self) -> None:
        super().__init__()
        difference = torch.tensor([-1.0, 0.0, 1.0])
        centre = torch.tensor([0.0, 1.0, 0.0])
        self.register_buffer("weight_h", torch.outer(centre, difference)[None, None])
        self.register_buffer("weight_v", torch.outer(difference, centre)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        channels = x.flatten(0, 1)[:, None]
        # bfloat16 would lose small differences of nearly equal neighbours.
        device = x.device.type
        is_cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if is_cast else nullcontext():
            filters = torch.cat((self.get_buffer("weight_v"), self.get_buffer("weight_h")))
            differences = F.conv2d(channels.to(filters.dtype), filters, padding=1)
            return (differences.square().sum(1) + GRADIENT_EPS).sqrt().view(x.shape)


@ARCH_REGISTRY.register()
class SPSRNet(nn.Module):
    """An RRDB generator whose features feed, and are then fused with, a branch that restores the gradient map.

    Args:
        in_nc: Channels of the input image.
        out_nc: Channels of the output image and of the gradient branch.
        nf: Width of trunk and branch.
        nb: Number of blocks in the trunk.
        gc: Growth of the dense blocks.
        upscale: 3 or a power of 2.

    Raises:
        ArgumentError: If the scale is another or a number is not positive.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (RRDB,)
    has_gradient_branch = True

    def __init__(self, in_nc: int, out_nc: int, nf: int, nb: int, gc: int = 32, upscale: int = 4) -> None:
        super().__init__()
        check_positive(in_nc=in_nc, out_nc=out_nc, nf=nf, nb=nb, gc=gc)
        self.in_nc = in_nc
        self.HR_conv0_new = _conv(nf, nf, activate=True)
        self.HR_conv1_new = _conv(nf, nf)
        trunk = make_layer(_ResidualBlock, nb, num_feat=nf, num_grow_ch=gc).append(nn.Conv2d(nf, nf, 3, 1, 1))
        # Published files hold HR_conv0_new twice: by its own name and as the last layers of `model`.
        self.model = nn.Sequential(
            *_conv(in_nc, nf), nn.ModuleDict({"sub": trunk}), *_list_upsampling(nf, upscale), *self.HR_conv0_new
        )
        self.taps = place_taps(nb)
        self.get_g_nopadding = GradientMap()
        self.b_fea_conv = _conv(in_nc, nf)
        for index in range(1, NUM_TAPS + 1):
            self.add_module(f"b_concat_{index}", _conv(2 * nf, nf))
            self.add_module(f"b_block_{index}", _ResidualBlock(2 * nf, gc))
        self.b_LR_conv = _conv(nf, nf)
        self.b_module = nn.Sequential(*_list_upsampling(nf, upscale), *_conv(nf, nf, activate=True), *_conv(nf, nf))
        self.conv_w = _conv(nf, out_nc, kernel_size=1)
        self.f_concat = _conv(2 * nf, nf)
        self.f_block = _ResidualBlock(2 * nf, gc)
        self.f_HR_conv0 = _conv(nf, nf, activate=True)
        self.f_HR_conv1 = _conv(nf, out_nc)
        default_init_weights(self, 0.1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Enlarges images ``(B, in_nc, H, W)``.

        Returns:
            The restored gradient map and the restored image, both ``(B, out_nc, upscale·H, upscale·W)``, and the
            gradient map of the input, ``(B, in_nc, H, W)``.

        Raises:
            ValueError: If the number of channels differs.
        """
        check_images(x, self.in_nc, type(self).__name__)
        gradient = self.get_g_nopadding(x)

        # The trunk, around which a connection skips. Few blocks may be tapped more than once.
        first, trunk, *upsampling = self.model
        shallow = features = first(x)
        tapped = []
        for count, layer in enumerate(trunk.get_submodule("sub").children(), start=1):
            features = layer(features)
            tapped += [features] * self.taps.count(count)
        features = shallow + features
        for layer in upsampling:
            features = layer(features)
        features = self.HR_conv1_new(features)

        # The gradient branch takes up features of the trunk, then both are fused.
        shallow = self.b_fea_conv(gradient)
        branch = shallow
        for index, tap in enumerate(tapped, start=1):
            joined = getattr(self, f"b_block_{index}")(torch.cat((branch, tap), 1))
            branch = getattr(self, f"b_concat_{index}")(joined)
        branch = self.b_module(shallow + self.b_LR_conv(branch))
        fused = self.f_concat(self.f_block(torch.cat((branch, features), 1)))
        return self.conv_w(branch), self.f_HR_conv1(self.f_HR_conv0(fused)), gradient
