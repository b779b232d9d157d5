"""Second-order degradation of Real-ESRGAN (X. Wang et al., ICCVW 2021, section 3 and figure 2).

GT is sharpened by unsharp masking, then twice blurred, resized, made noisy and JPEG-coded; a sinc filter comes before
or after the last JPEG. Two blurs, two random sizes and two coding grids reach so far that a kept crop depends on nearly
the whole 400x400 input, so images are degraded whole and cropped at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from basicsr.degradation.base import DrawnDegradation, check_batch, group_alike, windows_of
from basicsr.degradation.checks import check_jpeg_range, check_probabilities, check_probability, check_range
from basicsr.degradation.noise_fields import add_noise
from basicsr.degradation.pair import DegradedPair
from basicsr.degradation.parameters import (
    DegradationParameters,
    NoiseDraw,
    RoundDraw,
    SecondOrderDraw,
    Uniforms,
    draw_seeds,
)
from basicsr.degradation.windows import Windows, cut_windows, send
from basicsr.utils.img_process_util import USMSharp, filter2D

RESIZE_MODES = ("area", "bilinear", "bicubic")
_KERNELS = ("kernel1", "kernel2", "sinc_kernel")
_ROUND_COLUMNS = ("blur", "direction", "resize", "mode", "noise_kind", "strength", "gray", "quality")
_BATCH_ROUND_COLUMNS = ("blur", "direction", "resize", "mode", "noise_kind")
_COMMON_COLUMNS = ("top", "left", "final_mode", "sinc_first")


class _Round:
    """The options of one round, and drawing from them."""

    def __init__(
        self,
        suffix: str,
        blur_prob: float,
        resize_prob: Sequence[float],
        resize_range: Sequence[float],
        gaussian_noise_prob: float,
        noise_range: Sequence[float],
        poisson_scale_range: Sequence[float],
        gray_noise_prob: float,
        jpeg_range: Sequence[float],
    ) -> None:
        self.suffix = suffix or "1"
        self.blur_prob = blur_prob
        self.resize_prob = check_probabilities(f"resize_prob{suffix}", resize_prob, 3)
        self.resize_range = check_range(f"resize_range{suffix}", resize_range, 1e-3)
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ValueError(f"resize_range{suffix}: must reach from shrinking to enlarging, got {list(resize_range)}")
        self.gaussian_noise_prob = check_probability(f"gaussian_noise_prob{suffix}", gaussian_noise_prob)
        self.gray_noise_prob = check_probability(f"gray_noise_prob{suffix}", gray_noise_prob)
        self.strength_ranges = {
            "gaussian": check_range(f"noise_range{suffix}", noise_range, 0),
            "poisson": check_range(f"poisson_scale_range{suffix}", poisson_scale_range, 0),
        }
        self.jpeg_range = check_jpeg_range(f"jpeg_range{suffix}", jpeg_range)

    def columns(self, names: Sequence[str]) -> list[str]:
        return [name + self.suffix for name in names]

    def draw(self, uniforms: Uniforms, index: int, seed: int, batch_seed: int | None) -> RoundDraw:
        """Draws for one image; gray Gaussian noise takes ``batch_seed``, if there is one."""
        blur, direction, resize, mode, noise_kind, strength, gray, quality = self.columns(_ROUND_COLUMNS)
        low, high = self.resize_range
        bounds = ((1.0, high), (low, 1.0), (1.0, 1.0))[uniforms.choose(direction, index, self.resize_prob)]
        kind = "gaussian" if uniforms.happens(noise_kind, index, self.gaussian_noise_prob) else "poisson"
        is_gray = uniforms.happens(gray, index, self.gray_noise_prob)
        if is_gray and kind == "gaussian" and batch_seed is not None:
            seed = batch_seed
        return RoundDraw(
            blur=uniforms.happens(blur, index, self.blur_prob),
            resize=uniforms.within(resize, index, bounds),
            mode=RESIZE_MODES[uniforms.below(mode, index, len(RESIZE_MODES))],
            noise=NoiseDraw(kind, uniforms.within(strength, index, self.strength_ranges[kind]), is_gray, seed),
            jpeg_quality=uniforms.within(quality, index, self.jpeg_range),
        )


class SecondOrderDegradation(DrawnDegradation):
    """Real-ESRGAN's degradation; ``…2`` options are those of the second round.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side of the kept GT crop in pixels, a multiple of ``scale``; None keeps whole images.
        resize_prob: Probabilities of enlarging, shrinking and keeping the size.
        resize_range: Factors: the lowest for shrinking, the highest for enlarging.
        gaussian_noise_prob: Probability of Gaussian noise; else it is Poisson.
        noise_range: Standard deviation of Gaussian noise in 8-bit units.
        poisson_scale_range: Factor on Poisson noise.
        gray_noise_prob: Probability that the channels of an image share the noise.
        jpeg_range: JPEG quality, within 1 … 100.
        second_blur_prob: Probability of the second blur (the first always happens).
        resize_prob2: As ``resize_prob``.
        resize_range2: As ``resize_range``; factors on the final low-resolution size.
        gaussian_noise_prob2: As ``gaussian_noise_prob``.
        noise_range2: As ``noise_range``.
        poisson_scale_range2: As ``poisson_scale_range``.
        gray_noise_prob2: As ``gray_noise_prob``.
        jpeg_range2: As ``jpeg_range``.
        gt_usm: Degrade the sharpened GT and return it beside GT; False degrades GT itself.
        gate: ``batch``: crop, sizes, kinds of noise and interpolation are drawn once for a batch, as published;
            ``sample``: everything is drawn for each image, and images are degraded one by one.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    def __init__(
        self,
        *,
        scale: int,
        gt_size: int | None,
        resize_prob: Sequence[float] = (0.2, 0.7, 0.1),
        resize_range: Sequence[float] = (0.15, 1.5),
        gaussian_noise_prob: float = 0.5,
        noise_range: Sequence[float] = (1, 30),
        poisson_scale_range: Sequence[float] = (0.05, 3),
        gray_noise_prob: float = 0.4,
        jpeg_range: Sequence[float] = (30, 95),
        second_blur_prob: float = 0.8,
        resize_prob2: Sequence[float] = (0.3, 0.4, 0.3),
        resize_range2: Sequence[float] = (0.3, 1.2),
        gaussian_noise_prob2: float = 0.5,
        noise_range2: Sequence[float] = (1, 25),
        poisson_scale_range2: Sequence[float] = (0.05, 2.5),
        gray_noise_prob2: float = 0.4,
        jpeg_range2: Sequence[float] = (30, 95),
        gt_usm: bool = True,
        gate: str = "batch",
    ) -> None:
        super().__init__(scale, gt_size, gate)
        check_probability("second_blur_prob", second_blur_prob)
        self.gt_usm = gt_usm
        first = (resize_prob, resize_range, gaussian_noise_prob, noise_range, poisson_scale_range)
        second = (resize_prob2, resize_range2, gaussian_noise_prob2, noise_range2, poisson_scale_range2)
        self._first = _Round("", 1.0, *first, gray_noise_prob, jpeg_range)
        self._second = _Round("2", second_blur_prob, *second, gray_noise_prob2, jpeg_range2)
        self._sharpen = USMSharp()

    def draw(self, batch_size: int, height: int, width: int, generator: torch.Generator) -> DegradationParameters:
        """Draws for a batch of GT images of ``height`` x ``width`` pixels.

        Raises:
            ValueError: If the images are smaller than ``gt_size`` (or ``scale``).
        """
        kept, spread = self._crop_freedom(height, width)
        names = [*_COMMON_COLUMNS, *self._first.columns(_ROUND_COLUMNS), *self._second.columns(_ROUND_COLUMNS)]
        shared: list[str] = []
        if self.gate == "batch":
            rounds = (self._first, self._second)
            shared = [*_COMMON_COLUMNS, *(name for one in rounds for name in one.columns(_BATCH_ROUND_COLUMNS))]
        uniforms = Uniforms(names, batch_size, shared, generator)
        seeds = draw_seeds(2 * batch_size + 2, generator)
        samples = []
        for index in range(batch_size):
            batch_seeds = seeds[-2:] if self.gate == "batch" else (None, None)
            samples.append(
                SecondOrderDraw(
                    top=uniforms.below("top", index, spread[0]),
                    left=uniforms.below("left", index, spread[1]),
                    first=self._first.draw(uniforms, index, seeds[2 * index], batch_seeds[0]),
                    second=self._second.draw(uniforms, index, seeds[2 * index + 1], batch_seeds[1]),
                    final_mode=RESIZE_MODES[uniforms.below("final_mode", index, len(RESIZE_MODES))],
                    sinc_before_jpeg=uniforms.happens("sinc_first", index, 0.5),
                )
            )
        return DegradationParameters(*kept, tuple(samples))

    @torch.no_grad()
    def apply(self, batch: Mapping[str, torch.Tensor], parameters: DegradationParameters) -> DegradedPair:
        """Degrades a batch with given parameters; draws nothing.

        Args:
            batch: As for calling.
            parameters: From :meth:`draw` for images of this size.

        Returns:
            As for calling.

        Raises:
            ValueError: If the parameters are of another batch size, or a kernel is missing.
        """
        check_batch(batch, parameters, _KERNELS)
        samples: Any = parameters.samples
        gt = batch["gt"]
        everyone = range(gt.shape[0])
        kept = windows_of(parameters, everyone)
        with torch.autocast(gt.device.type, enabled=False):
            sharp = self._sharpen.to(gt.device)(gt) if self.gt_usm else None
            source = gt if sharp is None else sharp
            lq = gt.new_empty(gt.shape[0], gt.shape[1], gt.shape[2] // self.scale, gt.shape[3] // self.scale)
            for images in group_alike([_steps(sample) for sample in samples]):
                index = send(images, torch.int64, gt.device)
                kernels = {name: batch[name][index] for name in _KERNELS}
                lq[index] = self._degrade(source[index], kernels, [samples[image] for image in images])
        gt_kept, lq_kept = cut_windows(gt, everyone, kept.scaled(self.scale)), cut_windows(lq, everyone, kept)
        sharp_kept = None if sharp is None else cut_windows(sharp, everyone, kept.scaled(self.scale)).contiguous()
        return DegradedPair(gt_kept.contiguous(), lq_kept.contiguous(), sharp_kept)

    def _degrade(
        self, x: torch.Tensor, kernels: Mapping[str, torch.Tensor], draws: list[SecondOrderDraw]
    ) -> torch.Tensor:
        """Whole low-resolution images of GT images that go through the same steps."""
        height, width = x.shape[-2] // self.scale, x.shape[-1] // self.scale
        first, second = draws[0].first, draws[0].second
        x = filter2D(x, kernels["kernel1"])
        # At least one pixel must remain of a small image.
        factor = max(first.resize, 1 / min(x.shape[-2:]))
        x = F.interpolate(x, scale_factor=factor, mode=first.mode)
        x = _add_noise_everywhere(x, [draw.first.noise for draw in draws])
        x = self._compress(x, [draw.first.jpeg_quality for draw in draws])

        if second.blur:
            x = filter2D(x, kernels["kernel2"])
        x = F.interpolate(
            x, size=(max(1, int(height * second.resize)), max(1, int(width * second.resize))), mode=second.mode
        )
        x = _add_noise_everywhere(x, [draw.second.noise for draw in draws])
        qualities = [draw.second.jpeg_quality for draw in draws]
        if not draws[0].sinc_before_jpeg:
            x = self._compress(x, qualities)
        x = F.interpolate(x, size=(height, width), mode=draws[0].final_mode)
        x = filter2D(x, kernels["sinc_kernel"])
        if draws[0].sinc_before_jpeg:
            x = self._compress(x, qualities)
        return (x.clamp(0, 1) * 255.0).round() / 255.0

    def _compress(self, x: torch.Tensor, qualities: list[float]) -> torch.Tensor:
        return self._code(x.clamp(0, 1), send(qualities, x.dtype, x.device))


def _add_noise_everywhere(x: torch.Tensor, draws: list[NoiseDraw]) -> torch.Tensor:
    whole = Windows.whole(len(draws), x.shape[2], x.shape[3])
    return add_noise(x, draws, whole, whole)


def _steps(sample: SecondOrderDraw) -> tuple[object, ...]:
    """What images must have in common to be degraded together."""
    rounds = [(one.blur, one.resize, one.mode, one.noise.kind) for one in (sample.first, sample.second)]
    return (*rounds, sample.final_mode, sample.sinc_before_jpeg)
