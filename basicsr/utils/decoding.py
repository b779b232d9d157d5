"""Image files become arrays here and nowhere else: upright and in their own colours, or refused with a reason."""

from __future__ import annotations

import importlib.util
import io
import re
from typing import Any

import cv2
import numpy as np

from basicsr.utils.decoder_messages import decode_and_listen, decode_by_opencv
from basicsr.utils.errors import DataError
from basicsr.utils.image_headers import JPEG_SIGNATURE, PNG_SIGNATURE, Header, read_header, read_header_of
from basicsr.utils.pixel_limit import explain_excess, get_max_pixels, without_pillow_limit

simplejpeg: Any = importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None
"""Decodes JPEG files to OpenCV's pixels in less time; the extra ``jpeg``."""

FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
"""White, by type of pixel; images of another type have 1."""

_PNG_END, _JPEG_SCAN, _JPEG_END = b"IEND", b"\xff\xda", b"\xff\xd9"
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x(\w\w)")
_HEADER_MARKERS = {0xC0, 0xC1, 0xC2, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
_MOST_PADDING = 16
"""Bytes; what encoders of cameras add to a JPEG file before its end."""

# TIFF fields and their values.
_WIDTH, _HEIGHT = 256, 257
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANAR, _EXTRA_SAMPLES = 258, 262, 274, 277, 284, 338
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _LAB_KINDS = 0, 1, 2, (8, 9)
_SEPARATE_PLANES, _PREMULTIPLIED = 2, 1


class ImageError(DataError):
    """One image that cannot be used: unreadable, of an unsupported kind, too small, or not the size of its partner.

    Args:
        path: The image.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def decode(content: bytes, name: str, flags: int, header: Header | None = None) -> np.ndarray:
    """Decodes an image file by OpenCV's ``flags``, and turns it upright whatever they say; ``name`` is for messages.

    Of animations and files of several pages the first picture counts.

    Args:
        content: The file.
        name: What to call it.
        flags: OpenCV's ``imread`` flags.
        header: The file's, if it is known already.

    Raises:
        ImageError: If it is no image, damaged (as far as its decoder can tell), cut short or of an unsupported kind.
    """
    header = header or read_header_of(content)
    if not content:
        raise ImageError(name, "an empty file")
    if _is_cut_short(content):
        raise ImageError(name, "cut short")
    try:
        image, damage = _decode_by_format(content, name, flags, header)
    except OverflowError as error:
        raise ImageError(name, str(error)) from None
    if image is None and (precision := read_header(io.BytesIO(content)).precision) != 8:
        raise ImageError(name, f"a JPEG file of {precision} bits; only those of 8 bits are supported")
    if image is None:
        raise ImageError(name, f"not a readable image{f' ({damage})' if damage else ''}")
    if damage and not _is_padding(content, damage):
        raise ImageError(name, f"damaged ({damage})")
    if flags == cv2.IMREAD_UNCHANGED and image.ndim == 2 and header.alpha and content.startswith(PNG_SIGNATURE):
        image = _add_alpha_of_key(image, content)
    return turn_upright(image, header.orientation)


def _decode_by_format(content: bytes, name: str, flags: int, header: Header) -> tuple[np.ndarray | None, str]:
    """The picture as it is stored, and what its decoder says of damage."""
    if header.tags:
        image, damage = _decode_tiff(content, name, header)
        if image is not None and flags != cv2.IMREAD_UNCHANGED and image.dtype in FULL_SCALE:
            # Channels and depth by the same flags as in other formats.
            image = cv2.imdecode(cv2.imencode(".png", image)[1], flags)
        return image, damage
    as_stored = flags | cv2.IMREAD_IGNORE_ORIENTATION
    if content.startswith(JPEG_SIGNATURE):
        whole = _decode_sound_jpeg(content, flags)
        return (whole, "") if whole is not None else decode_and_listen(content, as_stored)
    # Other formats have checksums, or decoders that give up.
    return decode_by_opencv(content, as_stored), ""


def _decode_sound_jpeg(content: bytes, flags: int) -> np.ndarray | None:
    """The pixels of a JPEG file, as OpenCV gives them; None if its decoder has anything to say of it, or cannot do it.

    It tells by an error, where OpenCV's writes to standard error, which has to be heard.
    """
    if simplejpeg is None or flags == cv2.IMREAD_GRAYSCALE:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if height * width > get_max_pixels() or colours in ("CMYK", "YCCK"):
            return None
        if colours == "Gray" and flags == cv2.IMREAD_UNCHANGED:
            return simplejpeg.decode_jpeg(content, "GRAY")[:, :, 0]
        return simplejpeg.decode_jpeg(content, "BGR")
    except ValueError:
        return None


def _add_alpha_of_key(gray: np.ndarray, content: bytes) -> np.ndarray:
    """BGRA (H, W, 4) of a gray PNG file in which one value counts as transparent; decoders do so for other colours."""
    position, depth = len(PNG_SIGNATURE), content[24]
    while content[position + 4 : position + 8] != b"tRNS":
        position += 12 + int.from_bytes(content[position : position + 4], "big")
    full, value = FULL_SCALE[gray.dtype], int.from_bytes(content[position + 8 : position + 10], "big")
    opaque = (gray != round(value * full / (2**depth - 1))) * gray.dtype.type(full)
    return np.stack([gray, gray, gray, opaque], axis=2)


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image (H, W[, C]) as its EXIF orientation, 1 to 8, asks for: (H, W[, C]) or, from 5 on, (W, H[, C])."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    # After that: mirrored left to right, upside down, or both.
    image = image[:, ::-1] if orientation in (2, 3, 6, 7) else image
    return np.ascontiguousarray(image[::-1] if orientation in (3, 4, 7, 8) else image)


def _is_cut_short(content: bytes) -> bool:
    """Whether a PNG or JPEG file lacks its end, which some decoders fill up and report success."""
    if content.startswith(PNG_SIGNATURE):
        return content.rfind(_PNG_END) < 0
    # From behind, where a whole file has its end: looking for the scan in all of it would cost as much as a crop.
    return content.startswith(JPEG_SIGNATURE) and content.find(_JPEG_SCAN, max(0, content.rfind(_JPEG_END))) >= 0


def _is_padding(content: bytes, damage: str) -> bool:
    """Whether surplus bytes of a JPEG file are harmless: in its header, or a few equal ones before its end."""
    found = _EXTRANEOUS.search(damage)
    if not found:
        return False
    count, marker, end = int(found[1]), int(found[2], 16), content.rfind(_JPEG_END)
    if marker != _JPEG_END[1]:
        # These are in front of the pixels; Huffman tables (C4), scans (DA) and restarts (D0 to D7) are among them.
        return marker in _HEADER_MARKERS
    return count <= _MOST_PADDING and len(set(content[end - count : end])) == 1


def _decode_tiff(content: bytes, name: str, header: Header) -> tuple[np.ndarray | None, str]:
    """The picture as it is stored, and what its decoder says of damage."""
    bits, samples, photometric = header.tag(_BITS, 1), header.tag(_SAMPLES, 1), header.tag(_PHOTOMETRIC, _BLACK_IS_ZERO)
    separate = samples > 1 and header.tag(_PLANAR, 1) == _SEPARATE_PLANES
    if bits == 16 and photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise ImageError(name, f"a TIFF file of 16 bits whose colours are not RGB (photometric {photometric})")
    if header.tag(_WIDTH, 0) * header.tag(_HEIGHT, 0) > get_max_pixels():
        raise OverflowError(explain_excess())
    premultiplied = header.tag(_EXTRA_SAMPLES, 0) == _PREMULTIPLIED
    # OpenCV mixes up planes of 16 bits, loses one of two channels, of any depth, and takes CIELab for something else;
    # Pillow knows neither 16 bits nor two planes.
    if (bits == 16 and (separate or samples == 2)) or (separate and samples == 2):
        stored = _decode_by_tifffile(content, name, separate)
        return (_divide_by_alpha(stored) if premultiplied else stored), ""
    if photometric in _LAB_KINDS or samples == 2:
        return _decode_by_pillow(content), ""
    image, damage = decode_and_listen(_patch(content, header), cv2.IMREAD_UNCHANGED)
    if image is None:
        # Pillow knows more compressions, but no colours of 16 bits.
        image = _decode_by_pillow(content) if bits <= 8 else None
        return image, damage if image is None else ""
    if bits == 16 and photometric == _WHITE_IS_ZERO:
        image = 65535 - image
    return _divide_by_alpha(image) if premultiplied and image.shape[2:] == (4,) else image, damage


def _patch(content: bytes, header: Header) -> bytes:
    """Has the decoder neither turn the picture nor multiply its colours by alpha."""
    patched = bytearray(content)
    for number, value in ((_ORIENTATION, 1), (_EXTRA_SAMPLES, 0)):
        if number in header.tags:
            header.tags[number].write(patched, value)
    return bytes(patched)


def _divide_by_alpha(image: np.ndarray) -> np.ndarray:
    """Undoes the multiplication of colours by alpha, (H, W, 4); what is transparent stays as it is."""
    full = FULL_SCALE[image.dtype]
    alpha = image[:, :, 3:].astype(np.float64)
    colours = np.where(alpha > 0, image[:, :, :3] * full / np.maximum(alpha, 1), image[:, :, :3])
    return np.concatenate([np.rint(colours.clip(0, full)).astype(image.dtype), image[:, :, 3:]], axis=2)


def _decode_by_tifffile(content: bytes, name: str, separate: bool) -> np.ndarray:
    # Imported here: few files need it.
    import tifffile

    try:
        image: Any = tifffile.imread(io.BytesIO(content), key=0)
    except Exception as error:
        raise ImageError(name, f"not a readable image ({error}); save it with interleaved channels") from error
    image = np.moveaxis(image, 0, -1) if separate else image
    # Gray with alpha, RGB, RGB with alpha.
    order = {2: [0, 0, 0, 1], 3: [2, 1, 0]}.get(image.shape[-1], [2, 1, 0, 3])
    return np.ascontiguousarray(image[:, :, order])


def _decode_by_pillow(content: bytes) -> np.ndarray | None:
    from PIL import Image

    try:
        with without_pillow_limit(), Image.open(io.BytesIO(content)) as file:
            if file.mode in ("1", "L"):
                return np.array(file.convert("L"))
            # Gray that was multiplied by alpha is "La", which becomes nothing else at once.
            known = file.convert("LA") if file.mode == "La" else file
            rgb = np.array(known.convert("RGBA" if "A" in known.getbands() else "RGB"))
    except (OSError, ValueError, SyntaxError):
        return None
    return np.ascontiguousarray(rgb[:, :, [2, 1, 0, 3][: rgb.shape[2]]])
