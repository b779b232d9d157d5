"""Discriminators without attention: the convolutional ones of ESRGAN and Real-ESRGAN, a plain one, and MLP-Mixer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from basicsr.archs.arch_util import NEGATIVE_SLOPE, check_images, default_init_weights, leaky_relu, to_2tuple
from basicsr.utils.errors import ArgumentError, check_choice, check_positive, check_rate
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class VGGStyleDiscriminator(nn.Module):
    """A VGG-like stack with batch norm and two linear layers, for images of one size (ESRGAN, arXiv 1809.00219).

    Args:
        num_in_ch: Channels of the images.
        num_feat: Channels of the first stage; doubled up to eight times this.
        input_size: Height and width of the images: 128 or 256.

    Raises:
        ArgumentError: If ``input_size`` is another or a number is not positive.
    """

    def __init__(self, num_in_ch: int, num_feat: int, input_size: int = 128) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_feat=num_feat)
        if input_size not in (128, 256):
            message = f"VGGStyleDiscriminator is defined for input_size 128 and 256, got {input_size!r}"
            raise ArgumentError("input_size", message)
        self.num_in_ch = num_in_ch
        self.input_size = input_size
        width = num_in_ch
        for stage in range(5 if input_size == 128 else 6):
            made = num_feat * min(2**stage, 8)
            self.add_module(f"conv{stage}_0", nn.Conv2d(width, made, 3, 1, 1, bias=stage == 0))
            if stage > 0:
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
        ArgumentError: If a number is not positive.
    """

    judges_images_alone = True

    def __init__(
        self, num_in_ch: int, num_feat: int = 64, skip_connection: bool = True, use_spectral_norm: bool = True
    ) -> None:
        super().__init__()
        check_positive(num_in_ch=num_in_ch, num_feat=num_feat)
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
        check_images(x, self.conv0.in_channels, type(self).__name__, multiple_of=multiple_of, minimum=8)
        features = leaky_relu(self.conv0(x))
        skipped = []
        for down in (self.conv1, self.conv2, self.conv3):
            skipped.append(features)
            features = leaky_relu(down(features))
        for up in (self.conv4, self.conv5, self.conv6):
            enlarged = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = leaky_relu(up(enlarged))
            if self.skip_connection:
                features = features + skipped.pop()
        return self.conv9(leaky_relu(self.conv8(leaky_relu(self.conv7(features)))))


