"""Mathematics of the frequency domain; here its light constants, which flags can name without importing PyTorch."""

from typing import Literal, get_args

MaskConvention = Literal["symmetric", "published"]
MASK_CONVENTIONS: tuple[MaskConvention, ...] = get_args(MaskConvention)

BORDERS = (0.3, 0.8)
"""Borders of low, middle and high frequency in Table 1 of arXiv 2307.12027, fractions of the highest frequency."""
