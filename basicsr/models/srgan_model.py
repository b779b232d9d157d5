"""The published path of :class:`SRGANModel`."""

from basicsr.models.model_types import SRGANModel

__all__ = ["SRGANModel"]
