"""Convolutional discriminators of ESRGAN and Real-ESRGAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from basicsr.archs.arch_util import check_images, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

NEGATIVE_SLOPE = 0.2


@ARCH_REGISTRY.register()
class VGGStyleDiscriminator(nn.Module):
    """A VGG-like stack with batch norm and two linear layers, for images of one size (ESRGAN, arXiv 1809.00219).

    Args:
        num_in_ch: Channels of the images.
        num_feat: Channels of the first stage; doubled up to eight times this.
        input_size: Height and width of the images: 128 or 256.

    Raises:
        ValueError: If ``input_size`` is another or a number is not positive.
    """

    def __init__(self, num_in_ch: int, num_feat: int, input_size: int = 128) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_feat=num_feat)
        if input_size not in (128, 256):
            raise ValueError(f"VGGStyleDiscriminator is defined for input_size 128 and 256, got {input_size!r}")
        self.num_in_ch = num_in_ch
        self.input_size = input_size
        self.num_stages = 5 if input_size == 128 else 6
        width = num_in_ch
        for stage in range(self.num_stages):
            made = num_feat * min(2**stage, 8)
            first = stage == 0
            self.add_module(f"conv{stage}_0", nn.Conv2d(width, made, 3, 1, 1, bias=first))
            if not first:
                self.add_module(f"bn{stage}_0", nn.BatchNorm2d(made))
            self.add_module(f"conv{stage}_1", nn.Conv2d(made, made, 4, 2, 1, bias=False))
            self.add_module(f"bn{stage}_1", nn.BatchNorm2d(made))
            width = made
        self.linear1 = nn.Linear(width * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=NEGATIVE_SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, num_in_ch, input_size, input_size)`` as ``(B, 1)``.

        Raises:
            ValueError: If the shape is another.
        """
        check_images(x, self.num_in_ch, type(self).__name__, size=(self.input_size, self.input_size))
        for name, layer in self.named_children():
            if name.startswith("linear"):
                break
            x = layer(x)
            if name.startswith("bn") or name == "conv0_0":
                x = self.lrelu(x)
        return self.linear2(self.lrelu(self.linear1(x.flatten(1))))


@ARCH_REGISTRY.register()
class UNetDiscriminatorSN(nn.Module):
    """A U-Net that scores every pixel (Real-ESRGAN, arXiv 2107.10833).

    Spectral norm is the hook that stores ``weight_orig``, ``weight_u`` and ``weight_v``, as in published files; in
    training each forward pass advances it by one power iteration.

    Args:
        num_in_ch: Channels of the images.
        num_feat: Channels at full resolution; eight times this at the lowest.
        skip_connection: Add encoder features to the decoder's. Height and width must then be divisible by 8.
        use_spectral_norm: Normalise the weights of the inner convolutions.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(
        self,
        num_in_ch: int,
        num_feat: int = 64,
        skip_connection: bool = True,
        use_spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_feat=num_feat)
        self.num_in_ch = num_in_ch
        self.skip_connection = skip_connection

        def build(num_in: int, num_out: int, kernel_size: int = 3) -> nn.Module:
            conv = nn.Conv2d(num_in, num_out, kernel_size, kernel_size - 2, 1, bias=False)
            return spectral_norm(conv) if use_spectral_norm else conv

        self.conv0 = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.conv1 = build(num_feat, num_feat * 2, 4)
        self.conv2 = build(num_feat * 2, num_feat * 4, 4)
        self.conv3 = build(num_feat * 4, num_feat * 8, 4)
        self.conv4 = build(num_feat * 8, num_feat * 4)
        self.conv5 = build(num_feat * 4, num_feat * 2)
        self.conv6 = build(num_feat * 2, num_feat)
        self.conv7 = build(num_feat, num_feat)
        self.conv8 = build(num_feat, num_feat)
        self.conv9 = nn.Conv2d(num_feat, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, num_in_ch, H, W)`` pixel by pixel: ``(B, 1, H, W)``.

        Raises:
            ValueError: If the number of channels differs or a side is not admissible.
        """
        multiple_of = 8 if self.skip_connection else 1
        check_images(x, self.num_in_ch, type(self).__name__, multiple_of=multiple_of, minimum=8)
        features = _activate(self.conv0(x))
        skipped = []
        for down in (self.conv1, self.conv2, self.conv3):
            skipped.append(features)
            features = _activate(down(features))
        for up in (self.conv4, self.conv5, self.conv6):
            enlarged = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = _activate(up(enlarged))
            if self.skip_connection:
                features = features + skipped.pop()
        return self.conv9(_activate(self.conv8(_activate(self.conv7(features)))))


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True)
