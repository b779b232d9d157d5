"""RIDNet: denoising of photographs with feature attention (arXiv 1904.07396)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import RGB_MEAN, ResidualBlockNoBN, channel_mean, check_images, make_layer
from basicsr.archs.rcan_arch import ChannelAttention
from basicsr.archs.srresnet_arch import check_added_channels
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


class MeanShift(nn.Conv2d):
    """1×1 convolution that begins as ``(x + sign · rgb_range · rgb_mean) / rgb_std`` of the colours.

    Args:
        rgb_range: Largest value of a colour.
        rgb_mean: Means of R, G, B in [0, 1].
        rgb_std: Standard deviations of R, G, B.
        sign: -1 to subtract the means, 1 to add them.
        requires_grad: Whether weight and bias are trained.

    Raises:
        ArgumentError: If there are not three means, or not three positive standard deviations.
    """

    def __init__(
        self,
        rgb_range: float,
        rgb_mean: Sequence[float],
        rgb_std: Sequence[float],
        sign: int = -1,
        requires_grad: bool = True,
    ) -> None:
        super().__init__(3, 3, kernel_size=1)
        if len(rgb_std) != 3 or min(rgb_std) <= 0:
            raise ArgumentError("rgb_std", f"rgb_std must be three positive numbers, got {list(rgb_std)}")
        std, mean = torch.tensor(rgb_std), channel_mean(rgb_mean, 3).flatten()
        self.weight.data = torch.diag(1 / std).view(3, 3, 1, 1)
        self.bias = nn.Parameter(sign * rgb_range * mean / std)
        self.requires_grad_(requires_grad)


class EResidualBlockNoBN(nn.Module):
    """``relu(x + conv1x1(relu(conv(relu(conv(x))))))``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + x)


class MergeRun(nn.Module):
    """Two branches of dilated convolutions (1 and 2 pixels, 3 and 4 pixels), merged and added to the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()

        def stack(*convolutions: tuple[int, int]) -> nn.Sequential:
            layers = nn.Sequential()
            for channels, dilation in convolutions:
                conv = nn.Conv2d(channels, out_channels, 3, 1, dilation, dilation)
                layers.extend([conv, nn.ReLU(inplace=True)])
            return layers

        self.dilation1 = stack((in_channels, 1), (out_channels, 2))
        self.dilation2 = stack((in_channels, 3), (out_channels, 4))
        self.aggregation = stack((2 * out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.aggregation(torch.cat([self.dilation1(x), self.dilation2(x)], dim=1))


class EAM(nn.Module):
    """Enhancement attention module: merge-and-run unit, two residual blocks, and attention to channels."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.merge = MergeRun(in_channels, mid_channels)
        self.block1 = ResidualBlockNoBN(mid_channels)
        self.block2 = EResidualBlockNoBN(mid_channels, out_channels)
        self.ca = ChannelAttention(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.ca(self.block2(self.relu(self.block1(self.merge(x)))))


@ARCH_REGISTRY.register()
class RIDNet(nn.Module):
    """Restores images at their size: a stack of attention modules, added to the input.

    Args:
        in_channels: Channels of the input image; 1 or ``out_channels``.
        mid_channels: Width; at least 16.
        out_channels: Channels of the output image.
        num_block: Number of attention modules.
        img_range: Largest value of a colour.
        rgb_mean: Means of R, G, B in [0, 1]; images of other than three channels are not shifted.
        rgb_std: Standard deviations of R, G, B.

    Raises:
        ArgumentError: If a number is not positive, or there are not three means and standard deviations.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        num_block: int = 4,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = RGB_MEAN,
        rgb_std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels, num_block=num_block)
        check_added_channels(in_channels, out_channels, "RIDNet", ("in_channels", "out_channels"))
        if mid_channels < 16:
            raise ArgumentError("mid_channels", f"mid_channels must be at least 16, got {mid_channels}")
        subtract, add = (MeanShift(img_range, rgb_mean, rgb_std, sign) for sign in (-1, 1))
        self.sub_mean = subtract if in_channels == 3 else nn.Identity()
        self.add_mean = add if out_channels == 3 else nn.Identity()
        self.head = nn.Conv2d(in_channels, mid_channels, 3, 1, 1)
        widths = {f"{place}_channels": mid_channels for place in ("in", "mid", "out")}
        self.body = make_layer(EAM, num_block, **widths)
        self.tail = nn.Conv2d(mid_channels, out_channels, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Restores images ``(B, in_channels, H, W)`` as ``(B, out_channels, H, W)``."""
        check_images(x, self.head.in_channels, "RIDNet")
        features = self.body(self.relu(self.head(self.sub_mean(x))))
        return x + self.add_mean(self.tail(features))
