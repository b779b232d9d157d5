"""Writes many PNG files quickly."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from basicsr.utils.errors import DataError


def write_png(image: np.ndarray, path: Path, compression_level: int = 3) -> None:
    """Writes an image; a process that is killed leaves the whole file or none.

    Unlike :func:`basicsr.utils.img_util.imwrite` this does not wait for the disk, which would take longer than all else
    for thousands of small files. After a power cut a file may be empty: see :func:`is_written`.

    Args:
        image: (H, W[, C]) uint8 or uint16, BGR.
        path: Where to, in an existing folder.
        compression_level: 0 to 9.
    """
    encoded, content = cv2.imencode(
        ".png", np.ascontiguousarray(image), [cv2.IMWRITE_PNG_COMPRESSION, compression_level]
    )
    if not encoded:
        raise DataError(f"{path}: an image of shape {image.shape}, {image.dtype}, cannot be written as PNG")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.tobytes())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_written(path: Path) -> bool:
    """Whether a file is there and not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
