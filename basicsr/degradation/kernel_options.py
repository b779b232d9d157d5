"""A mixture of blur kernels: the options that describe it, declared once, and drawing from it."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field

from basicsr.degradation.kernel_draws import (
    SMALLEST_KERNEL,
    KernelDraw,
    KernelKind,
    draw_kernel_size,
    draw_kind,
    draw_sinc_kernel,
)
from basicsr.degradation.parameters import choose_index
from basicsr.utils.errors import Problem
from basicsr.utils.fields import Integer, PositiveRange, Probabilities, Probability, RangeAroundOne, Section


def _check_kernel_size(size: int) -> int:
    if size % 2 == 0 or size < SMALLEST_KERNEL:
        raise ValueError(f"expected an odd number from {SMALLEST_KERNEL} on, got {size}")
    return size


KernelSize = Annotated[Integer, AfterValidator(_check_kernel_size)]
KernelList = Annotated[list[KernelKind], Field(min_length=1)]


class KernelMixture(Section):
    """A distribution of blur kernels (Real-ESRGAN, arXiv 2107.10833, section 3.2), which data sets inherit as options.

    Sides from 7 to ``blur_kernel_size`` are equally likely.
    """

    blur_kernel_size: KernelSize = 21
    """Largest side of a kernel; sides from 7 on are drawn."""
    kernel_list: KernelList = Field(default=["iso"])
    """Kinds of kernel."""
    kernel_prob: Probabilities = Field(default=[1.0])
    """Their probabilities."""
    sinc_prob: Probability = 0
    """Probability of a sinc kernel instead."""
    blur_sigma: PositiveRange = Field(default=[0.1, 3.0])
    """Standard deviations in pixels, [low, high]."""
    # Shapes are drawn from [low, 1] and [1, high] equally often: 1 is the Gaussian.
    betag_range: RangeAroundOne = Field(default=[0.5, 4.0])
    """Shapes of generalised Gaussian kinds, [low, high]."""
    betap_range: RangeAroundOne = Field(default=[1.0, 2.0])
    """Shapes of plateau kinds, [low, high]."""

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
        kind = self.kernel_list[choose_index(rng.random(), self.kernel_prob)]
        beta_range = self.betap_range if kind.startswith("plateau") else self.betag_range
        return draw_kind(kind, size, (self.blur_sigma, self.blur_sigma, (-math.pi, math.pi), beta_range), rng)


def render_kernel(draw: KernelDraw, pad_to: int) -> torch.Tensor:
    """The kernel of a draw, (pad_to, pad_to) float32, sum 1."""
    return torch.from_numpy(draw.render(pad_to).astype(np.float32))
