"""What headers of image files say beyond their size: orientation, an alpha channel, and the fields of TIFF files."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_EXIF_PREFIX = b"Exif\0\0"
# Frames hold the precision of a JPEG file; C4, C8 and CC among their markers are something else.
_JPEG_FRAMES = {0xFFC0 + number for number in range(16)} - {0xFFC4, 0xFFC8, 0xFFCC}
_JPEG_SCAN, _JPEG_END, _JPEG_APP1 = 0xFFDA, 0xFFD9, 0xFFE1
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_VALUES = 16
"""Of a TIFF field; what is longer, such as the offsets of strips, is of no interest here."""


class Tag(NamedTuple):
    """A field of a TIFF file.

    Attributes:
        values: Its unsigned integers.
        offset: Of the first one in the file, in bytes.
        code: Its type and byte order, for :mod:`struct`.
    """

    values: tuple[int, ...]
    offset: int
    code: str

    def write(self, content: bytearray, value: int) -> None:
        """Sets the first value in a copy of the file."""
        struct.pack_into(self.code, content, self.offset, value)


class Header(NamedTuple):
    """What a file's header says.

    Attributes:
        orientation: EXIF orientation, 1 (upright) to 8; 5 to 8 lie on their side.
        alpha: Whether there is an alpha channel, or a colour that counts as transparent.
        precision: Bits per sample of a JPEG file; otherwise 8.
        tags: Fields of a TIFF file by number; empty for other formats.
    """

    orientation: int = 1
    alpha: bool = False
    precision: int = 8
    tags: Mapping[int, Tag] = {}

    def tag(self, number: int, default: int) -> int:
        """The first value of a TIFF field."""
        return self.tags[number].values[0] if number in self.tags else default


def read_header_of(content: bytes) -> Header:
    """The header of a file in memory; fast for JPEG files without an EXIF block, as crops are."""
    if content.startswith(JPEG_SIGNATURE) and not _may_hold_exif(content):
        return Header()
    return read_header(io.BytesIO(content))


def _may_hold_exif(content: bytes) -> bool:
    """Whether there is anything but common segments before the scan of a JPEG file, or a segment for EXIF."""
    position, end = 2, len(content) - 4
    while position < end and content[position] == 0xFF and (kind := content[position + 1]) not in (0xE1, 0xFF):
        if kind == _JPEG_SCAN & 0xFF:
            return False
        position += 2 + (content[position + 2] << 8 | content[position + 3])
    return True


def read_header(file: BinaryIO) -> Header:
    """Reads the header of an image file (JPEG, PNG, WebP, TIFF); what is damaged or of another format says nothing."""
    file.seek(0)
    start = file.read(16)
    try:
        if start.startswith(JPEG_SIGNATURE):
            return _read_jpeg(file)
        if start.startswith(PNG_SIGNATURE):
            return _read_png(file)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _read_webp(file)
        tags = read_tags(file)
    except (struct.error, IndexError):
        return Header()
    # 1 and 2 are alpha, multiplied into the colours or not; 0 is a channel of unknown use.
    extra = tags[_EXTRA_SAMPLES].values if _EXTRA_SAMPLES in tags else ()
    return Header(_find_orientation(tags), any(value in (1, 2) for value in extra), tags=tags)


_ORIENTATION, _EXTRA_SAMPLES = 274, 338


def _read_jpeg(file: BinaryIO) -> Header:
    orientation, precision, position = 1, 8, 2
    while True:
        file.seek(position)
        marker, length = struct.unpack(">HH", file.read(4))
        if marker == 0xFFFF:
            # Filling before a marker.
            position += 1
            continue
        if marker < 0xFF00 or marker in (_JPEG_SCAN, _JPEG_END):
            return Header(orientation, precision=precision)
        if marker == _JPEG_APP1 and orientation == 1:
            orientation = _read_exif(file, position + 4)
        elif marker in _JPEG_FRAMES:
            precision = file.read(1)[0]
        position += 2 + length


def _read_png(file: BinaryIO) -> Header:
    file.seek(25)
    orientation, alpha, position = 1, file.read(1) in (b"\x04", b"\x06"), len(PNG_SIGNATURE)
    while True:
        file.seek(position)
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IEND":
            return Header(orientation, alpha)
        (length,), kind = struct.unpack(">I", start[:4]), start[4:]
        alpha = alpha or kind == b"tRNS"
        if kind == b"eXIf":
            orientation = _read_exif(file, position + 8)
        position += 12 + length


def _read_webp(file: BinaryIO) -> Header:
    orientation, alpha, position = 1, False, 12
    while True:
        file.seek(position)
        start = file.read(8)
        if len(start) < 8:
            return Header(orientation, alpha)
        kind, (length,) = start[:4], struct.unpack("<I", start[4:])
        if kind == b"VP8X":
            alpha = alpha or bool(file.read(1)[0] & 0x10)
        elif kind == b"VP8L":
            # A byte of signature, 14 bits of width, 14 of height, one of alpha.
            alpha = alpha or bool(file.read(5)[4] & 0x10)
        elif kind == b"EXIF":
            orientation = _read_exif(file, position + 8)
        position += 8 + length + length % 2


def _read_exif(file: BinaryIO, position: int) -> int:
    """The orientation in an EXIF block, 1 where it holds none or is no EXIF block."""
    file.seek(position)
    start = position + len(_EXIF_PREFIX) * (file.read(6) == _EXIF_PREFIX)
    try:
        return _find_orientation(read_tags(file, start))
    except struct.error:
        return 1


def _find_orientation(tags: Mapping[int, Tag]) -> int:
    value = tags[_ORIENTATION].values[0] if _ORIENTATION in tags else 1
    return value if 1 <= value <= 8 else 1


def read_tags(file: BinaryIO, start: int = 0) -> dict[int, Tag]:
    """Reads the first directory of a TIFF file, which an EXIF block is too; offsets in it count from ``start``.

    Raises:
        struct.error: If it ends too early.
    """
    file.seek(start)
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        return {}
    (version,) = struct.unpack(f"{order}H", file.read(2))
    # BigTIFF (43) has wider counts and offsets.
    count_code, word, inline = ("Q", "Q", 8) if version == 43 else ("H", "I", 4)
    file.seek(start + inline)
    (directory,) = struct.unpack(order + word, file.read(inline))
    file.seek(start + directory)
    (count,) = struct.unpack(order + count_code, file.read(struct.calcsize(count_code)))
    head = struct.Struct(f"{order}HH{word}")
    entries = file.read(count * (head.size + inline))
    tags = {}
    for index in range(0, len(entries), head.size + inline):
        number, kind, length = head.unpack_from(entries, index)
        if kind in _TIFF_TYPES and 0 < length <= _MOST_VALUES:
            code = f"{order}{length}{_TIFF_TYPES[kind]}"
            offset = directory + struct.calcsize(order + count_code) + index + head.size
            if struct.calcsize(code) > inline:
                (offset,) = struct.unpack_from(order + word, entries, index + head.size)
            file.seek(start + offset)
            values = struct.unpack(code, file.read(struct.calcsize(code)))
            tags[number] = Tag(values, start + offset, order + _TIFF_TYPES[kind])
    return tags
