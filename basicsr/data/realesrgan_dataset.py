"""GT crops with the kernels of Real-ESRGAN's second-order degradation (arXiv 2107.10833)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from basicsr.data.dataset_options import DatasetOptions, Probability
from basicsr.data.gated_degradation_dataset import KernelOptions
from basicsr.data.gt_crop_dataset import GtCropDataset
from basicsr.data.image_dataset import Entry
from basicsr.degradation.kernel_draws import draw_final_kernel
from basicsr.degradation.kernel_options import (
    KernelList,
    KernelMixture,
    KernelSize,
    render_kernel,
)
from basicsr.utils.fields import PositiveRange, Probabilities, RangeAroundOne
from basicsr.utils.registry import DATASET_REGISTRY


class RealESRGANOptions(KernelOptions):
    """Block of :class:`RealESRGANDataset`: the first blur's keys, and the second's ending in 2."""

    IGNORED: ClassVar[Mapping[str, str]] = {
        **DatasetOptions.IGNORED,
        "gt_usm": "the degradation sharpens GT",
    }

    blur_kernel_size2: KernelSize = Field(21, description="`blur_kernel_size` of the second blur.")
    kernel_list2: KernelList = Field(["iso"], description="`kernel_list` of the second blur.")
    kernel_prob2: Probabilities = Field([1.0], description="`kernel_prob` of the second blur.")
    sinc_prob2: Probability = Field(0.1, description="`sinc_prob` of the second blur.")
    blur_sigma2: PositiveRange = Field([0.2, 1.5], description="`blur_sigma` of the second blur.")
    betag_range2: RangeAroundOne = Field([0.5, 4.0], description="`betag_range` of the second blur.")
    betap_range2: RangeAroundOne = Field([1.0, 2.0], description="`betap_range` of the second blur.")
    final_sinc_prob: Probability = Field(0.8, description="Probability of the sinc filter at the end.")

    @property
    def second_mixture(self) -> KernelMixture:
        return KernelMixture(**{name: getattr(self, name + "2") for name in KernelMixture.model_fields})

    @property
    def padded_kernel(self) -> int:
        return max(super().padded_kernel, self.blur_kernel_size2)

    def find_conflicts(self) -> list[str]:  # type: ignore[override]
        problems = self.second_mixture.find_conflicts()
        return super().find_conflicts() + [f"{problem.path}2: {problem.message}" for problem in problems]


@DATASET_REGISTRY.register()
class RealESRGANDataset(GtCropDataset):
    """GT crops of 400x400, flipped and turned at random, with two random blur kernels and a final sinc kernel.

    Args:
        opt: The block; see :class:`RealESRGANOptions`.

    Sample:
        ``gt`` (3, 400, 400): RGB float32 in [0, 1]; ``kernel1``, ``kernel2``, ``sinc_kernel`` (21, 21) float32, sum 1;
        ``sinc_kernel`` is a unit pulse where no final filter was drawn; ``gt_path``; ``failed``.
    """

    Options = RealESRGANOptions
    options: RealESRGANOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        self.mixtures = self.options, self.options.second_mixture

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        crop = self.read_crop(entry["gt_path"], rng)
        gt = self.to_tensors([crop], rng)[0]
        options = self.options
        first, second = (mixture.draw_kernel(rng) for mixture in self.mixtures)
        final = draw_final_kernel(options.final_sinc_prob, options.blur_kernel_size, options.padded_kernel, rng)
        draws = {"kernel1": first, "kernel2": second, "sinc_kernel": final}
        kernels = {key: render_kernel(draw, options.padded_kernel) for key, draw in draws.items()}
        return {"gt": gt, **kernels, "gt_path": entry["gt_path"]}
