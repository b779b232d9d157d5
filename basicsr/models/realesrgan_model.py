"""The published path of :class:`RealESRGANModel`."""

from basicsr.models.model_types import RealESRGANModel

__all__ = ["RealESRGANModel"]
