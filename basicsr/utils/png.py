"""Writing a large PNG file band by band, for which OpenCV takes memory that may be as large as the picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

BAND = 2**22
"""Bytes of a band, about."""


COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's numbers for gray, gray with alpha, colour, and colour with alpha, by channels."""


def write_png_bands(
    image: np.ndarray, file: BinaryIO, chunks: Iterable[tuple[bytes, bytes]] = (), bgr: bool = True
) -> None:
    """Writes an image as PNG in memory that does not depend on its size.

    Rows are filtered and compressed as OpenCV does by default: differences to the pixel on the left, runs only.

    Args:
        image: (H, W) or (H, W, C), uint8 or uint16; C as in :data:`COLOUR_TYPES`.
        file: A file that is open for writing bytes.
        chunks: Kinds and contents of chunks about the whole image, such as its profile.
        bgr: Whether colours are in OpenCV's order.
    """
    image = image[..., None] if image.ndim == 2 else image
    height, width, channels = image.shape
    order = [2, 1, 0, 3][:channels] if bgr and channels > 2 else None

    def write_chunk(kind: bytes, content: bytes) -> None:
        checksum = zlib.crc32(content, zlib.crc32(kind))
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))

    file.write(b"\x89PNG\r\n\x1a\n")
    form = (8 * image.dtype.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
    write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *form))
    for name, content in chunks:
        write_chunk(name, content)
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    pixel_bytes = image.dtype.itemsize * channels
    num_rows = max(1, BAND // (width * pixel_bytes))
    for start in range(0, height, num_rows):
        band = image[start : start + num_rows]
        # PNG's order is RGB, its numbers are big-endian.
        ordered = np.ascontiguousarray(band if order is None else band[..., order], dtype=image.dtype.newbyteorder(">"))
        raw = ordered.view(np.uint8).reshape(len(band), width * pixel_bytes)
        filtered = np.empty((len(band), 1 + width * pixel_bytes), np.uint8)
        filtered[:, 0] = 1  # the filter: difference to the pixel on the left, modulo 256
        filtered[:, 1 : 1 + pixel_bytes] = raw[:, :pixel_bytes]
        np.subtract(raw[:, pixel_bytes:], raw[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :])
        if compressed := compressor.compress(filtered.data):
            write_chunk(b"IDAT", compressed)
    write_chunk(b"IDAT", compressor.flush())
    write_chunk(b"IEND", b"")
