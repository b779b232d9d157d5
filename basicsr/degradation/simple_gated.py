"""Simple gated degradation (SGD)."""

from __future__ import annotations

from collections.abc import Sequence

from basicsr.degradation.gated import GatedDegradation


class SimpleGatedDegradation(GatedDegradation):
    """Blur, Gaussian noise, JPEG; each with probability one half. The data set supplies isotropic kernels.

    Options and errors as for :class:`~basicsr.degradation.gated.GatedDegradation`.
    """

    def __init__(
        self,
        *,
        scale: int,
        gt_size: int | None,
        noise_range: Sequence[float] = (1, 30),
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
            gaussian_noise_prob=1.0,
            poisson_scale_range=(0, 0),
            gate=gate,
        )
