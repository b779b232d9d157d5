"""The published path of :class:`RealESRNetModel`."""

from basicsr.models.model_types import RealESRNetModel

__all__ = ["RealESRNetModel"]
