"""From the bytes of an image file to a tensor: decode, crop, and only then convert."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr.utils.errors import DataError
from basicsr.utils.image_files import PNG_SIGNATURE, is_cut_short

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

_PNG_COLOUR_TYPE = 25
_PNG_ALPHA_TYPES = (4, 6)
_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


class SampleError(DataError):
    """One image that cannot be used: unreadable, of an unsupported kind, too small, or not the size of its partner."""


def has_alpha(content: bytes) -> bool:
    """Whether the file's header announces an alpha channel (PNG and extended WebP)."""
    if content.startswith(PNG_SIGNATURE):
        return len(content) > _PNG_COLOUR_TYPE and content[_PNG_COLOUR_TYPE] in _PNG_ALPHA_TYPES
    return content[8:16] == b"WEBPVP8X" and len(content) > 20 and bool(content[20] & 0x10)


@cache
def _notice_alpha(folder: str) -> None:
    logging.getLogger("basicsr").warning("%s: images with an alpha channel; it is dropped", folder)


def decode_image(content: bytes, path: str) -> np.ndarray:
    """Decodes an image file to BGR; gray is repeated, alpha dropped with a notice (once a folder).

    Args:
        content: The file's bytes.
        path: Its name, for messages.

    Returns:
        (H, W, 3) uint8 or uint16.

    Raises:
        SampleError: If it is no image, damaged, cut short, or neither 8 nor 16 bits deep.
    """
    cut_short = is_cut_short(content)
    try:
        buffer = np.frombuffer(content, np.uint8)
        image = None if cut_short else cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None:
        what = "an empty file" if not content else "cut short" if cut_short else "not a readable image"
        raise SampleError(f"{path}: {what}")
    if image.dtype not in _FULL_SCALE:
        raise SampleError(f"{path}: pixels of type {image.dtype}; only 8 and 16 bits are supported")
    if has_alpha(content):
        _notice_alpha(str(Path(path).parent))
    return image


def image_to_tensor(image: np.ndarray) -> torch.Tensor:
    """Converts a decoded image (or a crop of it) to RGB in [0, 1].

    Args:
        image: (H, W, 3) BGR or (H, W, 1), uint8, uint16 or float32 that is in [0, 1] already; any strides.

    Returns:
        (C, H, W) float32, contiguous.
    """
    planes = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))
    scale = _FULL_SCALE.get(planes.dtype)
    if scale is None:
        return torch.from_numpy(planes)
    if planes.dtype == np.uint16:
        planes = planes.astype(np.float32)
    return torch.from_numpy(planes).float().div_(scale)


def read_image_size(path: str) -> tuple[int, int]:
    """Height and width as decoding gives them (EXIF orientation applied), from the file's header alone.

    Raises:
        SampleError: If the file is missing or its header is not that of an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
            # Tag 274, orientation: 5 to 8 lie on their side.
            sideways = image.format == "JPEG" and image.getexif().get(274, 1) >= 5
    except FileNotFoundError:
        raise SampleError(f"{path}: no such file") from None
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SampleError(f"{path}: not a readable image ({type(error).__name__})") from error
    return (width, height) if sideways else (height, width)
