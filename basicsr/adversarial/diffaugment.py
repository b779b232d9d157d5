"""Differentiable augmentation of what the critics see.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738): real and
generated images are augmented alike in kind, and gradients reach the generator through the augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from basicsr.utils.batch import send_tensor
from basicsr.utils.fields import suggest

Step = Callable[[Tensor], Tensor]

# Largest shift, and side of the square that is cut out, as shares of the image's side.
_TRANSLATION_SHARE = 1 / 8
_CUTOUT_SHARE = 1 / 2


@dataclass(frozen=True)
class Augmentation:
    """Drawn augmentations, ready to be applied to any number of batches of the shape they were drawn for.

    Attributes:
        steps: Differentiable functions from (B, C, H, W) to the same shape, applied in turn.
    """

    steps: tuple[Step, ...]

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        for step in self.steps:
            x_BCHW = step(x_BCHW)
        return x_BCHW


def parse_policy(policy: str) -> list[str]:
    """Splits a policy such as ``color,translation,cutout``; an empty one has no parts.

    Raises:
        ValueError: If a part is unknown.
    """
    parts = [part.strip() for part in policy.split(",") if part.strip()]
    unknown = [part for part in parts if part not in _DRAW]
    if unknown:
        raise ValueError(f"unknown augmentation {unknown[0]!r} in policy {policy!r}{suggest(unknown[0], _DRAW)}")
    return parts


def draw_augmentation(shape: Sequence[int], policy: str, generator: torch.Generator | None = None) -> Augmentation:
    """Draws one augmentation per image of a batch, to be applied to several batches or for several critics.

    Args:
        shape: (B, C, H, W) of the batches.
        policy: Comma-separated parts of ``color`` (brightness, saturation, contrast), ``translation`` (up to an eighth
            of a side, black margin) and ``cutout`` (a black square of half a side), in the order of application.
        generator: Where to draw from, on any device; torch's default generator if absent.

    Raises:
        ValueError: If a part of the policy is unknown.
    """
    batch, _, height, width = shape
    draw = _Draw(batch, height, width, generator)
    return Augmentation(tuple(step for part in parse_policy(policy) for step in _DRAW[part](draw)))


def DiffAugment(
    x: Tensor, policy: str = "color,translation,cutout", generator: torch.Generator | None = None
) -> Tensor:
    """Augments every image of a batch on its own.

    Args:
        x: (B, C, H, W), in [0, 1]; the result may leave that range.
        policy: See :func:`draw_augmentation`; empty: ``x`` itself.
        generator: Where to draw from, on any device; torch's default generator if absent.

    Returns:
        (B, C, H, W), differentiable with respect to ``x``.
    """
    return draw_augmentation(x.shape, policy, generator)(x)


@dataclass(frozen=True)
class _Draw:
    batch: int
    height: int
    width: int
    generator: torch.Generator | None

    def uniform(self, low: float, high: float) -> Tensor:
        """One number per image, (B, 1, 1, 1)."""
        device = self.generator.device if self.generator else "cpu"
        return low + (high - low) * torch.rand(self.batch, 1, 1, 1, generator=self.generator, device=device)

    def integer(self, low: int, high: int) -> Tensor:
        """One integer from ``low`` to ``high`` (inclusive) per image, (B, 1)."""
        device = self.generator.device if self.generator else "cpu"
        return torch.randint(low, high + 1, (self.batch, 1), generator=self.generator, device=device)


def _send_like(values: Tensor, x_BCHW: Tensor) -> Tensor:
    return send_tensor(values, x_BCHW.device, x_BCHW.dtype)


def _draw_color(draw: _Draw) -> list[Step]:
    brightness, saturation, contrast = draw.uniform(-0.5, 0.5), draw.uniform(0, 2), draw.uniform(0.5, 1.5)

    def scale_about_mean(x_BCHW: Tensor, factor: Tensor, dims: tuple[int, ...]) -> Tensor:
        return torch.lerp(x_BCHW.mean(dims, keepdim=True), x_BCHW, _send_like(factor, x_BCHW))

    return [
        lambda x_BCHW: x_BCHW + _send_like(brightness, x_BCHW),
        lambda x_BCHW: scale_about_mean(x_BCHW, saturation, (1,)),
        lambda x_BCHW: scale_about_mean(x_BCHW, contrast, (1, 2, 3)),
    ]


def _draw_translation(draw: _Draw) -> list[Step]:
    def shift_along(dim: int, size: int) -> Step:
        reach = round(size * _TRANSLATION_SHARE)
        source_BN = torch.arange(size) + draw.integer(-reach, reach).cpu()
        inside_BN = (source_BN >= 0) & (source_BN < size)
        source_BN = source_BN.clamp(0, size - 1)

        def shift(x_BCHW: Tensor) -> Tensor:
            source, inside = (_along(send_tensor(t, x_BCHW.device), dim) for t in (source_BN, inside_BN))
            return x_BCHW.gather(dim, source.expand_as(x_BCHW)) * inside

        return shift

    return [shift_along(2, draw.height), shift_along(3, draw.width)]


def _draw_cutout(draw: _Draw) -> list[Step]:
    def cover_along(size: int) -> Tensor:
        side = round(size * _CUTOUT_SHARE)
        # The centre may lie anywhere in the image, so squares at the border are cut off.
        first_B1 = draw.integer(0, size - side % 2).cpu() - side // 2
        position_N = torch.arange(size)
        return (position_N >= first_B1) & (position_N < first_B1 + side)

    covered_BHW = cover_along(draw.height)[:, :, None] & cover_along(draw.width)[:, None, :]
    return [lambda x_BCHW: x_BCHW.masked_fill(send_tensor(covered_BHW[:, None], x_BCHW.device), 0.0)]


def _along(values_BN: Tensor, dim: int) -> Tensor:
    """(B, N) as (B, 1, N, 1) or (B, 1, 1, N)."""
    return values_BN[:, None, :, None] if dim == 2 else values_BN[:, None, None, :]


_DRAW: dict[str, Callable[[_Draw], list[Step]]] = {
    "color": _draw_color,
    "translation": _draw_translation,
    "cutout": _draw_cutout,
}
