"""Discriminators that see Fourier spectra.

Luo, Zhu, Xu, Liu, "On the Effectiveness of Spectral Discriminators for Perceptual Quality Improvement", ICCV 2023
(arXiv 2307.12027), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images, to_2tuple
from basicsr.archs.swin_transformer_arch import SwinTransformer
from basicsr.spectral.transforms import SpectrumType, reduced_spectrum_transform, spectrum_transform
from basicsr.utils.errors import ArgumentError, check_choice, check_positive, check_rate
from basicsr.utils.registry import ARCH_REGISTRY

Reduction = Literal["none", "mean", "gray"]


class _SpectrumCritic(nn.Module):
    """Scores a transform of images; subclasses define :meth:`transform` and make the inner network, ``net``."""

    net: nn.Module
    fix_normalize: bool
    judges_images_alone = True

    def __init__(
        self, img_size: int | Sequence[int], in_chans: int, reduction: str, window: str | None, scale: str
    ) -> None:
        super().__init__()
        self.img_size = to_2tuple(img_size, "img_size")
        check_positive(in_chans=in_chans, img_size=min(self.img_size))
        check_choice("reduction", reduction, ("none", "mean", "gray"))
        check_choice("window", window, (None, "hann"))
        check_choice("scale", scale, ("linear", "log"))
        if reduction == "gray" and in_chans not in (1, 3):
            raise ArgumentError("reduction", f"reduction gray needs 1 or 3 channels, got in_chans {in_chans}")
        self.in_chans = in_chans

    def transform(self, x: Tensor) -> Tensor:
        """What the inner network sees of images ``(B, in_chans, H, W)``."""
        raise NotImplementedError

    def forward(self, x: Tensor, groups: int = 1) -> Tensor:
        """Scores images ``(B, in_chans, H, W)`` as ``(B, num_classes)``; a transformer's as :class:`SwinTransformer`.

        Args:
            x: The images.
            groups: Equal parts of the batch, within which extremes are taken that are those of a whole batch.

        Raises:
            ValueError: If the shape is not that which the network is built for.
        """
        check_images(x, self.in_chans, type(self).__name__, size=self.img_size)
        parts = (x,) if self.fix_normalize else x.chunk(groups)
        spectra = torch.cat([self.transform(part) for part in parts]) if len(parts) > 1 else self.transform(x)
        # Ring averages are float64.
        return self.net(spectra.to(next(self.net.parameters()).dtype))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Entries of a bare inner network are renamed in the copy that ``load_state_dict`` makes of the caller's dict.
        for name in self.net.state_dict():
            if prefix + name in state_dict:
                state_dict[f"{prefix}net.{name}"] = state_dict.pop(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@ARCH_REGISTRY.register()
class SpectralDiscriminator2D(_SpectrumCritic):
    """Replaces each patch of an image by its spectrum and scores the re-assembled map with a Swin Transformer.

    The transformer's patches are those of the transform, so that each token is one spectrum. A state dict may have the
    prefix ``net.`` or be that of the transformer alone.

    Args:
        version: ``swin``, the only one.
        img_size: Height and width of the images, or one number for both.
        patch_size: Side of a patch, of the transform and of the transformer.
        num_classes: See :class:`SwinTransformer`, as all arguments down to ``patch_output``.
        reduction: ``none`` keeps a spectrum for each channel, ``mean`` averages them, ``gray`` takes the luma first.
        window: ``hann`` multiplies patches by a Hann window first.
        fix_normalize: ``True`` scales each patch by its own minimum and maximum. ``False``, as published for quality
            assessment, takes them over the whole batch: an image's score then depends on the other images in the
            batch, so images that are compared should be scored one by one.
        spec_type: ``power``, ``magnitude``, or ``full`` (magnitude and phase, twice the channels).
        scale: ``linear``, or ``log`` for decibels. Linear power includes the zero frequency, beside which most values
            are nearly zero.
        after_mean: Average channels after scaling to [0, 1] instead of before (``reduction: mean``).
        in_chans: Channels of the images.

    Raises:
        ArgumentError: If an option has an unknown value or sizes do not fit together.
    """

    def __init__(
        self,
        version: Literal["swin"] = "swin",
        img_size: int | Sequence[int] = 128,
        patch_size: int = 32,
        num_classes: int = 1,
        embed_dim: int = 96,
        depths: Sequence[int] = (8, 2),
        num_heads: Sequence[int] = (3, 6),
        window_size: int = 4,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        fused_window_process: bool = False,
        patch_output: bool = False,
        reduction: Reduction = "none",
        window: Literal["hann"] | None = None,
        fix_normalize: bool = False,
        spec_type: SpectrumType = "power",
        scale: Literal["linear", "log"] = "linear",
        after_mean: bool = False,
        in_chans: int = 3,
    ) -> None:
        super().__init__(img_size, in_chans, reduction, window, scale)
        check_choice("version", version, ("swin",))
        check_choice("spec_type", spec_type, ("power", "magnitude", "full"))
        self.fix_normalize = fix_normalize
        self.transform_options = (patch_size, reduction, window, fix_normalize, spec_type, scale, after_mean)

        # Phase is never averaged over channels, and comes beside the magnitude.
        is_reduced = reduction == "gray" or (reduction == "mean" and spec_type != "full")
        num_spectra = (1 if is_reduced else in_chans) * (2 if spec_type == "full" else 1)
        self.net = SwinTransformer(
            img_size=img_size,
            patch_size=patch_size,
            in_chans=num_spectra,
            num_classes=num_classes,
            embed_dim=embed_dim,
            depths=depths,
            num_heads=num_heads,
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            ape=ape,
            patch_norm=patch_norm,
            use_checkpoint=use_checkpoint,
            patch_output=patch_output,
        )

    def transform(self, x: Tensor) -> Tensor:
        """The map of spectra, float32 in [0, 1], of images ``(B, in_chans, H, W)``: ``(B, spectra, H, W)``."""
        return spectrum_transform(x, *self.transform_options)


@ARCH_REGISTRY.register()
class SpectralDiscriminator(_SpectrumCritic):
    """Scores the azimuthally averaged spectrum of a whole image with an MLP.

    Args:
        version: ``mlp``, the only one.
        img_size: Height and width of the images, or one number for both; fixes the number of rings.
        in_chans: Channels of the images.
        num_classes: Number of scores.
        hidden_channels: Widths of the hidden layers.
        dropout: Dropout after each layer.
        reduction: ``none`` joins the spectra of all channels, ``mean`` averages them, ``gray`` takes the luma first.
        window: ``hann`` multiplies images by a Hann window first.
        fix_normalize: Scale each image's spectrum by its own minimum and maximum; ``False`` takes them over the whole
            batch, so that an image's score depends on the other images in it.
        scale: ``linear``, or ``log`` for decibels.

    Raises:
        ArgumentError: If an option has an unknown value.
    """

    def __init__(
        self,
        version: Literal["mlp"] = "mlp",
        img_size: int | Sequence[int] = 128,
        in_chans: int = 3,
        num_classes: int = 1,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        dropout: float = 0.0,
        reduction: Reduction = "none",
        window: Literal["hann"] | None = None,
        fix_normalize: bool = False,
        scale: Literal["linear", "log"] = "linear",
    ) -> None:
        super().__init__(img_size, in_chans, reduction, window, scale)
        check_choice("version", version, ("mlp",))
        check_rate(dropout=dropout)
        check_positive(num_classes=num_classes)
        for width in hidden_channels:
            check_positive(hidden_channels=width)
        self.fix_normalize = fix_normalize
        self.transform_options = (reduction, window, fix_normalize, scale)

        # Rings have integer radii; the last one is that of the centred spectrum's corner.
        rings = math.isqrt((self.img_size[0] // 2) ** 2 + (self.img_size[1] // 2) ** 2) + 1
        widths = (rings * (in_chans if reduction == "none" else 1), *hidden_channels)
        layers: list[nn.Module] = []
        for num_in, num_out in pairwise(widths):
            layers += [nn.Linear(num_in, num_out), nn.GELU(), nn.Dropout(dropout)]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes), nn.Dropout(dropout))

    def transform(self, x: Tensor) -> Tensor:
        """Ring-averaged spectra in [0, 1] of images ``(B, in_chans, H, W)``: ``(B, channels · rings)``."""
        return reduced_spectrum_transform(x, *self.transform_options)
