"""What image files say beside their pixels, and stays true of an enlarged picture: colour profile, EXIF, resolution."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

from basicsr.utils.image_headers import PNG_SIGNATURE, read_header_of, read_tags
from basicsr.utils.pixel_limit import without_pillow_limit

EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION, _PROFILE, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 34675, 282, 283, 296
_DIRECTORIES = (34665, 34853)
"""Tags of EXIF and GPS, which are directories of their own."""
_ABOUT_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 292, 293, 301, 317, 318, 319, 320, 321}
    | {322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34377}
    | {_ORIENTATION, _PROFILE, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT}
)
"""Fields of TIFF files that tell how pixels are stored, or stand in a :class:`Metadata` already."""
_INCHES_PER_UNIT = {2: 1.0, 3: 2.54}
_COLOUR_SPACES = (b"RGB ", b"GRAY")


class Metadata(NamedTuple):
    """What a file says of its picture.

    Attributes:
        profile: ICC profile of RGB or gray; empty: none.
        exif: EXIF block without the prefix that JPEG files give it, whose orientation is 1 (upright); empty: none.
        dpi: Pixels per inch along width and height, if they are known.
    """

    profile: bytes = b""
    exif: bytes = b""
    dpi: tuple[float, float] | None = None


def read_metadata(content: bytes) -> Metadata:
    """Reads what a whole image file says; what cannot be read is left out, as it does not spoil the picture."""
    from PIL import Image

    try:
        if read_header_of(content).tags:
            return _read_tiff(content)
        with without_pillow_limit(), Image.open(io.BytesIO(content)) as image:
            info = dict(image.info)
    except Exception:  # whatever damaged fields lead Pillow to
        return Metadata()
    exif = info.get("exif") or _find_png_exif(content)
    dpi = info.get("dpi")
    dpi = (float(dpi[0]), float(dpi[1])) if dpi and dpi[0] > 0 and dpi[1] > 0 else None
    return Metadata(_accept(info.get("icc_profile")), set_upright(exif), dpi)


def _accept(profile: Any) -> bytes:
    """A profile, unless it is of other colours than pixels have once they are decoded, such as CMYK."""
    return profile if isinstance(profile, bytes) and profile[16:20] in _COLOUR_SPACES else b""


def _find_png_exif(content: bytes) -> bytes:
    """The EXIF block of a PNG file, wherever it stands."""
    position = len(PNG_SIGNATURE) if content.startswith(PNG_SIGNATURE) else len(content)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind == b"eXIf":
            return content[position + 8 : position + 8 + length]
        position += 12 + length
    return b""


def set_upright(exif: bytes) -> bytes:
    """An EXIF block without its prefix and with orientation 1; all else in it stays, byte for byte."""
    block = bytearray(exif.removeprefix(EXIF_PREFIX))
    try:
        tag = read_tags(io.BytesIO(block)).get(_ORIENTATION)
    except struct.error:
        return b""
    if tag is not None:
        tag.write(block, 1)
    return bytes(block) if block[:2] in (b"II", b"MM") else b""


def _read_tiff(content: bytes) -> Metadata:
    """The same of a TIFF file, whose first directory also holds what describes the picture."""
    tags = load_exif(content)
    unit = _INCHES_PER_UNIT.get(tags.get(_RESOLUTION_UNIT, 2))
    across, down = (float(tags.get(tag) or 0) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    dpi = (across * unit, down * unit) if unit and across > 0 and down > 0 else None
    profile = tags.get(_PROFILE)
    for tag in _ABOUT_PIXELS & dict(tags).keys():
        del tags[tag]
    return Metadata(_accept(profile), tags.tobytes().removeprefix(EXIF_PREFIX) if len(tags) else b"", dpi)


def load_exif(block: bytes) -> Any:
    """Pillow's view of an EXIF block with its prefix, or of a TIFF file: a mapping of tags to values."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(block)
    return exif


def list_tiff_tags(metadata: Metadata) -> dict[int, Any]:
    """The fields of a TIFF file that say the same."""
    tags: dict[int, Any] = {}
    if metadata.exif:
        exif = load_exif(EXIF_PREFIX + metadata.exif)
        tags = {tag: value for tag, value in exif.items() if tag not in _ABOUT_PIXELS}
        tags |= {tag: dict(exif.get_ifd(tag)) for tag in _DIRECTORIES if tag in exif}
    if metadata.profile:
        tags[_PROFILE] = metadata.profile
    if metadata.dpi:
        tags |= dict(zip((_X_RESOLUTION, _Y_RESOLUTION), metadata.dpi)) | {_RESOLUTION_UNIT: 2}
    return tags


def list_png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG file that say the same."""
    chunks = []
    if metadata.profile:
        chunks.append((b"iCCP", b"profile\0\0" + zlib.compress(metadata.profile)))
    if metadata.dpi:
        per_metre = [round(value / 0.0254) for value in metadata.dpi]
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    return chunks
