"""Networks between two networks (Wang et al., "Deep Network Interpolation", CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from basicsr.utils.errors import UserError, WeightsError, name_some
from basicsr.weights.architectures import compare_architectures, recognise
from basicsr.weights.layouts import fit_names

MAX_NAMED = 5


def interpolate(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: float, names: tuple[str, str] = ("A", "B")
) -> dict[str, Tensor]:
    """``(1 - alpha) * first + alpha * second``, tensor by tensor; integers are those of the first.

    Args:
        first: A state dict.
        second: That of a network of the same architecture; its names may be in another layout.
        alpha: From 0 to 1.
        names: What the two are called in messages.

    Raises:
        UserError: If ``alpha`` is outside.
        WeightsError: If names or shapes differ; says which, and how the networks differ.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha must be between 0 and 1, got {alpha}")
    other = fit_names(second, first).state
    unfit = [name for name in sorted({*first, *other}) if _shape(first, name) != _shape(other, name)]
    if unfit:
        how = compare_architectures(recognise(first), recognise(other), (f"in {names[0]}", f"in {names[1]}"))
        shown = name_some([f"{name} ({_shape(first, name)} and {_shape(other, name)})" for name in unfit], MAX_NAMED)
        raise WeightsError(f"{names[0]} and {names[1]} are not of one architecture: {shown} differ{how and f'; {how}'}")
    return {
        name: value.lerp(other[name].to(value.dtype), alpha) if value.is_floating_point() else value
        for name, value in first.items()
    }


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(state[name].shape) if name in state else "absent"
