"""Second-order degradation of Real-ESRGAN (X. Wang et al., ICCVW 2021, section 3 and figure 2).

GT is sharpened by unsharp masking, then twice blurred, resized, made noisy and JPEG-coded; a sinc filter comes before
or after the last JPEG. Two blurs, two random sizes and two coding grids reach so far that a kept crop depends on nearly
the whole 400x400 input, so images are degraded whole and cropped at the end.
"""

# See basicsr.degradation.base for why annotations are evaluated here.
from collections.abc import Hashable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from basicsr.degradation.base import DrawnDegradation, Loaded, NoiseSeeds, take_kernels
from basicsr.degradation.noise_fields import add_noise
from basicsr.degradation.parameters import (
    DegradationParameters,
    RoundDraw,
    SecondOrderDraw,
    Uniforms,
    choose_index,
)
from basicsr.degradation.windows import cut_windows
from basicsr.processing.filters import USMSharp, filter2D
from basicsr.utils.fields import Distribution, JpegRange, Probability, Range, RangeAroundOne
from basicsr.utils.registry import DEGRADATION_REGISTRY

RESIZE_MODES = ("area", "bilinear", "bicubic")
_IN_ROUND = ("blur", "direction", "resize", "mode", "noise_kind", "strength", "gray", "quality")


