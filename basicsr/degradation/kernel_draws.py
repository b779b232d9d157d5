"""Random blur kernels: what is drawn is a small record; the kernel is made from it.

``rng`` says where to draw from; None means Python's and NumPy's process-wide streams, in BasicSR's order, for callers
that seed those.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, Literal, get_args

import numpy as np

from basicsr.degradation.blur_kernels import (
    bivariate_generalized_Gaussian,
    bivariate_plateau,
    check_odd_size,
    circular_lowpass_kernel,
    pad_kernel,
)
from basicsr.degradation.parameters import choose_index
from basicsr.utils.fields import Ordered, Probabilities, Range
from basicsr.utils.parts import check_arguments

KernelKind = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
KERNEL_KINDS: tuple[KernelKind, ...] = get_args(KernelKind)
"""What ``kernel_list`` in an option file may hold."""

SMALLEST_KERNEL = 7
Rng = np.random.Generator | None


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
        isotropic = not self.kind.endswith("aniso")
        shape = (self.size, self.sigma_x, self.sigma_y, self.rotation)
        if self.kind == "pulse":
            kernel = pad_kernel(np.ones((1, 1)), self.size)
        elif self.kind == "sinc":
            kernel = circular_lowpass_kernel(self.cutoff, self.size)
        elif self.kind.startswith("plateau"):
            kernel = bivariate_plateau(*shape, self.beta, isotropic=isotropic)
        else:
            # A Gaussian is the generalised one of shape 1.
            kernel = bivariate_generalized_Gaussian(*shape, self.beta, isotropic=isotropic)
        return pad_kernel(kernel, pad_to)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KernelDraw:
        """Inverts :meth:`to_dict`."""
        return cls(**values)


def _uniform(rng: Rng, bounds: Sequence[float], size: tuple[int, ...] | None = None) -> Any:
    source: Any = np.random if rng is None else rng
    return source.uniform(bounds[0], bounds[1], size)


@lru_cache(maxsize=256)
def _check_once(function: Callable[..., Any], **arguments: Any) -> None:
    # Samples are drawn from the same few ranges over and over; a check takes longer than a draw.
    check_arguments(function, arguments)


def check_kernel_options(kernel_list: Sequence[KernelKind], kernel_prob: Probabilities) -> None:
    """Checks the two lists that describe a mixture of kernels.

    Raises:
        ValueError: For an unknown kind, lists of different length, a negative probability or a sum other than 1.
    """
    _check_once(check_kernel_options, kernel_list=tuple(kernel_list), kernel_prob=tuple(kernel_prob))
    if len(kernel_list) != len(kernel_prob):
        raise ValueError(f"kernel_prob: {len(kernel_prob)} probabilities for {len(kernel_list)} kernel kinds")


def draw_kind(kind: str, kernel_size: int, ranges: Sequence[Range], rng: Rng) -> KernelDraw:
    """Draws a kernel of a given kind without making it.

    Args:
        kind: One of :data:`KERNEL_KINDS`.
        kernel_size: Odd side in pixels.
        ranges: Of sigma_x, sigma_y, rotation and beta; what the kind has no use for is neither drawn nor checked.
        rng: Where to draw from.
    """
    check_odd_size(kernel_size)
    *shape_ranges, beta = ranges
    names = ("sigma_x_range", "sigma_y_range", "rotation_range") if kind.endswith("aniso") else ("sigma_x_range",)
    used = {name: tuple(bounds) for name, bounds in zip(names, shape_ranges)}
    _check_once(random_mixed_kernels, **used)
    sigma_x, *across = (float(_uniform(rng, bounds)) for bounds in used.values())
    sigma_y, rotation = across or (sigma_x, 0.0)
    shape = 1.0
    if kind.startswith(("generalized", "plateau")):
        # Below and above 1 (the Gaussian) are equally likely, however lopsided the range is.
        shape = float(_uniform(rng, (beta[0], 1) if _uniform(rng, (0, 1)) < 0.5 else (1, beta[1])))
    return KernelDraw(kind, kernel_size, sigma_x, sigma_y, rotation, shape)


def _apply_noise(kernel: np.ndarray, noise_range: Range | None, rng: Rng) -> np.ndarray:
    """Multiplies a kernel by uniform noise and brings its sum back to 1; None leaves it alone."""
    if noise_range is None:
        return kernel
    _check_once(_apply_noise, noise_range=tuple(noise_range))
    noisy = kernel * _uniform(rng, noise_range, kernel.shape)
    return noisy / noisy.sum()


def draw_sinc_kernel(kernel_size: int, rng: Rng = None) -> KernelDraw:
    """Draws a sinc kernel for a blur as Real-ESRGAN does: cut-off from pi/3 (from size 13 on: pi/5) to pi."""
    lowest = math.pi / 3 if kernel_size < 13 else math.pi / 5
    return KernelDraw("sinc", kernel_size, cutoff=float(_uniform(rng, (lowest, math.pi))))


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


# Kernels under the names BasicSR publishes.


def _random_bivariate(
    family: str,
    kernel_size: int,
    sigma_x_range: Sequence[float],
    sigma_y_range: Sequence[float],
    rotation_range: Sequence[float],
    beta_range: Sequence[float],
    noise_range: Sequence[float] | None = None,
    isotropic: bool = True,
    rng: Rng = None,
) -> np.ndarray:
    kind = family + ("iso" if isotropic else "aniso")
    drawn = draw_kind(kind, kernel_size, (sigma_x_range, sigma_y_range, rotation_range, beta_range), rng)
    return _apply_noise(drawn.render(), noise_range, rng)


random_bivariate_generalized_Gaussian = partial(_random_bivariate, "generalized_")
"""Random generalised Gaussian kernel: :func:`random_bivariate_Gaussian` with a ``beta_range`` before ``noise_range``;
``beta`` is below and above 1 equally often."""

random_bivariate_plateau = partial(_random_bivariate, "plateau_")
"""Random plateau kernel; arguments as for :func:`random_bivariate_generalized_Gaussian`."""


def random_bivariate_Gaussian(
    kernel_size: int,
    sigma_x_range: Sequence[float],
    sigma_y_range: Sequence[float],
    rotation_range: Sequence[float],
    noise_range: Sequence[float] | None = None,
    isotropic: bool = True,
    rng: Rng = None,
) -> np.ndarray:
    """Random Gaussian kernel.

    Args:
        kernel_size: Odd side in pixels.
        sigma_x_range: Standard deviation in pixels.
        sigma_y_range: Standard deviation across, in pixels; not drawn if isotropic.
        rotation_range: Radians; not drawn if isotropic.
        noise_range: Factors of multiplicative uniform noise; None for none.
        isotropic: Round instead of elliptic.
        rng: Where to draw from.

    Returns:
        (kernel_size, kernel_size), sum 1.

    Raises:
        ValueError: For an even size or a range out of order.
    """
    ranges = (sigma_x_range, sigma_y_range, rotation_range, (1, 1))
    return _random_bivariate("", kernel_size, *ranges, noise_range, isotropic, rng)


def random_mixed_kernels(
    kernel_list: Sequence[KernelKind],
    kernel_prob: Sequence[float],
    kernel_size: int = 21,
    sigma_x_range: Range = (0.6, 5),
    sigma_y_range: Range = (0.6, 5),
    rotation_range: Ordered = (-math.pi, math.pi),
    betag_range: Sequence[float] = (0.5, 8),
    betap_range: Sequence[float] = (0.5, 8),
    noise_range: Range | None = None,
    rng: Rng = None,
) -> np.ndarray:
    """Random kernel of a random kind.

    Args:
        kernel_list: Kinds, out of :data:`KERNEL_KINDS`.
        kernel_prob: Their probabilities.
        kernel_size: Odd side in pixels.
        sigma_x_range: Standard deviation in pixels.
        sigma_y_range: Standard deviation across, in pixels (anisotropic kinds).
        rotation_range: Radians (anisotropic kinds).
        betag_range: Shape of generalised Gaussian kinds.
        betap_range: Shape of plateau kinds.
        noise_range: Factors of multiplicative uniform noise, never put on plateau kinds; None for none.
        rng: Where to draw from.

    Returns:
        (kernel_size, kernel_size), sum 1.

    Raises:
        ValueError: For an unknown kind, probabilities that do not sum to 1, an even size or a range out of order.
    """
    check_kernel_options(kernel_list, kernel_prob)
    if rng is None:
        kind = random.choices(kernel_list, kernel_prob)[0]
    else:
        kind = kernel_list[choose_index(rng.random(), kernel_prob)]
    is_plateau = kind.startswith("plateau")
    ranges = (sigma_x_range, sigma_y_range, rotation_range, betap_range if is_plateau else betag_range)
    return _apply_noise(draw_kind(kind, kernel_size, ranges, rng).render(), None if is_plateau else noise_range, rng)
