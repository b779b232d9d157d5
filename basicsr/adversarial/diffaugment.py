"""Differentiable augmentation of what the critics see.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738): real and
generated images are augmented alike in kind, and gradients reach the generator through the augmentation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basicsr.utils.batch import send_tensor
from basicsr.utils.fields import suggest


def DiffAugment(
    x: Tensor, policy: str = "color,translation,cutout", generator: torch.Generator | None = None
) -> Tensor:
    """Augments every image of a batch on its own.

    What is drawn depends on the generator and on the shape of ``x`` alone, so that generators in the same state augment
    several batches alike.

    Args:
        x: (B, C, H, W), in [0, 1]; the result may leave that range.
        policy: Comma-separated parts of ``color`` (brightness, saturation, contrast), ``translation`` (up to an eighth
            of a side, black margin) and ``cutout`` (a black square of half a side), in the order of application;
            empty: ``x`` itself.
        generator: Where to draw from, on any device; torch's default generator if absent.

    Returns:
        (B, C, H, W), differentiable with respect to ``x``.

    Raises:
        ValueError: If a part of the policy is unknown.
    """
    for part in parse_policy(policy):
        x = _PARTS[part](x, generator)
    return x


def parse_policy(policy: str) -> list[str]:
    """Splits a policy such as ``color,translation,cutout``; an empty one has no parts.

    Raises:
        ValueError: If a part is unknown.
    """
    parts = [part.strip() for part in policy.split(",") if part.strip()]
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise ValueError(f"unknown augmentation {unknown[0]!r} in policy {policy!r}{suggest(unknown[0], _PARTS)}")
    return parts


def _vary_color(x_BCHW: Tensor, generator: torch.Generator | None) -> Tensor:
    def draw(low: float, high: float) -> Tensor:
        device = generator.device if generator else "cpu"
        drawn_B111 = torch.rand(len(x_BCHW), 1, 1, 1, generator=generator, device=device)
        return send_tensor(low + (high - low) * drawn_B111, x_BCHW.device, x_BCHW.dtype)

    brightness, saturation, contrast = draw(-0.5, 0.5), draw(0, 2), draw(0.5, 1.5)
    x_BCHW = x_BCHW + brightness
    # Saturation is the distance from gray at each pixel, contrast that from the image's mean.
    x_BCHW = torch.lerp(x_BCHW.mean(1, keepdim=True), x_BCHW, saturation)
    return torch.lerp(x_BCHW.mean((1, 2, 3), keepdim=True), x_BCHW, contrast)


def _translate(x_BCHW: Tensor, generator: torch.Generator | None) -> Tensor:
    for dim in (2, 3):
        size = x_BCHW.shape[dim]
        reach = round(size / 8)
        source_BN = torch.arange(size) + _draw_integers(len(x_BCHW), -reach, reach, generator)
        inside_BN = (source_BN >= 0) & (source_BN < size)
        # Lay the rows or columns along their dimension of the image.
        shape = (-1, 1, size, 1) if dim == 2 else (-1, 1, 1, size)
        source = send_tensor(source_BN.clamp(0, size - 1).view(shape), x_BCHW.device)
        inside = send_tensor(inside_BN.view(shape), x_BCHW.device)
        x_BCHW = x_BCHW.gather(dim, source.expand_as(x_BCHW)) * inside
    return x_BCHW


def _cut_out(x_BCHW: Tensor, generator: torch.Generator | None) -> Tensor:
    covered = []
    for size in x_BCHW.shape[2:]:
        side = round(size / 2)
        # The centre may lie anywhere in the image, so squares at the border are cut off.
        first_B1 = _draw_integers(len(x_BCHW), 0, size - side % 2, generator) - side // 2
        position_N = torch.arange(size)
        covered.append((position_N >= first_B1) & (position_N < first_B1 + side))
    rows_BH, columns_BW = covered
    covered_B1HW = rows_BH[:, None, :, None] & columns_BW[:, None, None, :]
    return x_BCHW.masked_fill(send_tensor(covered_B1HW, x_BCHW.device), 0.0)


def _draw_integers(count: int, low: int, high: int, generator: torch.Generator | None) -> Tensor:
    """Integers from ``low`` to ``high`` (inclusive), (count, 1), on the CPU."""
    device = generator.device if generator else "cpu"
    return torch.randint(low, high + 1, (count, 1), generator=generator, device=device).cpu()


_PARTS = {"color": _vary_color, "translation": _translate, "cutout": _cut_out}
