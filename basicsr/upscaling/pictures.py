"""Pictures of files: pixels with what the file says of them, read in any kind and written in any format."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import cv2
import numpy as np

from basicsr.upscaling.metadata import EXIF_PREFIX, Metadata, list_png_chunks, list_tiff_tags, read_metadata
from basicsr.utils.errors import DataError
from basicsr.utils.image_headers import JPEG_SIGNATURE, PNG_SIGNATURE, read_header_of
from basicsr.utils.images import FULL_SCALE, decode_image, encode_image, round_to_8_bits
from basicsr.utils.png import write_png_bands

MAX_JPEG_EXIF = 65533 - len(EXIF_PREFIX)
LOSSLESS = 100
_PHOTOMETRIC, _GRAY_KINDS, _GRAY_PNG = 262, (0, 1), (0, 4)

# What is to be said of a format is said once in a process.
_say_once = cache(logging.getLogger("basicsr").warning)


@dataclass
class Picture:
    """A picture of a file.

    Attributes:
        pixels: (H, W, C) uint8 or uint16, upright; C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        metadata: What the file says of it.
        suffix: That of the format that it came in.
    """

    pixels: np.ndarray
    metadata: Metadata = field(default_factory=Metadata)
    suffix: str = ".png"

    @property
    def colours(self) -> np.ndarray:
        """The picture without alpha, (H, W, 1) or (H, W, 3)."""
        return self.pixels[..., : 1 if self.pixels.shape[2] < 3 else 3]

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W), if there is any."""
        return None if self.pixels.shape[2] % 2 else self.pixels[..., -1]


def read_picture(content: bytes, name: str) -> Picture:
    """Decodes an image file.

    Args:
        content: Its bytes.
        name: What messages call it.

    Raises:
        ImageError: If it is no image, damaged, or neither 8 nor 16 bits deep.
    """
    pixels = decode_image(content, name, unchanged=True)
    header = read_header_of(content)
    is_png = content.startswith(PNG_SIGNATURE)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    else:
        is_gray = content[25] in _GRAY_PNG if is_png else header.tags and header.tag(_PHOTOMETRIC, 2) in _GRAY_KINDS
        order = [0, 3] if is_gray and pixels.shape[2] == 4 else [2, 1, 0, 3][: pixels.shape[2]]
        pixels = pixels[..., order]
    return Picture(pixels, read_metadata(content), _find_suffix(content, bool(header.tags)))


def _find_suffix(content: bytes, is_tiff: bool) -> str:
    starts = {
        PNG_SIGNATURE: ".png",
        JPEG_SIGNATURE: ".jpg",
        b"RIFF": ".webp",
        b"BM": ".bmp",
        b"P6": ".ppm",
        b"P5": ".pgm",
    }
    found = next((suffix for start, suffix in starts.items() if content.startswith(start)), ".png")
    return ".tif" if is_tiff else found


