"""What the bytes of an image file say without being decoded."""

from __future__ import annotations

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND"
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"


def is_cut_short(content: bytes) -> bool:
    """Whether a PNG or JPEG file lacks its end; some decoders fill up what is missing and report success."""
    if content.startswith(PNG_SIGNATURE):
        return content.rfind(_PNG_END) < 0
    if not content.startswith(_JPEG_START):
        return False
    # From behind, where a whole file has its end: looking for the scan through all of it would cost as much as a crop.
    return content.find(_JPEG_SCAN, max(0, content.rfind(_JPEG_END))) >= 0
