"""EDSR (arXiv 1707.02921), and the frame that it shares with RCAN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from basicsr.archs.arch_util import (
    RGB_MEAN,
    ResidualBlockNoBN,
    Upsample,
    channel_mean,
    check_images,
    make_layer,
    split_scale,
)
from basicsr.utils.errors import ArgumentError, check_positive
from basicsr.utils.registry import ARCH_REGISTRY


class ResidualNetwork(nn.Module):
    """Residual blocks within one more residual connection, then pixel shuffles; images are shifted by their mean.

    Args:
        body: Makes the blocks, from and to ``num_feat`` channels.
        num_in_ch: Channels of the input image.
        num_out_ch: Channels of the output image.
        num_feat: Width of the trunk.
        upscale: 3 or a power of 2.
        img_range: Images are multiplied by it on the way in and divided on the way out.
        rgb_mean: Subtracted from images of three channels on the way in and added on the way out.

    Raises:
        ArgumentError: If a number is not positive, the scale is another, or there are not three means.
    """

    def __init__(
        self,
        body: Callable[[], nn.Module],
        num_in_ch: int,
        num_out_ch: int,
        num_feat: int,
        upscale: int,
        img_range: float,
        rgb_mean: Sequence[float],
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat)
        split_scale("upscale", upscale)
        if not img_range > 0:
            raise ArgumentError("img_range", f"img_range must be positive, got {img_range!r}")
        self.img_range = img_range
        self.register_buffer("mean", channel_mean(rgb_mean, num_in_ch), persistent=False)
        self.register_buffer("mean_out", channel_mean(rgb_mean, num_out_ch), persistent=False)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = body()
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.upsample = Upsample(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges images ``(B, num_in_ch, H, W)`` to ``(B, num_out_ch, upscale·H, upscale·W)``."""
        check_images(x, self.conv_first.in_channels, type(self).__name__)
        mean, mean_out = (self.get_buffer(name).to(x.dtype) for name in ("mean", "mean_out"))
        shallow = self.conv_first((x - mean) * self.img_range)
        deep = shallow + self.conv_after_body(self.body(shallow))
        return self.conv_last(self.upsample(deep)) / self.img_range + mean_out


@ARCH_REGISTRY.register()
class EDSR(ResidualNetwork):
    """A deep and wide residual network without batch norm.

    Args:
        num_in_ch: Channels of the input image.
        num_out_ch: Channels of the output image.
        num_feat: Width of the trunk.
        num_block: Number of residual blocks.
        upscale: 3 or a power of 2.
        res_scale: Factor of the residual branches; 0.1 in the large networks.
        img_range: Images are multiplied by it on the way in and divided on the way out.
        rgb_mean: Subtracted from images of three channels on the way in and added on the way out.

    Raises:
        ArgumentError: If a number is not positive, the scale is another, or there are not three means.
    """

    block_types: ClassVar[tuple[type[nn.Module], ...]] = (ResidualBlockNoBN,)

    def __init__(
        self,
        num_in_ch: int,
        num_out_ch: int,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
        res_scale: float = 1,
        img_range: float = 255.0,
        rgb_mean: Sequence[float] = RGB_MEAN,
    ) -> None:
        check_positive(num_block=num_block)
        block = partial(ResidualBlockNoBN, num_feat=num_feat, res_scale=res_scale, pytorch_init=True)
        body = partial(make_layer, block, num_block)
        super().__init__(body, num_in_ch, num_out_ch, num_feat, upscale, img_range, rgb_mean)
