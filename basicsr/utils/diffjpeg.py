"""BasicSR's published path of JPEG compression of tensors."""

from basicsr.processing.diffjpeg import DiffJPEG, quality_to_factor

__all__ = ["DiffJPEG", "quality_to_factor"]