@ARCH_REGISTRY.register()
class VggDiscriminatorYN(nn.Module):
    """Four stages of two convolutions, pooling to a map of 4x4, and two linear layers; no norms.

    Args:
        in_channels: Channels of the images.
        use_msra_init: Initialise weights by Kaiming's normal rule for leaky ReLU, and biases with 0; otherwise as
            PyTorch does.
        pool: How the last map becomes 4x4: ``avg`` or ``max`` (both adaptive).
        use_spectral_norm: Divide every weight by its largest singular value (arXiv 1802.05957).

    Raises:
        ArgumentError: If ``pool`` is unknown or ``in_channels`` not positive.
    """

    judges_images_alone = True

    def __init__(
        self,
        in_channels: int = 3,
        use_msra_init: bool = True,
        pool: Literal["avg", "max"] = "avg",
        use_spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels)
        check_choice("pool", pool, ("avg", "max"))
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        for width, made in pairwise((in_channels, 64, 128, 256, 512)):
            layers += [nn.Conv2d(width, made, 3, 1, 1), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
            layers += [nn.Conv2d(made, made, 4, 2, 1), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
        layers.append(nn.AdaptiveAvgPool2d(4) if pool == "avg" else nn.AdaptiveMaxPool2d(4))
        layers += [nn.Flatten(), nn.Linear(512 * 4 * 4, 100), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
        layers.append(nn.Linear(100, 1))
        if use_msra_init:
            default_init_weights(layers, a=NEGATIVE_SLOPE)
        if use_spectral_norm:
            layers = [spectral_norm(layer) if hasattr(layer, "weight") else layer for layer in layers]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, in_channels, H, W)``, sides at least 16, as ``(B, 1)``.

        Raises:
            ValueError: If the number of channels differs or the image is too small.
        """
        check_images(x, self.in_channels, type(self).__name__, minimum=16)
        return self.model(x)


class _PreNormResidual(nn.Module):
    """``x + fn(norm(x))``."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


@ARCH_REGISTRY.register()
class MLPMixer(nn.Sequential):
    """Scores images by mixing tokens and channels in turn, each with a two-layer MLP (arXiv 2105.01601).

    Args:
        img_size: Height and width of the images, or one number for both.
        patch_size: Side of a patch; divides ``img_size``.
        in_chans: Channels of the images.
        dim: Channels of a token.
        depth: Number of layers.
        num_classes: Number of scores.
        expansion_factor: Hidden width of channel mixing, relative to ``dim``.
        expansion_factor_token: Hidden width of token mixing, relative to the number of tokens.
        dropout: Dropout within the MLPs.
        use_spectral_norm: Spectral norm (as a parametrization) on every linear map.

    Raises:
        ArgumentError: If patches do not tile the image, or a number is not positive.
    """

    judges_images_alone = True

    def __init__(
        self,
        img_size: int | Sequence[int] = 128,
        patch_size: int = 32,
        in_chans: int = 3,
        dim: int = 96,
        depth: int = 8,
        num_classes: int = 1,
        expansion_factor: float = 4,
        expansion_factor_token: float = 0.5,
        dropout: float = 0.0,
        use_spectral_norm: bool = False,
    ) -> None:
        size = to_2tuple(img_size, "img_size")
        check_positive(in_chans=in_chans, dim=dim, depth=depth, num_classes=num_classes, patch_size=patch_size)
        check_positive(img_size=min(size))
        check_rate(dropout=dropout)
        if any(side % patch_size for side in size):
            raise ArgumentError("patch_size", f"patch_size {patch_size} does not divide img_size {size[0]}x{size[1]}")
        num_tokens = (size[0] // patch_size) * (size[1] // patch_size)
        token_width, channel_width = int(num_tokens * expansion_factor_token), int(dim * expansion_factor)
        if token_width < 1 or channel_width < 1:
            factors = f"expansion_factor {expansion_factor} and expansion_factor_token {expansion_factor_token}"
            message = f"{factors} leave no hidden units for {dim} channels and {num_tokens} tokens"
            raise ArgumentError("expansion_factor" if channel_width < 1 else "expansion_factor_token", message)

        def constrain(layer: nn.Module) -> nn.Module:
            return parametrizations.spectral_norm(layer) if use_spectral_norm else layer

        def mix(first: nn.Module, second: nn.Module) -> nn.Module:
            parts = (constrain(first), nn.GELU(), nn.Dropout(dropout), constrain(second), nn.Dropout(dropout))
            return _PreNormResidual(dim, nn.Sequential(*parts))

        layers = []
        for _ in range(depth):
            token_mixing = mix(nn.Conv1d(num_tokens, token_width, 1), nn.Conv1d(token_width, num_tokens, 1))
            channel_mixing = mix(nn.Linear(dim, channel_width), nn.Linear(channel_width, dim))
            layers.append(nn.Sequential(token_mixing, channel_mixing))
        embedding = constrain(nn.Linear(patch_size**2 * in_chans, dim))
        head = constrain(nn.Linear(dim, num_classes))
        # Published weights count the rearrangement of patches and the mean over tokens among the layers.
        super().__init__(nn.Identity(), embedding, *layers, nn.LayerNorm(dim), nn.Identity(), head)
        self.img_size = size
        self.patch_size = patch_size
        self.in_chans = in_chans

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, in_chans, H, W)`` of the size that the network is built for as ``(B, num_classes)``.

        Raises:
            ValueError: If the shape is another.
        """
        check_images(x, self.in_chans, type(self).__name__, size=self.img_size)
        squares = x.unflatten(3, (-1, self.patch_size)).unflatten(2, (-1, self.patch_size))
        # Within a token pixels come row by row, channels last.
        tokens = squares.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        *mixing, head = self
        for layer in mixing:
            tokens = layer(tokens)
        return head(tokens.mean(1))
