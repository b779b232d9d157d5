"""Hard gated degradation (HGD)."""

from __future__ import annotations

from collections.abc import Sequence

from basicsr.degradation.gated import GatedDegradation


class HardGatedDegradation(GatedDegradation):
    """Blur by any kernel, Gaussian or Poisson noise, JPEG; each with probability one half.

    Options and errors as for :class:`~basicsr.degradation.gated.GatedDegradation`.
    """

    def __init__(
        self,
        *,
        scale: int,
        gt_size: int | None,
        gaussian_noise_prob: float = 0.5,
        noise_range: Sequence[float] = (1, 30),
        poisson_scale_range: Sequence[float] = (0.05, 3),
        gray_noise_prob: float = 0.4,
        jpeg_range: Sequence[float] = (40, 95),
        gate: str = "batch",
    ) -> None:
        super().__init__(
            scale=scale,
            gt_size=gt_size,
            noise_range=noise_range,
            gray_noise_prob=gray_noise_prob,
            jpeg_range=jpeg_range,
            gaussian_noise_prob=gaussian_noise_prob,
            poisson_scale_range=poisson_scale_range,
            gate=gate,
        )
