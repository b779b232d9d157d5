"""Options that describe a mixture of blur kernels, and drawing from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field

from basicsr.degradation.kernel_draws import (
    SMALLEST_KERNEL,
    KernelDraw,
    check_kernel_options,
    draw_kernel_size,
    draw_mixed_kernel,
    draw_sinc_kernel,
)

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


KernelSize = Annotated[int, AfterValidator(_check_kernel_size)]
KernelList = Annotated[list[KernelKind], Field(min_length=1)]
KernelProb = Annotated[list[float], Field(min_length=1), AfterValidator(_check_probabilities)]
SigmaRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_check_range)]
ShapeRange = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_check_shape_range)]


@dataclass(frozen=True)
class KernelMixture:
    """A distribution of blur kernels (Real-ESRGAN, arXiv 2107.10833, section 3.2).

    Attributes:
        largest: Largest odd side; sides from 7 to it are equally likely.
        kinds: Kinds of kernel.
        probabilities: Of the kinds; they sum to 1.
        sinc_prob: Probability of a sinc kernel instead of any of them.
        sigma: Standard deviations in pixels, [low, high].
        generalized_shape: Shapes of generalised Gaussian kinds, [low, high].
        plateau_shape: Shapes of plateau kinds, [low, high].
    """

    largest: int
    kinds: Sequence[str]
    probabilities: Sequence[float]
    sinc_prob: float
    sigma: Sequence[float]
    generalized_shape: Sequence[float]
    plateau_shape: Sequence[float]

    def find_conflicts(self, suffix: str = "") -> list[str]:
        """What does not fit together, in sentences; ``suffix`` ends the option names."""
        try:
            check_kernel_options(self.kinds, self.probabilities)
        except ValueError as error:
            return [str(error).replace("kernel_prob", f"kernel_prob{suffix}")]
        return []

    def draw(self, rng: np.random.Generator) -> KernelDraw:
        """Draws a kernel; size, kind and parameters in this order."""
        size = draw_kernel_size(self.largest, rng)
        if rng.random() < self.sinc_prob:
            return draw_sinc_kernel(size, rng)
        return draw_mixed_kernel(
            self.kinds,
            self.probabilities,
            size,
            sigma_x_range=self.sigma,
            sigma_y_range=self.sigma,
            betag_range=self.generalized_shape,
            betap_range=self.plateau_shape,
            rng=rng,
        )


def render_kernel(draw: KernelDraw, pad_to: int) -> torch.Tensor:
    """The kernel of a draw, (pad_to, pad_to) float32, sum 1."""
    return torch.from_numpy(draw.render(pad_to).astype(np.float32))
