"""Random blur kernels: what is drawn is a small record; the kernel is made from it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from basicsr.degradation.blur_kernels import (
    bivariate_Gaussian,
    bivariate_generalized_Gaussian,
    bivariate_plateau,
    check_odd_size,
    circular_lowpass_kernel,
    pad_kernel,
)

Range = Sequence[float]

KERNEL_KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
"""What ``kernel_list`` in an option file may hold."""

SMALLEST_KERNEL = 7


class Draws(Protocol):
    def choose(self, items: Sequence[str], weights: Sequence[float]) -> str: ...
    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None) -> Any: ...


class _GlobalDraws:
    """The process-wide streams, in BasicSR's order: for callers that seed those."""

    def choose(self, items: Sequence[str], weights: Sequence[float]) -> str:
        return random.choices(items, weights)[0]

    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None) -> Any:
        return np.random.uniform(low, high, size)  # noqa: NPY002


class _GeneratorDraws:
    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def choose(self, items: Sequence[str], weights: Sequence[float]) -> str:
        edges = np.cumsum(weights)
        index = int(np.searchsorted(edges, self._rng.random() * edges[-1], side="right"))
        return items[min(index, len(items) - 1)]

    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None) -> Any:
        return self._rng.uniform(low, high, size)


def open_draws(rng: np.random.Generator | None) -> Draws:
    return _GlobalDraws() if rng is None else _GeneratorDraws(rng)


def check_kernel_options(kernel_list: Sequence[str], kernel_prob: Sequence[float]) -> None:
    """Checks the two lists that describe a mixture of kernels.

    Raises:
        ValueError: For an unknown kind, lists of different length, a negative probability or a sum other than 1.
    """
    unknown = [kind for kind in kernel_list if kind not in KERNEL_KINDS]
    if unknown:
        raise ValueError(f"kernel_list: unknown kernel kind {unknown[0]!r}; known: {', '.join(KERNEL_KINDS)}")
    if len(kernel_list) != len(kernel_prob) or not kernel_list:
        raise ValueError(f"kernel_prob: {len(kernel_prob)} probabilities for {len(kernel_list)} kernel kinds")
    if min(kernel_prob) < 0 or not math.isclose(sum(kernel_prob), 1, abs_tol=1e-4):
        raise ValueError(f"kernel_prob: probabilities must not be negative and must sum to 1, got {list(kernel_prob)}")


@dataclass(frozen=True)
class KernelDraw:
    """What was drawn for one kernel: enough to make it again, and plain enough for JSON.

    Attributes:
        kind: One of :data:`KERNEL_KINDS`, ``sinc`` or ``pulse``.
        size: Odd side in pixels.
        sigma_x: Standard deviation in pixels.
        sigma_y: Standard deviation across; equal to ``sigma_x`` for isotropic kinds.
        rotation: Radians.
        beta: Shape of generalised and plateau kinds.
        cutoff: Radians per pixel, for ``sinc``.
    """

    kind: str
    size: int
    sigma_x: float = 0.0
    sigma_y: float = 0.0
    rotation: float = 0.0
    beta: float = 1.0
    cutoff: float = 0.0

    def render(self, pad_to: int = 0) -> np.ndarray:
        """Makes the kernel (size, size), zero-padded to ``pad_to`` if that is larger; float64, sum 1."""
        if self.kind == "pulse":
            kernel = np.ones((1, 1))
            return pad_kernel(kernel, max(self.size, pad_to))
        if self.kind == "sinc":
            return circular_lowpass_kernel(self.cutoff, self.size, pad_to)
        isotropic = not self.kind.endswith("aniso")
        shape = (self.size, self.sigma_x, self.sigma_y, self.rotation)
        if self.kind.startswith("generalized"):
            kernel = bivariate_generalized_Gaussian(*shape, self.beta, isotropic=isotropic)
        elif self.kind.startswith("plateau"):
            kernel = bivariate_plateau(*shape, self.beta, isotropic=isotropic)
        else:
            kernel = bivariate_Gaussian(*shape, isotropic=isotropic)
        return pad_kernel(kernel, pad_to)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KernelDraw:
        """Inverts :meth:`to_dict`."""
        return cls(**values)


