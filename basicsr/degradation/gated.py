"""Gated degradation: blur, noise and JPEG, each with probability one half (W. Zhang et al., arXiv 2205.04910).

Blur → bicubic reduction → noise → JPEG → clamp → 8 bit → crop. The crop is drawn first, and only what the kept pixels
depend on is computed: whole JPEG coding units at their place in the image, the blur's support around them. The one
thing that depends on the whole image is the photon count of Poisson noise (the number of distinct values of the reduced
image), for which the reduced image is computed whole. Noise depends on a pixel's position in the whole image. So the
result is the crop of the degraded whole image; on a GPU, which few large operations suit better, it is made as such.
"""

# See basicsr.degradation.base for why annotations are evaluated here.
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from basicsr.degradation.base import DrawnDegradation, Loaded, NoiseSeeds, take_kernels
from basicsr.degradation.noise_fields import add_noise
from basicsr.degradation.parameters import DegradationParameters, GatedDraw, Uniforms
from basicsr.degradation.windows import Windows, cut_windows, downscale_windows
from basicsr.processing.filters import filter2D
from basicsr.utils.fields import JpegRange, Probability, Range
from basicsr.utils.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register(name="SimpleGated")
@dataclass(kw_only=True, eq=False)
class SimpleGatedDegradation(DrawnDegradation[GatedDraw]):
    """Blur, Gaussian noise, JPEG; each with probability one half. The data set supplies isotropic kernels.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side in pixels of the GT crop that is trained on, a multiple of ``scale``; absent: whole images.
        queue_size: Pairs in the pool that mixes degradations within a batch; divisible by the batch size. Absent: no
            pool.
        gate: Draw crop, gates and kind of noise once per batch (published; use a pool), or everything for each image
            (no pool).
        noise_range: Smallest and largest σ of Gaussian noise, in levels of 255.
        gray_noise_prob: Probability that noise is the same in all channels.
        jpeg_range: Lowest and highest JPEG quality.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    needs = frozenset({"gt", "kernel"})

    noise_range: Range = (1, 30)
    gray_noise_prob: Probability = 0.4
    jpeg_range: JpegRange = (40, 95)
    gaussian_noise_prob: Probability = field(default=1.0, init=False)

    DECISIONS = ("top", "left", "blur", "noise", "noise_kind", "strength", "gray", "jpeg", "quality")

    def _draw_sample(self, place: tuple[int, int], uniforms: Uniforms, seeds: NoiseSeeds) -> GatedDraw:
        # Each gate is open with probability one half.
        is_open = {name: uniforms[name] < 0.5 for name in ("blur", "noise", "jpeg")}
        noise = self._draw_noise(uniforms, seeds[0]) if is_open["noise"] else None
        quality = uniforms.within("quality", self.jpeg_range) if is_open["jpeg"] else None
        return GatedDraw(*place, is_open["blur"], noise, quality)

    def _steps(self, draw: GatedDraw) -> tuple[bool, str | None, bool]:
        return draw.blur, draw.noise.kind if draw.noise else None, draw.jpeg_quality is not None

    def _degrade(self, batch: Loaded, parameters: DegradationParameters[GatedDraw], whole: bool) -> torch.Tensor:
        gt, kept = batch["gt"], parameters.windows
        has_blur, noise_kind, has_jpeg = self._steps(parameters.samples[0])
        height, width = gt.shape[2] // self.scale, gt.shape[3] // self.scale
        everything = Windows.whole(len(parameters), height, width)
        window = kept.on_jpeg_grid() if has_jpeg else kept
        if whole:
            window = everything

        computed = everything if noise_kind == "poisson" else window
        kernels = take_kernels(batch, "kernel") if has_blur else None
        if whole:
            x = gt if kernels is None else filter2D(gt, kernels)
            x = F.interpolate(x, scale_factor=1 / self.scale, mode="bicubic")
        else:
            x = downscale_windows(gt, kernels, self.scale, computed)
        if noise_kind is not None:
            x = add_noise(x, [draw.noise for draw in parameters.samples if draw.noise], computed, window)
        x = x.clamp(0, 1)
        if has_jpeg:
            if window.leaves(height, width):
                # Coding units that leave the image are filled with black.
                rows, cols = window.positions(x.device)
                inside_rows, inside_cols = (rows >= 0) & (rows < height), (cols >= 0) & (cols < width)
                x = torch.where(inside_rows[:, None, :, None] & inside_cols[:, None, None, :], x, 0)
            x = self._code(x, [draw.jpeg_quality for draw in parameters.samples])
        x = cut_windows(x, kept.relative_to(window))
        return (x * 255.0).round() / 255.0


@DEGRADATION_REGISTRY.register(name="HardGated")
@dataclass(kw_only=True, eq=False)
class HardGatedDegradation(SimpleGatedDegradation):
    """Blur by any kernel, Gaussian or Poisson noise, JPEG; each with probability one half.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side in pixels of the GT crop that is trained on, a multiple of ``scale``; absent: whole images.
        queue_size: Pairs in the pool that mixes degradations within a batch; divisible by the batch size. Absent: no
            pool.
        gate: Draw crop, gates and kind of noise once per batch (published; use a pool), or everything for each image
            (no pool).
        noise_range: Smallest and largest σ of Gaussian noise, in levels of 255.
        gray_noise_prob: Probability that noise is the same in all channels.
        jpeg_range: Lowest and highest JPEG quality.
        gaussian_noise_prob: Probability that noise is Gaussian; else it is Poisson.
        poisson_scale_range: Smallest and largest scale of Poisson noise.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    gaussian_noise_prob: Probability = 0.5
    poisson_scale_range: Range = (0.05, 3)
