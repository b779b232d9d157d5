"""Writing a large PNG file band by band, for which OpenCV takes memory that may be as large as the picture."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np

BAND = 2**22
"""Bytes of a band, about."""


def write_png_bands(image: np.ndarray, file: BinaryIO) -> None:
    """Writes an image as PNG in memory that does not depend on its size.

    Rows are filtered and compressed as OpenCV does by default: differences to the pixel on the left, runs only.

    Args:
        image: (H, W, 3) BGR or (H, W), uint8 or uint16.
        file: A file that is open for writing bytes.
    """
    height, width = image.shape[:2]
    depth, is_gray = 8 * image.dtype.itemsize, image.ndim == 2

    def write_chunk(kind: bytes, content: bytes) -> None:
        checksum = zlib.crc32(content, zlib.crc32(kind))
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))

    file.write(b"\x89PNG\r\n\x1a\n")
    write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0 if is_gray else 2, 0, 0, 0))
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    pixel_bytes = image.dtype.itemsize * (1 if is_gray else 3)
    num_rows = max(1, BAND // (width * pixel_bytes))
    for start in range(0, height, num_rows):
        band = image[start : start + num_rows]
        # PNG's order is RGB, its numbers are big-endian.
        ordered = np.ascontiguousarray(band if is_gray else band[..., ::-1], dtype=image.dtype.newbyteorder(">"))
        raw = ordered.view(np.uint8).reshape(len(band), width * pixel_bytes)
        filtered = np.empty((len(band), 1 + width * pixel_bytes), np.uint8)
        filtered[:, 0] = 1  # the filter: difference to the pixel on the left, modulo 256
        filtered[:, 1 : 1 + pixel_bytes] = raw[:, :pixel_bytes]
        np.subtract(raw[:, pixel_bytes:], raw[:, :-pixel_bytes], out=filtered[:, 1 + pixel_bytes :])
        if compressed := compressor.compress(filtered.data):
            write_chunk(b"IDAT", compressed)
    write_chunk(b"IDAT", compressor.flush())
    write_chunk(b"IEND", b"")
