"""BasicSR's published path of MATLAB's image functions."""

from basicsr.processing.matlab import bgr2ycbcr, imresize, rgb2ycbcr, ycbcr2bgr, ycbcr2rgb

__all__ = ["bgr2ycbcr", "imresize", "rgb2ycbcr", "ycbcr2bgr", "ycbcr2rgb"]
