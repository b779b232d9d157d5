"""The published path of :class:`SwinIRModel`."""

from basicsr.models.model_types import SwinIRModel

__all__ = ["SwinIRModel"]
