"""The paper's set-ups for public image quality data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from basicsr.analysis.protocols import Protocol
from basicsr.utils.errors import UserError

DEFAULT_ENSEMBLE = 20


@dataclass(frozen=True)
class Preset:
    """How one data set is scored.

    Attributes:
        img_size: Height and width of a window.
        spatial_window: Attention window of the spatial critic; None keeps that of training.
        spectral_window: Attention window of the spectral critic; None keeps that of training.
        protocol: Of both critics.
        n_ensemble: Random windows per image.
        stride: Step of the ``patchify`` grid.
    """

    img_size: tuple[int, int]
    spatial_window: int | None
    spectral_window: int | None
    protocol: Protocol
    n_ensemble: int = DEFAULT_ENSEMBLE
    stride: int = 64


_PIPAL = Preset((192, 192), None, None, "patchify")

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "KonIQ-10k": Preset((384, 384), 24, 6, "random", n_ensemble=40),
        "LIVE-itW": Preset((384, 384), 24, 6, "random", n_ensemble=30),
        "PIPAL": _PIPAL,
        "PIPAL-TradSR": _PIPAL,
        "PIPAL-PsnrSR": _PIPAL,
        "PIPAL-GANbSR": _PIPAL,
    }
)

_ALIASES = {"koniq": "KonIQ-10k", "koniq10k": "KonIQ-10k", "clive": "LIVE-itW", "liveitw": "LIVE-itW"}


def canonical_name(test_set: str) -> str | None:
    """The preset that a test set's name stands for (``CLIVE``, ``koniq``, ``PIPAL_TradSR`` …), or None."""
    plain = re.sub(r"[^a-z0-9]", "", test_set.lower())
    by_plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in PRESETS}
    return by_plain.get(plain) or _ALIASES.get(plain)


def find_preset(name: str) -> Preset:
    """Looks up a preset.

    Raises:
        UserError: If there is none of that name.
    """
    found = canonical_name(name)
    if found is None:
        raise UserError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[found]


def default_ensemble(test_set: str) -> int:
    """Random windows per image where none are asked for: 40 on KonIQ-10k, as published, else 20."""
    return PRESETS["KonIQ-10k"].n_ensemble if canonical_name(test_set) == "KonIQ-10k" else DEFAULT_ENSEMBLE
