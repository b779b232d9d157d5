"""Image files: listed, decoded, measured and written in one way; arrays are OpenCV's, (H, W, C) in BGR order."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr.utils.atomic import StrPath, atomic_path
from basicsr.utils.errors import DataError
from basicsr.utils.folders import walk_files
from basicsr.utils.pixel_limit import explain_excess, get_max_pixels, without_pillow_limit
from basicsr.utils.png import write_png_bands

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

_PNG_SIGNATURE, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
"""White, by type of pixel; images of another type have 1."""

LARGE = 2**26
"""Bytes from which a PNG file is written band by band."""

Folder = StrPath

# What is to be said of a folder is said once in a process.
_warn_once = cache(logging.getLogger("basicsr").warning)


class ImageError(DataError):
    """One image that cannot be used: unreadable, of an unsupported kind, too small, or not the size of its partner."""


def list_images(folder: Folder, recursive: bool = False) -> list[str]:
    """Sorted paths of the image files in a folder, relative to it; hidden files are left out.

    What has an image suffix is listed, readable or not: a link to nothing is named when it is decoded.

    Raises:
        DataError: If there is no such folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: {'is a file, not a folder' if os.path.isfile(folder) else 'no such folder'}")
    return sorted(name for name in walk_files(folder, recursive) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def has_alpha(content: bytes) -> bool:
    """Whether the file's header announces an alpha channel (PNG and extended WebP)."""
    if content.startswith(_PNG_SIGNATURE):
        # The colour type: gray with alpha, or RGB with alpha.
        return content[25:26] in (b"\x04", b"\x06")
    return content[8:16] == b"WEBPVP8X" and len(content) > 20 and bool(content[20] & 0x10)


def decode(content: bytes, name: str, flags: int) -> np.ndarray:
    """Decodes an image file by OpenCV's ``flags``; ``name`` is for messages.

    Raises:
        ImageError: If it is no image, damaged or cut short.
    """
    # Some decoders fill up what a PNG or JPEG file lacks at its end, and report success.
    if content.startswith(_PNG_SIGNATURE):
        cut_short = content.rfind(_PNG_END) < 0
    else:
        # From behind, where a whole file has its end: looking for the scan in all of it would cost as much as a crop.
        cut_short = content.startswith(_JPEG_START) and content.find(_JPEG_SCAN, max(0, content.rfind(_JPEG_END))) >= 0
    image = None
    try:
        image = None if cut_short else cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):
            raise ImageError(f"{name}: {explain_excess()}") from None
    if image is None:
        what = "an empty file" if not content else "cut short" if cut_short else "not a readable image"
        raise ImageError(f"{name}: {what}")
    return image


def decode_image(content: bytes, path: str, unchanged: bool = False) -> np.ndarray:
    """Decodes an image file to BGR; gray is repeated, alpha dropped with a notice (once a folder).

    Args:
        content: The file's bytes.
        path: Its name, for messages.
        unchanged: Keep the file's own channels instead.

    Returns:
        (H, W, 3) uint8 or uint16; ``unchanged``: also (H, W) and (H, W, 4).

    Raises:
        ImageError: If it is no image, damaged, cut short, or neither 8 nor 16 bits deep.
    """
    image = decode(content, path, cv2.IMREAD_UNCHANGED if unchanged else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype not in FULL_SCALE:
        raise ImageError(f"{path}: pixels of type {image.dtype}; only 8 and 16 bits are supported")
    if not unchanged and has_alpha(content):
        _warn_once("%s: images with an alpha channel; it is dropped", str(Path(path).parent))
    return image


def read_image_file(path: StrPath) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: If it is missing or cannot be read.
    """
    if not os.path.isfile(path):
        # Reading a pipe would wait for ever.
        missing = "is a link to nothing" if os.path.islink(path) else "no such file"
        raise ImageError(f"{path}: {'is not a file' if os.path.exists(path) else missing}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_image(path: StrPath, unchanged: bool = False) -> np.ndarray:
    """Reads and decodes an image file; see :func:`decode_image`, whose errors name missing files too."""
    return decode_image(read_image_file(path), str(path), unchanged)


def read_image_size(path: str) -> tuple[int, int]:
    """Height and width as decoding gives them (EXIF orientation applied), from the file's header alone.

    Raises:
        ImageError: If the file is missing or its header is not that of an image.
    """
    from PIL import Image

    try:
        with without_pillow_limit(), Image.open(path) as image:
            width, height = image.size
            # Tag 274, orientation: 5 to 8 lie on their side.
            sideways = image.format == "JPEG" and image.getexif().get(274, 1) >= 5
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path}: not a readable image ({type(error).__name__})") from error
    if width * height > get_max_pixels():
        raise ImageError(f"{path}: {explain_excess()}")
    return (width, height) if sideways else (height, width)


def round_to_8_bits(image: np.ndarray) -> np.ndarray:
    """uint16 to uint8, rounded; uint8 is returned as it is."""
    return image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)


def image_to_tensor(image: np.ndarray) -> torch.Tensor:
    """Converts a decoded image (or a crop of it) to RGB in [0, 1].

    Args:
        image: (H, W, 3) BGR or (H, W, 1), uint8, uint16 or float32 that is in [0, 1] already; any strides.

    Returns:
        (C, H, W) float32, contiguous.
    """
    planes = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))
    tensor = torch.from_numpy(planes)
    return tensor.float().div_(FULL_SCALE[planes.dtype]) if planes.dtype in FULL_SCALE else tensor


def encode_image(image: np.ndarray, suffix: str, params: Sequence[int] = ()) -> bytes:
    """Encodes an image (H, W[, C]), uint8 or uint16, as the format of a suffix, with OpenCV's ``params``.

    Raises:
        OSError: If the format is unknown or cannot hold the image.
    """
    encoded = False
    with suppress(cv2.error):
        encoded, content = cv2.imencode(suffix, np.ascontiguousarray(image), list(params))
    if not encoded:
        raise OSError(f"cannot encode an image of shape {image.shape}, {image.dtype}, as {suffix!r}")
    return content.tobytes()


def write_image(image: np.ndarray, path: StrPath, params: Sequence[int] = (), durable: bool = True) -> None:
    """Writes an image and makes its folder; a process that is killed leaves the whole file or none.

    Args:
        image: (H, W[, C]), BGR, uint8 or uint16.
        path: Where to; the suffix chooses the format.
        params: OpenCV's ``imwrite`` parameters.
        durable: Wait for the disk, so that a power cut leaves no empty file either.

    Raises:
        OSError: If the image cannot be encoded or written.
    """
    suffix = Path(path).suffix
    if image.nbytes > LARGE and suffix.lower() == ".png" and not params and image.shape[2:] in ((), (3,)):
        with atomic_path(path, durable) as temporary, open(temporary, "wb") as file:
            write_png_bands(image, file)
        return
    content = encode_image(image, suffix, params)
    with atomic_path(path, durable) as temporary:
        temporary.write_bytes(content)


def write_png(image: np.ndarray, path: StrPath, compression_level: int = 3) -> None:
    """Writes one of many small PNG files, without waiting for the disk, which would take longer than all else."""
    write_image(image, path, [cv2.IMWRITE_PNG_COMPRESSION, compression_level], durable=False)
