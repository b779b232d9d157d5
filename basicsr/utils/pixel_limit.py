"""The limit against decompression bombs, small files that would fill the memory: one for Pillow and OpenCV.

OpenCV reads it from the environment when it is loaded; 2^30 pixels unless set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"
_pillow = Lock()


def get_max_pixels() -> int:
    """The largest number of pixels of an image that is read."""
    text = os.environ.get(VARIABLE, "")
    return int(text) if text.isdecimal() else 2**30


def explain_excess() -> str:
    """Why an image is not read, and what to do."""
    return f"more than {get_max_pixels():,} pixels, the limit against decompression bombs; to read it, raise {VARIABLE}"


@contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Pillow opens any file in here; its own limit, 179 megapixels, holds again afterwards."""
    from PIL import Image

    with _pillow:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
