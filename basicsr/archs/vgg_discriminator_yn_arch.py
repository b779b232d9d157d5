"""A plain VGG-like discriminator for images of any size."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from basicsr.archs.arch_util import check_choice, check_images, check_positive
from basicsr.utils.registry import ARCH_REGISTRY

WIDTHS = (64, 128, 256, 512)
MAP_SIZE = 4


@ARCH_REGISTRY.register()
class VggDiscriminatorYN(nn.Module):
    """Four stages of two convolutions, pooling to a map of 4x4, and two linear layers; no norms.

    Args:
        in_channels: Channels of the images.
        pool: How the last map becomes 4x4: ``avg`` or ``max`` (both adaptive).

    Raises:
        ValueError: If ``pool`` is unknown or ``in_channels`` not positive.
    """

    def __init__(self, in_channels: int = 3, pool: Literal["avg", "max"] = "avg") -> None:
        super().__init__()
        check_positive(in_channels=in_channels)
        check_choice("pool", pool, ("avg", "max"))
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        width = in_channels
        for made in WIDTHS:
            layers += [nn.Conv2d(width, made, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Conv2d(made, made, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            width = made
        layers.append(nn.AdaptiveAvgPool2d(MAP_SIZE) if pool == "avg" else nn.AdaptiveMaxPool2d(MAP_SIZE))
        layers += [nn.Flatten(), nn.Linear(width * MAP_SIZE**2, 100), nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers, nn.Linear(100, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores images ``(B, in_channels, H, W)``, sides at least 16, as ``(B, 1)``.

        Raises:
            ValueError: If the number of channels differs or the image is too small.
        """
        check_images(x, self.in_channels, type(self).__name__, minimum=16)
        return self.model(x)
