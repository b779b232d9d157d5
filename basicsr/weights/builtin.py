"""The ×4 networks that the package ships, trained by this project; model cards: ``docs/default_network.md``."""

from __future__ import annotations

from pathlib import Path

from basicsr.utils.errors import WeightsError
from basicsr.utils.fields import suggest

BUILTIN = ("faithful", "dualformer")
"""Names: trained for a small error of each pixel, and from there with DualFormer's critics for natural detail."""


def builtin_weights(name: str) -> Path:
    """The file of a network of :data:`BUILTIN`: ``.safetensors``, with its ``architecture`` block in the metadata.

    Raises:
        WeightsError: If no network has this name; the message gives the nearest.
    """
    if name not in BUILTIN:
        raise WeightsError(
            f"{name} is no network of this package{suggest(name, BUILTIN)}; there are {', '.join(BUILTIN)}"
        )
    return Path(__file__).parent / "default" / f"{name}.safetensors"
