"""Options that describe a mixture of blur kernels, and drawing from it."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field

from basicsr.degradation.kernel_draws import (
    SMALLEST_KERNEL,
    KernelDraw,
    draw_kernel_size,
    draw_mixed_kernel,
    draw_sinc_kernel,
)
from basicsr.utils.errors import Problem
from basicsr.utils.fields import Integer, Probability, Section

KernelKind = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]

_TOLERANCE = 1e-4


def _check_kernel_size(size: int) -> int:
    if size % 2 == 0 or size < SMALLEST_KERNEL:
        raise ValueError(f"expected an odd number from {SMALLEST_KERNEL} on, got {size}")
    return size


def _check_probabilities(values: list[float]) -> list[float]:
    if min(values) < 0:
        raise ValueError(f"expected probabilities that are not negative, got {min(values):g}")
    if abs(sum(values) - 1) > _TOLERANCE:
        raise ValueError(f"expected probabilities that sum to 1, these sum to {sum(values):g}")
    return values


def _check_range(bounds: list[float]) -> list[float]:
    if not 0 < bounds[0] <= bounds[1]:
        raise ValueError(f"expected [low, high] with 0 < low <= high, got {bounds}")
    return bounds


def _check_shape_range(bounds: list[float]) -> list[float]:
    # Shapes are drawn from [low, 1] and [1, high] equally often: 1 is the Gaussian.
    if not 0 < bounds[0] <= 1 <= bounds[1]:
        raise ValueError(f"expected [low, high] with 0 < low <= 1 <= high, got {bounds}")
    return bounds


KernelSize = Annotated[Integer, AfterValidator(_check_kernel_size)]
KernelList = Annotated[list[KernelKind], Field(min_length=1)]
KernelProb = Annotated[list[float], Field(min_length=1), AfterValidator(_check_probabilities)]
SigmaRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_check_range)]
ShapeRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_check_shape_range)]


class KernelMixture(Section):
    """A distribution of blur kernels (Real-ESRGAN, arXiv 2107.10833, section 3.2), as option files describe it."""

    blur_kernel_size: KernelSize = Field(21, description="Largest side of a kernel; sides from 7 on are drawn.")
    kernel_list: KernelList = Field(["iso"], description="Kinds of kernel.")
    kernel_prob: KernelProb = Field([1.0], description="Their probabilities.")
    sinc_prob: Probability = Field(0, description="Probability of a sinc kernel instead.")
    blur_sigma: SigmaRange = Field([0.1, 3.0], description="Standard deviations in pixels, [low, high].")
    betag_range: ShapeRange = Field([0.5, 4.0], description="Shapes of generalised Gaussian kinds, [low, high].")
    betap_range: ShapeRange = Field([1.0, 2.0], description="Shapes of plateau kinds, [low, high].")

    def find_conflicts(self) -> list[Problem]:
        """What does not fit together, at the option to change."""
        kinds, probabilities = len(self.kernel_list), len(self.kernel_prob)
        if kinds == probabilities:
            return []
        return [Problem("kernel_prob", f"{probabilities} probabilities for {kinds} kernel kinds")]

    def draw_kernel(self, rng: np.random.Generator) -> KernelDraw:
        """Draws a kernel; size, kind and parameters in this order."""
        size = draw_kernel_size(self.blur_kernel_size, rng)
        if rng.random() < self.sinc_prob:
            return draw_sinc_kernel(size, rng)
        return draw_mixed_kernel(
            self.kernel_list,
            self.kernel_prob,
            size,
            sigma_x_range=self.blur_sigma,
            sigma_y_range=self.blur_sigma,
            betag_range=self.betag_range,
            betap_range=self.betap_range,
            rng=rng,
        )


def render_kernel(draw: KernelDraw, pad_to: int) -> torch.Tensor:
    """The kernel of a draw, (pad_to, pad_to) float32, sum 1."""
    return torch.from_numpy(draw.render(pad_to).astype(np.float32))
