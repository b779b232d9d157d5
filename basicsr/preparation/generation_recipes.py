"""Recipes of synthesised test sets: a degradation, its blur kernels and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from basicsr.data.gated_degradation_dataset import PADDED_KERNEL
from basicsr.degradation import DEGRADATIONS
from basicsr.degradation.base import DrawnDegradation
from basicsr.degradation.kernel_draws import KERNEL_KINDS, KernelDraw, draw_final_kernel
from basicsr.degradation.kernel_options import KernelMixture, render_kernel
from basicsr.degradation.parameters import DegradationParameters
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.seeding import numpy_rng, torch_generator

DEFAULT_SEED = 233


_mix_all = partial(KernelMixture, kernel_list=list(KERNEL_KINDS), kernel_prob=[0.45, 0.25, 0.12, 0.03, 0.12, 0.03])


@dataclass(frozen=True)
class GenerationRecipe:
    """A degradation and its blur kernels.

    Attributes:
        degradation: ``hard_gated``, ``simple_gated`` or ``second_order``.
        scale: Reduction.
        seed: Part of every image's key.
        mixtures: By the name under which the degradation takes the kernel.
        options: Further arguments of the degradation.
    """

    degradation: str
    scale: int
    seed: int
    mixtures: Mapping[str, KernelMixture] = field(default_factory=lambda: {"kernel": _mix_all()})
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise OptionsError([Problem("scale", f"expected a positive integer, got {self.scale}")])

    def build(self) -> DrawnDegradation:
        """The degradation, for whole images, one at a time."""
        sharpened = {"gt_usm": True} if self.degradation == "second_order" else {}
        arguments = {"scale": self.scale, "gt_size": None, "gate": "sample", **sharpened, **self.options}
        degradation: Any = DEGRADATIONS[self.degradation](**arguments)
        return degradation

    def draw(self, name: str, height: int, width: int) -> dict[str, Any]:
        """Everything that is drawn for one image of this size, as plain numbers.

        Returns:
            ``parameters`` of the degradation, and ``kernels`` by their key in its batch.
        """
        generator = torch_generator("generate", self.degradation, self.seed, name)
        parameters = self.build().draw(1, height, width, generator)
        rng = numpy_rng("generate", self.degradation, self.seed, name)
        kernels = {key: mixture.draw_kernel(rng) for key, mixture in self.mixtures.items()}
        if self.degradation == "second_order":
            # The last filter is a sinc with Real-ESRGAN's probability, otherwise a pulse.
            kernels["sinc_kernel"] = draw_final_kernel(0.8, PADDED_KERNEL, PADDED_KERNEL, rng)
        plain = {key: kernel.to_dict() for key, kernel in kernels.items()}
        return {"kernels": plain, "parameters": parameters.to_dict()}

    def degrade(self, gt_BCHW: torch.Tensor, drawn: Mapping[str, Any]) -> torch.Tensor:
        """Makes the LQ image (1, 3, H / scale, W / scale) again from what :meth:`draw` returned."""
        batch = {"gt": gt_BCHW}
        for key, values in drawn["kernels"].items():
            batch[key] = render_kernel(KernelDraw.from_dict(values), PADDED_KERNEL)[None]
        return self.build().apply(batch, DegradationParameters.from_dict(drawn["parameters"])).require("lq", "a set")


def hard_gated_recipe(scale: int = 4, seed: int = DEFAULT_SEED) -> GenerationRecipe:
    """The test sets of hard-gated recipes."""
    return GenerationRecipe("hard_gated", scale, seed)


def second_order_recipe(scale: int = 4, seed: int = DEFAULT_SEED) -> GenerationRecipe:
    """The test sets of Real-ESRGAN recipes, with that method's two mixtures of kernels."""
    sigmas = {"kernel1": [0.2, 3.0], "kernel2": [0.2, 1.5]}
    mixtures = {name: _mix_all(sinc_prob=0.1, blur_sigma=sigma) for name, sigma in sigmas.items()}
    return GenerationRecipe("second_order", scale, seed, mixtures)