# --- writing ----------------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """What a format can hold, and what writes it.

    Attributes:
        name: What messages call it.
        deep: Whether it holds 16 bits.
        alpha: Whether it holds an alpha channel.
        write: Writes a picture that it can hold into a file, with a quality from 1 to 100.
    """

    name: str
    deep: bool
    alpha: bool
    write: Callable[[Picture, BinaryIO, int], None]


def _write_png(picture: Picture, file: BinaryIO, quality: int) -> None:
    write_png_bands(picture.pixels, file, list_png_chunks(picture.metadata), bgr=False)


def _write_by_pillow(picture: Picture, file: BinaryIO, quality: int, kind: str) -> None:
    from PIL import Image

    pixels, (profile, exif, dpi) = picture.pixels, picture.metadata
    if pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    if kind == "WEBP" and profile[16:20] == b"GRAY":
        profile = b""  # the file has colours
    kept: dict[str, Any] = {"icc_profile": profile, "dpi": dpi} if kind == "JPEG" else {"icc_profile": profile}
    if exif and kind == "JPEG" and len(exif) > MAX_JPEG_EXIF:
        _say_once("EXIF blocks of more than 64 KB do not fit into JPEG files; they are left out")
    elif exif:
        kept["exif"] = EXIF_PREFIX + exif
    if kind == "JPEG":
        # Halved colours would undo what the network has made of them.
        kept |= {"subsampling": 0, "optimize": True}
    else:
        kept["lossless"] = quality == LOSSLESS
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    Image.fromarray(pixels).save(file, kind, quality=quality, **{name: value for name, value in kept.items() if value})


def _write_jpeg(picture: Picture, file: BinaryIO, quality: int) -> None:
    _write_by_pillow(picture, file, quality, "JPEG")


def _write_webp(picture: Picture, file: BinaryIO, quality: int) -> None:
    _write_by_pillow(picture, file, quality, "WEBP")


def _write_tiff(picture: Picture, file: BinaryIO, quality: int) -> None:
    """Pixels as they are, in one strip behind the directory: nothing else reads 16 bits everywhere."""
    from PIL import TiffImagePlugin

    pixels = picture.pixels
    height, width, channels = pixels.shape
    has_alpha, is_gray = channels % 2 == 0, channels < 3
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    tags = list_tiff_tags(picture.metadata)
    tags |= {256: width, 257: height, 258: (8 * pixels.itemsize,) * channels, 259: 1, 262: 1 if is_gray else 2}
    tags |= {273: 0, 277: channels, 278: height, 279: pixels.nbytes, 284: 1, **({338: 2} if has_alpha else {})}
    for tag, value in tags.items():
        directory[tag] = value
    file.write(b"II*\0" + (8).to_bytes(4, "little") + directory.tobytes(8))
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    file.write(little.data)


def _write_by_opencv(picture: Picture, file: BinaryIO, quality: int, suffix: str) -> None:
    pixels = picture.pixels
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    file.write(encode_image(pixels[..., order], suffix))


def _write_bmp(picture: Picture, file: BinaryIO, quality: int) -> None:
    _write_by_opencv(picture, file, quality, ".bmp")


def _write_pnm(picture: Picture, file: BinaryIO, quality: int) -> None:
    _write_by_opencv(picture, file, quality, ".pgm" if picture.pixels.shape[2] == 1 else ".ppm")


_JPEG, _TIFF, _PNM = (
    Format("JPEG", False, False, _write_jpeg),
    Format("TIFF", True, True, _write_tiff),
    Format("PNM", True, False, _write_pnm),
)
FORMATS = {
    ".png": Format("PNG", True, True, _write_png),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format("WebP", False, True, _write_webp),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": Format("BMP", False, False, _write_bmp),
    ".ppm": _PNM,
    ".pgm": _PNM,
}
"""Formats by suffix."""


def write_picture(picture: Picture, file: IO[bytes], suffix: str, quality: int) -> None:
    """Writes a picture; what its format cannot hold is rounded to 8 bit, or put on white, with a notice.

    Args:
        picture: The picture.
        file: A file that is open for writing.
        suffix: Chooses the format, one of :data:`FORMATS`.
        quality: Of JPEG and WebP, from 1 to 100; 100 makes WebP lossless.

    Raises:
        DataError: If the format cannot hold a picture of this size.
        OSError: If the file cannot be written.
    """
    kind = FORMATS[suffix.lower()]
    pixels = picture.pixels
    if (alpha := picture.alpha) is not None and not kind.alpha:
        _say_once("%s files have no alpha channel: transparent pictures are put on white", kind.name)
        pixels = put_on_white(picture.colours, alpha)
    if pixels.dtype != np.uint8 and not kind.deep:
        _say_once("%s files are written with 8 bit: pictures of 16 bit are rounded", kind.name)
        pixels = round_to_8_bits(pixels)
    height, width = pixels.shape[:2]
    try:
        kind.write(Picture(pixels, picture.metadata), cast(BinaryIO, file), quality)
    except OSError as error:
        # Decoders and encoders have no numbers for their errors, the machine has.
        if error.errno is not None:
            raise
        raise DataError(f"{kind.name} files cannot hold {width}x{height} pixels ({error}); use --ext png") from error
    except (ValueError, OverflowError, cv2.error) as error:
        raise DataError(f"{kind.name} files cannot hold {width}x{height} pixels ({error}); use --ext png") from error


def put_on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What a transparent picture (H, W, C) looks like on white."""
    full = FULL_SCALE[colours.dtype]
    share = alpha[..., None].astype(np.float32) / np.float32(full)
    return cast(np.ndarray, np.rint(colours * share + full * (1 - share)).astype(colours.dtype))


def has_suffix(path: Path) -> bool:
    """Whether a path names a file of a format that can be written."""
    return path.suffix.lower() in FORMATS
