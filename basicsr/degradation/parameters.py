"""What a degradation drew: immutable, plain enough for JSON, and enough to make the same images again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch


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
class GatedDraw:
    """One image of a gated degradation.

    Attributes:
        top: First row of the kept part, in low-resolution pixels.
        left: First column of the kept part, in low-resolution pixels.
        blur: Whether the image is blurred (with the kernel that comes with it).
        noise: Its noise, or None.
        jpeg_quality: 1 … 100, or None for no JPEG.
    """

    top: int
    left: int
    blur: bool
    noise: NoiseDraw | None
    jpeg_quality: float | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GatedDraw:
        """Inverts ``dataclasses.asdict``."""
        return cls(**{**values, "noise": _read_noise(values["noise"])})


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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RoundDraw:
        """Inverts ``dataclasses.asdict``."""
        return cls(**{**values, "noise": NoiseDraw(**values["noise"])})


@dataclass(frozen=True)
class SecondOrderDraw:
    """One image of a second-order degradation.

    Attributes:
        top: First row of the kept part, in low-resolution pixels.
        left: First column of the kept part, in low-resolution pixels.
        first: First round.
        second: Second round.
        final_mode: Interpolation to the low-resolution size.
        sinc_before_jpeg: Whether the final sinc filter comes before the last JPEG instead of after it.
    """

    top: int
    left: int
    first: RoundDraw
    second: RoundDraw
    final_mode: str
    sinc_before_jpeg: bool

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SecondOrderDraw:
        """Inverts ``dataclasses.asdict``."""
        rounds = {name: RoundDraw.from_dict(values[name]) for name in ("first", "second")}
        return cls(**{**values, **rounds})


def _read_noise(values: Mapping[str, Any] | None) -> NoiseDraw | None:
    return None if values is None else NoiseDraw(**values)


_KINDS: dict[str, type[GatedDraw] | type[SecondOrderDraw]] = {"gated": GatedDraw, "second_order": SecondOrderDraw}


@dataclass(frozen=True)
class DegradationParameters:
    """Everything drawn for one batch.

    Attributes:
        height: Rows kept, in low-resolution pixels.
        width: Columns kept, in low-resolution pixels.
        samples: One entry per image.
    """

    height: int
    width: int
    samples: tuple[GatedDraw, ...] | tuple[SecondOrderDraw, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, indices: Sequence[int]) -> DegradationParameters:
        """The parameters of some of the images, to make those again without the others."""
        chosen: Any = tuple(self.samples[index] for index in indices)
        return DegradationParameters(self.height, self.width, chosen)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts."""
        kind = next(name for name, draw in _KINDS.items() if all(isinstance(item, draw) for item in self.samples))
        samples = [asdict(sample) for sample in self.samples]
        return {"kind": kind, "height": self.height, "width": self.width, "samples": samples}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DegradationParameters:
        """Inverts :meth:`to_dict`.

        Raises:
            ValueError: If ``kind`` is not known.
        """
        if values["kind"] not in _KINDS:
            raise ValueError(f"kind: expected one of {', '.join(_KINDS)}, got {values['kind']!r}")
        samples: Any = tuple(_KINDS[values["kind"]].from_dict(sample) for sample in values["samples"])
        return cls(int(values["height"]), int(values["width"]), samples)


class Uniforms:
    """A table of uniform random numbers on the CPU: a row per image, a named column per decision.

    The columns are drawn whether they are used or not, so that one option does not move the draws of another.

    Args:
        names: The columns.
        count: Number of images.
        shared: Columns in which all images have the first one's number.
        generator: A CPU generator.
    """

    def __init__(self, names: Sequence[str], count: int, shared: Sequence[str], generator: torch.Generator) -> None:
        table = torch.rand(count, len(names), dtype=torch.float64, generator=generator)
        for column, name in enumerate(names):
            if name in shared:
                table[:, column] = table[0, column]
        self._columns: dict[str, list[float]] = dict(zip(names, table.T.tolist()))

    def happens(self, name: str, index: int, probability: float) -> bool:
        """Whether an event of the given probability happens to an image."""
        return self._columns[name][index] < probability

    def within(self, name: str, index: int, bounds: tuple[float, float]) -> float:
        """A number between the bounds."""
        return bounds[0] + (bounds[1] - bounds[0]) * self._columns[name][index]

    def below(self, name: str, index: int, count: int) -> int:
        """An integer in ``[0, count)``."""
        return min(int(self._columns[name][index] * count), count - 1)

    def choose(self, name: str, index: int, probabilities: Sequence[float]) -> int:
        """An index with the given probabilities."""
        rest = self._columns[name][index] * sum(probabilities)
        for choice, probability in enumerate(probabilities):
            rest -= probability
            if rest < 0:
                return choice
        return max(choice for choice, probability in enumerate(probabilities) if probability > 0)


def draw_seeds(count: int, generator: torch.Generator) -> list[int]:
    """``count`` keys for noise fields."""
    return torch.randint(0, 2**62, (count,), generator=generator).tolist()
