"""Image files: listed, decoded, measured and written in one way; arrays are OpenCV's, (H, W, C) in BGR order."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import cv2
import numpy as np
import torch

from basicsr.utils.atomic import StrPath, atomic_path
from basicsr.utils.batch import copy_to_tensor, to_floats
from basicsr.utils.decoding import FULL_SCALE as FULL_SCALE
from basicsr.utils.decoding import ImageError as ImageError
from basicsr.utils.decoding import decode
from basicsr.utils.errors import DataError
from basicsr.utils.folders import walk_files
from basicsr.utils.image_headers import read_header, read_header_of
from basicsr.utils.pixel_limit import explain_excess, get_max_pixels, without_pillow_limit
from basicsr.utils.png import write_png_bands

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

LARGE = 2**26
"""Bytes from which a PNG file is written band by band."""

Folder = StrPath

# Width, height and samples of a TIFF file, each with what it is where the field is missing.
_TIFF_SHAPE = ((256, 0), (257, 0), (277, 1))
# Where they differ from the bands of Pillow's mode.
_CHANNELS = {"P": 3, "PA": 4, "CMYK": 3, "LA": 4}

# What is to be said of a folder is said once in a process.
_warn_once = cache(logging.getLogger("basicsr").warning)


def list_images(folder: Folder, recursive: bool = False) -> list[str]:
    """Sorted paths of the image files in a folder, relative to it; hidden files are left out.

    What has an image suffix is listed, readable or not: a link to nothing is named when it is decoded.

    Raises:
        DataError: If there is no such folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: {'is a file, not a folder' if os.path.isfile(folder) else 'no such folder'}")
    return sorted(name for name in walk_files(folder, recursive) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def decode_image(content: bytes, path: str, unchanged: bool = False) -> np.ndarray:
    """Decodes an image file to BGR, upright; gray is repeated, alpha dropped with a notice (once a folder).

    Args:
        content: The file's bytes.
        path: Its name, for messages.
        unchanged: Keep the file's own channels instead.

    Returns:
        (H, W, 3) uint8 or uint16; ``unchanged``: also (H, W) and (H, W, 4).

    Raises:
        ImageError: If it is no image, damaged, cut short, or neither 8 nor 16 bits deep.
    """
    header = read_header_of(content)
    image = decode(content, path, cv2.IMREAD_UNCHANGED, header)
    if image.dtype not in FULL_SCALE:
        raise ImageError(path, f"pixels of type {image.dtype}; only 8 and 16 bits are supported")
    if unchanged:
        return image
    if header.alpha:
        _warn_once("%s: images with an alpha channel; it is dropped", str(Path(path).parent))
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image if image.shape[2] == 3 else cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)


@contextmanager
def open_image_file(path: StrPath) -> Iterator[BinaryIO]:
    """Opens an image file for reading.

    Raises:
        ImageError: If it is missing, no file (reading a pipe would wait for ever), or cannot be read.
    """
    if not os.path.isfile(path):
        missing = "is a link to nothing" if os.path.islink(path) else "no such file"
        raise ImageError(str(path), "is not a file" if os.path.exists(path) else missing)
    try:
        # Without a buffer: headers are read in a few places far apart.
        with open(path, "rb", buffering=0) as file:
            yield cast(BinaryIO, file)
    except OSError as error:
        raise ImageError(str(path), f"cannot be read ({error.strerror or error})") from error


def read_image_file(path: StrPath) -> bytes:
    """The bytes of an image file; see :func:`open_image_file` for what is refused."""
    with open_image_file(path) as file:
        return file.read()


def read_image(path: StrPath, unchanged: bool = False) -> np.ndarray:
    """Reads and decodes an image file; see :func:`decode_image`, whose errors name missing files too."""
    return decode_image(read_image_file(path), str(path), unchanged)


def read_image_size(path: StrPath) -> tuple[int, int]:
    """Height and width as decoding gives them (upright), from the file's header alone.

    Raises:
        ImageError: If the file is missing or its header is not that of an image.
    """
    return read_image_shape(path)[:2]


def read_image_shape(path: StrPath) -> tuple[int, int, int]:
    """Height, width and number of channels as decoding gives them; see :func:`read_image_size`."""
    from PIL import Image

    with open_image_file(path) as file:
        header = read_header(file)
        if header.tags:
            # Pillow does not know all kinds of TIFF.
            width, height, channels = (header.tag(*field) for field in _TIFF_SHAPE)
            if not width or not height:
                raise ImageError(str(path), "not a readable image (a TIFF file without a size)")
        else:
            try:
                with without_pillow_limit(), Image.open(file) as image:
                    (width, height), channels = image.size, _CHANNELS.get(image.mode, len(image.getbands()))
            except (OSError, ValueError, SyntaxError) as error:
                raise ImageError(str(path), f"not a readable image ({type(error).__name__})") from error
    if width * height > get_max_pixels():
        raise ImageError(str(path), explain_excess())
    return (width, height, channels) if header.orientation >= 5 else (height, width, channels)


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
    return to_floats(image_to_planes(image))


def image_to_planes(image: np.ndarray) -> torch.Tensor:
    """The same in the image's own type: (C, H, W) RGB of (H, W, 3) BGR, or of (H, W, 1); contiguous."""
    return copy_to_tensor(image[:, :, ::-1].transpose(2, 0, 1))


def planes_to_image(planes: np.ndarray, reverse: bool = False) -> np.ndarray:
    """(H, W, C) of (C, H, W), channels in reverse order if asked for; not copied where that can be.

    Networks that run in the order of channels last give planes that are interleaved in memory already.
    """
    if len(planes) == 1:
        return planes[0, ..., None]
    if planes.strides[0] == planes.itemsize:
        image = planes.transpose(1, 2, 0)
        if reverse and len(planes) == 3:
            return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return image[..., :: -1 if reverse else 1]
    # NumPy would take ten times as long to bring the channels together.
    return cv2.merge(list(planes[:: -1 if reverse else 1]))


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
