"""Baseline JPEG compression as a function of tensors: 4:2:0 chroma, on any device, optionally differentiable.

Only the lossy part is done (colour, chroma subsampling, DCT, quantisation, and back), by ITU-T T.81 with the example
tables of its annex K, on full-range BT.601 YCbCr (JFIF). The differentiable rounding is that of R. Shin and D. Song,
"JPEG-resistant Adversarial Images", 2017.

As published, the quantisation tables lie transposed (vertical and horizontal frequencies exchanged), and the steps are
not rounded to integers; published models were trained on this. So the result is what a real encoder makes of the
transposed image, transposed back, but for an encoder's integer steps and a decoder's smoother chroma.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
# The chroma table is 99 outside its upper left corner.
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))

_YCC_FROM_RGB = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_RGB_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))

GRID = 16
"""Pixels after which the coding pattern repeats: an 8x8 chroma block covers 16x16 pixels under 4:2:0."""


def quality_to_factor(quality: Tensor | float) -> Tensor:
    """The factor by which a JPEG quality multiplies the quantisation tables (the Independent JPEG Group's rule).

    Args:
        quality: A number in 1 … 100 or a tensor of them; tensors are clamped to [1, 100] without reading them back.

    Returns:
        A new tensor of the same shape, in [0.01, 50].

    Raises:
        ValueError: For a number outside [1, 100].
    """
    if not isinstance(quality, Tensor):
        if not 1 <= quality <= 100:
            raise ValueError(f"JPEG quality must lie in 1 … 100, got {quality}")
        quality = torch.tensor(float(quality))
    quality = quality.clamp(1, 100)
    factor = torch.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0)
    # Quality 100 would make every quantisation step zero; above 99.5 it counts as 99.5.
    return factor.clamp(min=0.01)


@lru_cache(maxsize=16)
def _tables(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Steps of luma and of chroma (64,), the DCT (64, 64), and the matrices from RGB to YCC and back (3, 3).

    The DCT is the orthonormal 2-D DCT-II of a flattened 8x8 block; its transpose is the inverse (T.81 A.3.3).
    """
    # Made outside inference mode even when first asked for inside it: cached tables must serve training as well.
    with torch.inference_mode(False):
        chroma = F.pad(torch.tensor(_CHROMA_CORNER), (0, 4, 0, 4), value=99)
        # The luma table is transposed: see the head of this file. The chroma table is symmetric.
        steps = (torch.tensor(_LUMA_STEPS).T.flatten(), chroma.flatten())
        frequency = torch.arange(8, dtype=torch.float64)
        basis = torch.cos((2 * frequency[None, :] + 1) * frequency[:, None] * math.pi / 16) / 2
        basis[0] /= math.sqrt(2)
        tables = (*steps, torch.kron(basis, basis), torch.tensor(_YCC_FROM_RGB), torch.tensor(_RGB_FROM_YCC))
        return tuple(table.to(device, dtype) for table in tables)


class DiffJPEG(nn.Module):
    """Compresses and decompresses images as a JPEG encoder would; it has neither parameters nor buffers.

    Args:
        differentiable: Round with ``round(x) + (x - round(x))^3``, which has a gradient, instead of ``round(x)``.
    """

    def __init__(self, differentiable: bool = True) -> None:
        super().__init__()
        self.differentiable = differentiable

    def _code(self, planes: Tensor, dct: Tensor, steps: Tensor, factor: Tensor) -> Tensor:
        """Quantises (B, N, H, W) planes, centred on 0 and in 8-bit units, in the DCT domain."""
        batch, count, height, width = planes.shape
        # (B, N, H, W) → (B, N, H/8 * W/8, 64).
        split = planes.view(batch, count, height // 8, 8, width // 8, 8)
        blocks = split.transpose(3, 4).reshape(batch, count, -1, 64)
        quantum = steps * factor.view(-1, 1, 1, 1)
        levels = (blocks @ dct.T) / quantum
        rounded = torch.round(levels)
        if self.differentiable:
            # The cube is small where rounding is, and has a gradient, which rounding has not.
            rounded = rounded + (levels - rounded) ** 3
        decoded = ((rounded * quantum) @ dct).view(batch, count, height // 8, width // 8, 8, 8)
        return decoded.transpose(3, 4).reshape(planes.shape)

    def forward(self, x: Tensor, quality: Tensor | float) -> Tensor:
        """Codes a batch.

        Args:
            x: (B, 3, H, W) RGB in [0, 1], float32 or float64 (other types are computed in float32). Sizes that are not
                multiples of 16 are zero-padded on the right and bottom and cropped afterwards.
            quality: One number for all or a tensor (B,) of them, 1 … 100; not modified.

        Returns:
            (B, 3, H, W) in [0, 1].

        Raises:
            ValueError: If the images are not RGB or the number of qualities does not fit.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"expected RGB images (B, 3, H, W), got {tuple(x.shape)}")
        factor = quality_to_factor(quality).to(x.device, torch.promote_types(x.dtype, torch.float32)).reshape(-1)
        if factor.numel() not in (1, x.shape[0]):
            raise ValueError(f"{factor.numel()} qualities do not fit {x.shape[0]} images")
        height, width = x.shape[-2:]
        luma_steps, chroma_steps, dct, ycc_from_rgb, rgb_from_ycc = _tables(x.device, factor.dtype)
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.to(factor.dtype), (0, -width % GRID, 0, -height % GRID))
            ycc = torch.einsum("ij,bjhw->bihw", ycc_from_rgb, padded * 255)
            # Centred on 0, as the DCT wants it: luma loses 128 here, chroma never gains it.
            luma = self._code(ycc[:, :1] - 128, dct, luma_steps, factor) + 128
            chroma = self._code(F.avg_pool2d(ycc[:, 1:], 2), dct, chroma_steps, factor)
            chroma = chroma.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            rgb = torch.einsum("ij,bjhw->bihw", rgb_from_ycc, torch.cat([luma, chroma], dim=1))
            return (rgb[..., :height, :width].clamp(0, 255) / 255).to(x.dtype)
