"""Gated degradation: blur, noise and JPEG, each with probability one half (W. Zhang et al., arXiv 2205.04910).

Blur → bicubic reduction → noise → JPEG → clamp → 8 bit → crop. The crop is drawn first, and only what the kept pixels
depend on is computed: whole JPEG coding units at their place in the image, the blur's support around them. The one
thing that depends on the whole image is the photon count of Poisson noise (the number of distinct values of the reduced
image), for which the reduced image is computed whole. Noise depends on a pixel's position in the whole image. So the
result is the crop of the degraded whole image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from basicsr.degradation.base import DrawnDegradation, check_batch, group_alike, windows_of
from basicsr.degradation.checks import check_jpeg_range, check_probability, check_range
from basicsr.degradation.downscale import downscale_windows
from basicsr.degradation.noise_fields import add_noise
from basicsr.degradation.pair import DegradedPair
from basicsr.degradation.parameters import DegradationParameters, GatedDraw, NoiseDraw, Uniforms, draw_seeds
from basicsr.degradation.windows import Windows, cut_windows, mask_outside, send

_GATE_PROBABILITY = 0.5
_COLUMNS = ("top", "left", "blur", "noise", "noise_kind", "strength", "gray", "jpeg", "quality")
# `gate: batch` draws these once for a batch, the others for each image.
_BATCH_COLUMNS = ("top", "left", "blur", "noise", "noise_kind", "jpeg")


class GatedDegradation(DrawnDegradation):
    """Common part of the hard and the simple gated degradation.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side of the kept GT crop in pixels, a multiple of ``scale``; None keeps whole images.
        noise_range: Standard deviation of Gaussian noise in 8-bit units.
        gray_noise_prob: Probability that the channels of an image share the noise.
        jpeg_range: JPEG quality, within 1 … 100.
        gaussian_noise_prob: Probability that noise, if there is any, is Gaussian; else it is Poisson.
        poisson_scale_range: Factor on Poisson noise.
        gate: ``batch``: crop, gates and kind of noise are drawn once for a batch, and gray Gaussian noise is one field
            for a batch (as published; meant for a pair pool). ``sample``: everything is drawn for each image.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    def __init__(
        self,
        *,
        scale: int,
        gt_size: int | None,
        noise_range: Sequence[float],
        gray_noise_prob: float,
        jpeg_range: Sequence[float],
        gaussian_noise_prob: float,
        poisson_scale_range: Sequence[float],
        gate: str,
    ) -> None:
        super().__init__(scale, gt_size, gate)
        self.gaussian_noise_prob = check_probability("gaussian_noise_prob", gaussian_noise_prob)
        self.gray_noise_prob = check_probability("gray_noise_prob", gray_noise_prob)
        self.jpeg_range = check_jpeg_range("jpeg_range", jpeg_range)
        self._strength_ranges = {
            "gaussian": check_range("noise_range", noise_range, 0),
            "poisson": check_range("poisson_scale_range", poisson_scale_range, 0),
        }

    def draw(self, batch_size: int, height: int, width: int, generator: torch.Generator) -> DegradationParameters:
        """Draws for a batch of GT images of ``height`` x ``width`` pixels.

        Raises:
            ValueError: If the images are smaller than ``gt_size`` (or ``scale``).
        """
        kept, spread = self._crop_freedom(height, width)
        uniforms = Uniforms(_COLUMNS, batch_size, _BATCH_COLUMNS if self.gate == "batch" else (), generator)
        seeds = draw_seeds(batch_size + 1, generator)
        samples = tuple(self._draw_sample(uniforms, index, spread, seeds) for index in range(batch_size))
        return DegradationParameters(*kept, samples)

    def _draw_sample(self, uniforms: Uniforms, index: int, spread: tuple[int, int], seeds: list[int]) -> GatedDraw:
        noise = quality = None
        if uniforms.happens("noise", index, _GATE_PROBABILITY):
            kind = "gaussian" if uniforms.happens("noise_kind", index, self.gaussian_noise_prob) else "poisson"
            gray = uniforms.happens("gray", index, self.gray_noise_prob)
            shared = gray and kind == "gaussian" and self.gate == "batch"
            strength = uniforms.within("strength", index, self._strength_ranges[kind])
            noise = NoiseDraw(kind, strength, gray, seeds[-1] if shared else seeds[index])
        if uniforms.happens("jpeg", index, _GATE_PROBABILITY):
            quality = uniforms.within("quality", index, self.jpeg_range)
        return GatedDraw(
            top=uniforms.below("top", index, spread[0]),
            left=uniforms.below("left", index, spread[1]),
            blur=uniforms.happens("blur", index, _GATE_PROBABILITY),
            noise=noise,
            jpeg_quality=quality,
        )

    @torch.no_grad()
    def apply(
        self, batch: Mapping[str, torch.Tensor], parameters: DegradationParameters, whole: bool = False
    ) -> DegradedPair:
        """Degrades a batch with given parameters; draws nothing.

        Args:
            batch: As for calling.
            parameters: From :meth:`draw` for images of this size.
            whole: Degrade whole images and crop at the end: the same result, slowly.

        Returns:
            As for calling.

        Raises:
            ValueError: If the parameters are of another batch size, or a kernel that is needed is missing or not odd.
        """
        samples: Any = parameters.samples
        check_batch(batch, parameters, ["kernel"] if any(sample.blur for sample in samples) else [])
        gt = batch["gt"]
        kept = windows_of(parameters, range(len(samples)))
        lq = gt.new_empty(gt.shape[0], gt.shape[1], kept.height, kept.width)
        groups = group_alike([_gates(sample) for sample in samples])
        with torch.autocast(gt.device.type, enabled=False):
            for images in groups:
                group = self._degrade(batch, images, parameters, whole)
                if len(groups) == 1:
                    lq = group
                else:
                    lq[send(images, torch.int64, gt.device)] = group
        gt_kept = cut_windows(gt, range(gt.shape[0]), kept.scaled(self.scale))
        return DegradedPair(gt_kept.contiguous(), lq)

    def _degrade(
        self, batch: Mapping[str, torch.Tensor], images: list[int], parameters: DegradationParameters, whole: bool
    ) -> torch.Tensor:
        """LQ crops of images that have the same gates open."""
        gt = batch["gt"]
        draws: list[Any] = [parameters.samples[image] for image in images]
        blur, noise_kind, has_jpeg = _gates(draws[0])
        height, width = gt.shape[2] // self.scale, gt.shape[3] // self.scale
        everything = Windows.whole(len(images), height, width)
        kept = windows_of(parameters, images)
        if whole:
            window = everything
        else:
            window = kept.on_jpeg_grid() if has_jpeg else kept

        computed = everything if noise_kind == "poisson" else window
        kernels = _select(batch["kernel"], images) if blur else None
        x = downscale_windows(gt, images, kernels, self.scale, computed)
        if noise_kind is not None:
            x = add_noise(x, [draw.noise for draw in draws], computed, window)
        x = x.clamp(0, 1)
        if has_jpeg:
            quality = send([draw.jpeg_quality for draw in draws], x.dtype, x.device)
            x = self._code(mask_outside(x, window, height, width), quality)
        x = cut_windows(x, range(len(images)), kept.relative_to(window))
        return (x * 255.0).round() / 255.0


def _select(x: torch.Tensor, images: list[int]) -> torch.Tensor:
    if len(images) == x.shape[0]:
        return x
    return x.index_select(0, send(images, torch.int64, x.device))


def _gates(sample: GatedDraw) -> tuple[bool, str | None, bool]:
    return sample.blur, sample.noise.kind if sample.noise else None, sample.jpeg_quality is not None
