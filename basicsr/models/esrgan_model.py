"""The published path of :class:`ESRGANModel`."""

from basicsr.models.model_types import ESRGANModel

__all__ = ["ESRGANModel"]
