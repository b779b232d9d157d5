"""Views: what a critic looks at, as a map that is made of the image.

A view is a registered function of an image batch (B, C, H, W) in [0, 1]; its output is what the critic's network takes.
The published spectral discriminators need none: their patchwise spectrum is part of the network.
"""

from __future__ import annotations

from torch import Tensor, nn

from basicsr.processing.filters import gradient_map
from basicsr.spectral.fourier import Scale, Window
from basicsr.spectral.transforms import Reduction, SpectrumType, spectrum_transform
from basicsr.utils.fields import PositiveInt
from basicsr.utils.registry import VIEW_REGISTRY


@VIEW_REGISTRY.register()
class GradientMap(nn.Module):
    """Magnitude of the image's gradient, per channel (SPSR, arXiv 2003.13081): (B, C, H + 2p - 2, W + 2p - 2).

    Args:
        padding: Zeros around the image, in pixels.
    """

    def __init__(self, padding: int = 2) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, images: Tensor) -> Tensor:
        return gradient_map(images, padding=self.padding)


@VIEW_REGISTRY.register()
class PatchwiseSpectrum(nn.Module):
    """Fourier spectrum of every patch in its place (DualFormer, section 3), for any network: (B, C', H, W) in [0, 1].

    Args:
        patch_size: Side of a patch in pixels; divides the image's sides.
        reduction: ``none``, ``gray`` (luma before the transform) or ``mean`` (over channels after it).
        window: ``hann`` multiplies each patch by a Hann window first.
        fix_normalize: Scale each patch by its own extremes instead of the whole batch's.
        spec_type: ``power``, ``magnitude``, or ``full`` (magnitude and phase).
        scale: ``linear``, or ``log`` for decibels.
    """

    def __init__(
        self,
        patch_size: PositiveInt,
        reduction: Reduction = "none",
        window: Window | None = None,
        fix_normalize: bool = False,
        spec_type: SpectrumType = "power",
        scale: Scale = "linear",
    ) -> None:
        super().__init__()
        self.arguments = (patch_size, reduction, window, fix_normalize, spec_type, scale)

    def forward(self, images: Tensor) -> Tensor:
        return spectrum_transform(images, *self.arguments)