@DEGRADATION_REGISTRY.register(name="SecondOrder")
@dataclass(kw_only=True, eq=False)
class SecondOrderDegradation(DrawnDegradation[SecondOrderDraw]):
    """Real-ESRGAN's degradation; ``…2`` options are those of the second round.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side in pixels of the GT crop that is trained on, a multiple of ``scale``; absent: whole images.
        queue_size: Pairs in the pool that mixes degradations within a batch; divisible by the batch size. Absent: no
            pool.
        gate: Draw crop, sizes, kinds of noise and interpolation once per batch (published; use a pool), or everything
            for each image, which is then degraded alone (no pool).
        resize_prob: Probabilities of [up, down, keep] in the first resize.
        resize_range: Smallest and largest factor of the first resize.
        gaussian_noise_prob: Probability that noise is Gaussian; else it is Poisson.
        noise_range: Smallest and largest σ of Gaussian noise, in levels of 255.
        poisson_scale_range: Smallest and largest scale of Poisson noise.
        gray_noise_prob: Probability that noise is the same in all channels.
        jpeg_range: Lowest and highest JPEG quality.
        second_blur_prob: Probability of the second blur (the first always happens).
        resize_prob2: `resize_prob` of the second round.
        resize_range2: `resize_range` of the second round; factors on the final low-resolution size.
        gaussian_noise_prob2: `gaussian_noise_prob` of the second round.
        noise_range2: `noise_range` of the second round.
        poisson_scale_range2: `poisson_scale_range` of the second round.
        gray_noise_prob2: `gray_noise_prob` of the second round.
        jpeg_range2: `jpeg_range` of the second round.
        gt_usm: Degrade the sharpened GT and return it beside GT; false degrades GT itself.
        l1_gt_usm: Whether pixel losses compare with the sharpened GT. Read by the training step, as the next two.
        percep_gt_usm: Whether the perceptual loss compares with the sharpened GT.
        gan_gt_usm: Whether critics see the sharpened GT.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    needs = frozenset({"gt", "kernel1", "kernel2", "sinc_kernel"})

    resize_prob: Distribution = (0.2, 0.7, 0.1)
    resize_range: RangeAroundOne = (0.15, 1.5)
    gaussian_noise_prob: Probability = 0.5
    noise_range: Range = (1, 30)
    poisson_scale_range: Range = (0.05, 3)
    gray_noise_prob: Probability = 0.4
    jpeg_range: JpegRange = (30, 95)
    second_blur_prob: Probability = 0.8
    resize_prob2: Distribution = (0.3, 0.4, 0.3)
    resize_range2: RangeAroundOne = (0.3, 1.2)
    gaussian_noise_prob2: Probability = 0.5
    noise_range2: Range = (1, 25)
    poisson_scale_range2: Range = (0.05, 2.5)
    gray_noise_prob2: Probability = 0.4
    jpeg_range2: JpegRange = (30, 95)
    gt_usm: bool = True
    l1_gt_usm: bool = True
    percep_gt_usm: bool = True
    gan_gt_usm: bool = False

    DECISIONS = ("top", "left", "final_mode", "sinc_first", *_IN_ROUND, *(f"{name}2" for name in _IN_ROUND))
    NOISES = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._usm = USMSharp()

    def _draw_sample(self, place: tuple[int, int], uniforms: Uniforms, seeds: NoiseSeeds) -> SecondOrderDraw:
        return SecondOrderDraw(
            *place,
            first=self._draw_round("", 1, uniforms, seeds[0]),
            second=self._draw_round("2", self.second_blur_prob, uniforms, seeds[1]),
            final_mode=RESIZE_MODES[uniforms.below("final_mode", len(RESIZE_MODES))],
            sinc_before_jpeg=uniforms["sinc_first"] < 0.5,
        )

    def _draw_round(self, suffix: str, blur_prob: float, uniforms: Uniforms, seeds: tuple[int, int]) -> RoundDraw:
        low, high = getattr(self, "resize_range" + suffix)
        direction = choose_index(uniforms["direction" + suffix], getattr(self, "resize_prob" + suffix))
        return RoundDraw(
            blur=uniforms["blur" + suffix] < blur_prob,
            resize=uniforms.within("resize" + suffix, ((1.0, high), (low, 1.0), (1.0, 1.0))[direction]),
            mode=RESIZE_MODES[uniforms.below("mode" + suffix, len(RESIZE_MODES))],
            noise=self._draw_noise(uniforms, seeds, suffix),
            jpeg_quality=uniforms.within("quality" + suffix, getattr(self, "jpeg_range" + suffix)),
        )

    def _steps(self, draw: SecondOrderDraw) -> Hashable:
        rounds = [(one.blur, one.resize, one.mode, one.noise.kind) for one in (draw.first, draw.second)]
        return (*rounds, draw.final_mode, draw.sinc_before_jpeg)

    def _sharpen_gt(self, gt: torch.Tensor) -> torch.Tensor | None:
        return self._usm.to(gt.device)(gt) if self.gt_usm else None

    def _degrade(self, batch: Loaded, parameters: DegradationParameters[SecondOrderDraw], whole: bool) -> torch.Tensor:
        draws = parameters.samples
        first, second, sinc_before_jpeg = draws[0].first, draws[0].second, draws[0].sinc_before_jpeg
        kernel1, kernel2, sinc = (take_kernels(batch, name) for name in ("kernel1", "kernel2", "sinc_kernel"))
        x = batch["gt"]
        height, width = x.shape[-2] // self.scale, x.shape[-1] // self.scale

        # First round; at least one pixel must remain of a small image.
        x = filter2D(x, kernel1)
        factor = max(first.resize, 1 / min(x.shape[-2:]))
        x = F.interpolate(x, scale_factor=factor, mode=first.mode)
        x = add_noise(x, [draw.first.noise for draw in draws])
        x = self._code(x.clamp(0, 1), [draw.first.jpeg_quality for draw in draws])

        # Second round, whose JPEG comes before or after the last resize and the sinc filter.
        if second.blur:
            x = filter2D(x, kernel2)
        size = (max(1, int(height * second.resize)), max(1, int(width * second.resize)))
        x = F.interpolate(x, size=size, mode=second.mode)
        x = add_noise(x, [draw.second.noise for draw in draws])
        qualities = [draw.second.jpeg_quality for draw in draws]
        if not sinc_before_jpeg:
            x = self._code(x.clamp(0, 1), qualities)
        x = F.interpolate(x, size=(height, width), mode=draws[0].final_mode)
        x = filter2D(x, sinc)
        if sinc_before_jpeg:
            x = self._code(x.clamp(0, 1), qualities)
        x = cut_windows(x, parameters.windows)
        return (x.clamp(0, 1) * 255.0).round() / 255.0