def _check_order(name: str, bounds: Range, low: float, high: float = math.inf) -> None:
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise ValueError(f"{name} must be (low, high) with {low} <= low <= high, got {tuple(bounds)}")


def draw_kind(
    kind: str,
    draws: Draws,
    kernel_size: int,
    sigma_x_range: Range,
    sigma_y_range: Range,
    rotation_range: Range,
    beta_range: Range,
) -> KernelDraw:
    """Draws a kernel of a given kind; what the kind has no use for is not drawn."""
    check_odd_size(kernel_size)
    _check_order("sigma_x_range", sigma_x_range, 0)
    sigma_x = float(draws.uniform(sigma_x_range[0], sigma_x_range[1]))
    sigma_y, rotation, beta = sigma_x, 0.0, 1.0
    if kind.endswith("aniso"):
        _check_order("sigma_y_range", sigma_y_range, 0)
        _check_order("rotation_range", rotation_range, -math.inf)
        sigma_y = float(draws.uniform(sigma_y_range[0], sigma_y_range[1]))
        rotation = float(draws.uniform(rotation_range[0], rotation_range[1]))
    if kind.startswith(("generalized", "plateau")):
        # Below and above 1 (the Gaussian) are equally likely, however lopsided the range is.
        low, high = (beta_range[0], 1) if draws.uniform(0, 1) < 0.5 else (1, beta_range[1])
        beta = float(draws.uniform(low, high))
    return KernelDraw(kind, kernel_size, sigma_x, sigma_y, rotation, beta)


def apply_kernel_noise(kernel: np.ndarray, noise_range: Range | None, draws: Draws) -> np.ndarray:
    """Multiplies a kernel by uniform noise and brings its sum back to 1; None leaves it alone."""
    if noise_range is None:
        return kernel
    _check_order("noise_range", noise_range, 0)
    noisy = kernel * draws.uniform(noise_range[0], noise_range[1], kernel.shape)
    return noisy / noisy.sum()


def draw_mixed_kernel(
    kernel_list: Sequence[str],
    kernel_prob: Sequence[float],
    kernel_size: int = 21,
    sigma_x_range: Range = (0.6, 5),
    sigma_y_range: Range = (0.6, 5),
    rotation_range: Range = (-math.pi, math.pi),
    betag_range: Range = (0.5, 8),
    betap_range: Range = (0.5, 8),
    rng: np.random.Generator | None = None,
) -> KernelDraw:
    """Draws a kernel of a random kind without making it; arguments as for :func:`random_mixed_kernels`."""
    check_kernel_options(kernel_list, kernel_prob)
    draws = open_draws(rng)
    kind = draws.choose(kernel_list, kernel_prob)
    beta_range = betap_range if kind.startswith("plateau") else betag_range
    return draw_kind(kind, draws, kernel_size, sigma_x_range, sigma_y_range, rotation_range, beta_range)


def draw_sinc_kernel(kernel_size: int, rng: np.random.Generator | None = None) -> KernelDraw:
    """Draws a sinc kernel for a blur as Real-ESRGAN does: cut-off from pi/3 (from size 13 on: pi/5) to pi."""
    lowest = math.pi / 3 if kernel_size < 13 else math.pi / 5
    return KernelDraw("sinc", kernel_size, cutoff=float(open_draws(rng).uniform(lowest, math.pi)))


def draw_kernel_size(largest: int, rng: np.random.Generator) -> int:
    """An odd side from 7 to ``largest``, all equally likely."""
    return SMALLEST_KERNEL + 2 * int(rng.integers((largest - SMALLEST_KERNEL) // 2 + 1))


def draw_final_kernel(probability: float, largest: int, pad_to: int, rng: np.random.Generator) -> KernelDraw:
    """Draws the filter that ends the second-order degradation (arXiv 2107.10833), ringing after all else.

    Args:
        probability: Of a sinc kernel, whose cut-off is pi/3 to pi for every size; otherwise it is a unit pulse.
        largest: Largest side of the sinc kernel.
        pad_to: Side of the pulse.
        rng: Where to draw from.
    """
    if rng.random() >= probability:
        return KernelDraw("pulse", pad_to)
    size = draw_kernel_size(largest, rng)
    return KernelDraw("sinc", size, cutoff=float(rng.uniform(math.pi / 3, math.pi)))
