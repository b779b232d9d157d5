"""GT crops with the kernels of Real-ESRGAN's second-order degradation (arXiv 2107.10833)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field

from basicsr.data.gated_degradation_dataset import GatedDegradationDataset, KernelOptions
from basicsr.degradation.kernel_draws import draw_final_kernel
from basicsr.degradation.kernel_options import (
    KernelList,
    KernelMixture,
    KernelSize,
    render_kernel,
)
from basicsr.utils.errors import Problem
from basicsr.utils.fields import PositiveRange, Probabilities, Probability, RangeAroundOne
from basicsr.utils.registry import DATASET_REGISTRY


class RealESRGANOptions(KernelOptions):
    """Block of :class:`RealESRGANDataset`: the first blur's keys, and the second's ending in 2."""

    blur_kernel_size2: KernelSize = 21
    """`blur_kernel_size` of the second blur."""
    kernel_list2: KernelList = Field(default=["iso"])
    """`kernel_list` of the second blur."""
    kernel_prob2: Probabilities = Field(default=[1.0])
    """`kernel_prob` of the second blur."""
    sinc_prob2: Probability = 0.1
    """`sinc_prob` of the second blur."""
    blur_sigma2: PositiveRange = Field(default=[0.2, 1.5])
    """`blur_sigma` of the second blur."""
    betag_range2: RangeAroundOne = Field(default=[0.5, 4.0])
    """`betag_range` of the second blur."""
    betap_range2: RangeAroundOne = Field(default=[1.0, 2.0])
    """`betap_range` of the second blur."""
    final_sinc_prob: Probability = 0.8
    """Probability of the sinc filter at the end."""
    gt_usm: bool | None = None
    """`degradation.gt_usm`, where the file has none."""

    @cached_property
    def second_mixture(self) -> KernelMixture:
        return KernelMixture(**{name: getattr(self, f"{name}2") for name in KernelMixture.model_fields})

    @property
    def padded_kernel(self) -> int:
        return max(super().padded_kernel, self.blur_kernel_size2)

    def find_conflicts(self) -> list[Problem]:
        second = [Problem(f"{problem.path}2", problem.message) for problem in self.second_mixture.find_conflicts()]
        return super().find_conflicts() + second


@DATASET_REGISTRY.register()
class RealESRGANDataset(GatedDegradationDataset):
    """GT crops of 400x400, flipped and turned at random, with two random blur kernels and a final sinc kernel.

    Args:
        opt: The block; see :class:`RealESRGANOptions`.

    Sample:
        ``gt`` (3, 400, 400): RGB float32 in [0, 1]; ``kernel1``, ``kernel2``, ``sinc_kernel`` (21, 21) float32, sum 1;
        ``sinc_kernel`` is a unit pulse where no final filter was drawn; ``gt_path``; ``failed``.
    """

    Options = RealESRGANOptions
    provides = frozenset({"gt", "kernel1", "kernel2", "sinc_kernel"})
    options: RealESRGANOptions

    def draw_kernels(self, rng: np.random.Generator) -> dict[str, Any]:
        options = self.options
        draws = {"kernel1": options.draw_kernel(rng), "kernel2": options.second_mixture.draw_kernel(rng)}
        final = draw_final_kernel(options.final_sinc_prob, options.blur_kernel_size, options.padded_kernel, rng)
        draws["sinc_kernel"] = final
        return {key: render_kernel(draw, options.padded_kernel) for key, draw in draws.items()}
