"""MLP-Mixer (arXiv 2105.01601) as a discriminator."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from basicsr.archs.arch_util import check_images, check_positive, check_rate, to_2tuple
from basicsr.utils.registry import ARCH_REGISTRY


class _Patches(nn.Module):
    """``(B, C, H, W)`` to ``(B, tokens, p·p·C)``; within a token pixels come row by row, channels last."""

    def __init__(self, img_size: tuple[int, int], patch_size: int, in_chans: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_size = patch_size
        self.in_chans = in_chans

    def forward(self, x: Tensor) -> Tensor:
        check_images(x, self.in_chans, "MLPMixer", size=self.img_size)
        squares = x.unflatten(3, (-1, self.patch_size)).unflatten(2, (-1, self.patch_size))
        return squares.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class _PreNormResidual(nn.Module):
    """``x + fn(norm(x))``."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


class _TokenMean(nn.Module):
    """``(B, tokens, C)`` to ``(B, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@ARCH_REGISTRY.register()
class MLPMixer(nn.Sequential):
    """Scores images by mixing tokens and channels in turn, each with a two-layer MLP.

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
        ValueError: If patches do not tile the image, or a number is not positive.
    """

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
        size = to_2tuple(img_size)
        check_positive(in_chans=in_chans, dim=dim, depth=depth, num_classes=num_classes, patch_size=patch_size)
        check_positive(img_size=min(size))
        check_rate(dropout=dropout)
        if any(side % patch_size for side in size):
            raise ValueError(f"patch_size {patch_size} does not divide img_size {size[0]}x{size[1]}")
        num_tokens = (size[0] // patch_size) * (size[1] // patch_size)
        token_width, channel_width = int(num_tokens * expansion_factor_token), int(dim * expansion_factor)
        if token_width < 1 or channel_width < 1:
            raise ValueError(
                f"expansion_factor {expansion_factor} and expansion_factor_token {expansion_factor_token} leave no "
                f"hidden units for {dim} channels and {num_tokens} tokens"
            )

        def constrain(layer: nn.Module) -> nn.Module:
            return spectral_norm(layer) if use_spectral_norm else layer

        def mix(first: nn.Module, second: nn.Module) -> nn.Module:
            parts = (constrain(first), nn.GELU(), nn.Dropout(dropout), constrain(second), nn.Dropout(dropout))
            return _PreNormResidual(dim, nn.Sequential(*parts))

        layers = [
            nn.Sequential(
                mix(nn.Conv1d(num_tokens, token_width, 1), nn.Conv1d(token_width, num_tokens, 1)),
                mix(nn.Linear(dim, channel_width), nn.Linear(channel_width, dim)),
            )
            for _ in range(depth)
        ]
        super().__init__(
            _Patches(size, patch_size, in_chans),
            constrain(nn.Linear(patch_size**2 * in_chans, dim)),
            *layers,
            nn.LayerNorm(dim),
            _TokenMean(),
            constrain(nn.Linear(dim, num_classes)),
        )
