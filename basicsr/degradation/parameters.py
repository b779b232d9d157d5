"""The random decisions of a degradation: immutable, plain enough for JSON, and enough to make the same images again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter

from basicsr.degradation.windows import Windows


@dataclass(frozen=True)
class NoiseDraw:
    """Noise of one image.

    Attributes:
        kind: ``gaussian`` or ``poisson``.
        strength: Standard deviation in 8-bit units, or the factor on Poisson noise.
        gray: Whether the channels share the noise.
        seed: Key of the noise field.
    """

    kind: str
    strength: float
    gray: bool
    seed: int


@dataclass(frozen=True)
class CropDraw:
    """The kept part of one image.

    Attributes:
        top: First row of the kept part, in low-resolution pixels.
        left: First column of the kept part, in low-resolution pixels.
    """

    top: int
    left: int


@dataclass(frozen=True)
class GatedDraw(CropDraw):
    """One image of a gated degradation.

    Attributes:
        blur: Whether the image is blurred (with the kernel that comes with it).
        noise: Its noise, or None.
        jpeg_quality: 1 … 100, or None for no JPEG.
    """

    blur: bool
    noise: NoiseDraw | None
    jpeg_quality: float | None


@dataclass(frozen=True)
class RoundDraw:
    """One of the two rounds of a second-order degradation.

    Attributes:
        blur: Whether the image is blurred (with the kernel that comes with it).
        resize: Factor on the size (second round: on the final low-resolution size).
        mode: Interpolation: ``area``, ``bilinear`` or ``bicubic``.
        noise: The noise.
        jpeg_quality: 1 … 100.
    """

    blur: bool
    resize: float
    mode: str
    noise: NoiseDraw
    jpeg_quality: float


@dataclass(frozen=True)
class SecondOrderDraw(CropDraw):
    """One image of a second-order degradation.

    Attributes:
        first: First round.
        second: Second round.
        final_mode: Interpolation to the low-resolution size.
        sinc_before_jpeg: Whether the final sinc filter comes before the last JPEG instead of after it.
    """

    first: RoundDraw
    second: RoundDraw
    final_mode: str
    sinc_before_jpeg: bool


DrawT = TypeVar("DrawT", bound=CropDraw)
_READERS: dict[str, TypeAdapter[Any]] = {
    "gated": TypeAdapter(tuple[GatedDraw, ...]),
    "second_order": TypeAdapter(tuple[SecondOrderDraw, ...]),
}


@dataclass(frozen=True)
class DegradationParameters(Generic[DrawT]):
    """Everything drawn for one batch.

    Attributes:
        height: Rows kept, in low-resolution pixels.
        width: Columns kept, in low-resolution pixels.
        samples: One entry per image.
    """

    height: int
    width: int
    samples: tuple[DrawT, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, indices: Sequence[int]) -> DegradationParameters[DrawT]:
        """The parameters of some of the images, to make those again without the others."""
        return DegradationParameters(self.height, self.width, tuple(self.samples[index] for index in indices))

    @property
    def windows(self) -> Windows:
        """The kept windows, in low-resolution pixels."""
        corners = np.array([(sample.top, sample.left) for sample in self.samples])
        return Windows(corners, np.array([self.height, self.width]))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts."""
        is_gated = all(isinstance(sample, GatedDraw) for sample in self.samples)
        return {"kind": "gated" if is_gated else "second_order", **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DegradationParameters[Any]:
        """Inverts :meth:`to_dict`, also after a way through JSON.

        Raises:
            ValueError: If ``kind`` is not known, or a value is missing or of another type.
        """
        if values["kind"] not in _READERS:
            raise ValueError(f"kind: expected one of {', '.join(_READERS)}, got {values['kind']!r}")
        samples = _READERS[values["kind"]].validate_python(values["samples"])
        return DegradationParameters(int(values["height"]), int(values["width"]), samples)


def choose_index(uniform: float, weights: Sequence[float]) -> int:
    """An index that is as likely as its weight, from a uniform random number in [0, 1)."""
    edges = list(accumulate(weights))
    # The product is less than the last edge, however it is rounded.
    return bisect_right(edges, uniform * edges[-1])


class Uniforms(dict[str, float]):
    """Uniform random numbers of one image, one for each named decision."""

    def within(self, name: str, bounds: Sequence[float]) -> float:
        """A number between the bounds."""
        return bounds[0] + (bounds[1] - bounds[0]) * self[name]

    def below(self, name: str, count: int) -> int:
        """An integer in ``[0, count)``."""
        return min(int(self[name] * count), count - 1)
