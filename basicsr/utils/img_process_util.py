"""BasicSR's published path of filters."""

from basicsr.processing.filters import USMSharp, filter2D, usm_sharp

__all__ = ["USMSharp", "filter2D", "usm_sharp"]
