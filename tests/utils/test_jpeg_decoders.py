"""Two decoders of JPEG files: the faster one gives the other's pixels, and leaves to it all that is not sound."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from test_image_damage import JPEGS, PICTURE, zeroed
from test_image_formats import by_pillow

from basicsr.utils import decoding
from basicsr.utils.images import ImageError, decode_image
from basicsr.utils.img_util import imfrombytes

pytest.importorskip("simplejpeg", reason="pip install -e '.[jpeg]'")


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return by_pillow(PICTURE, "JPEG", exif=exif.tobytes())


KINDS = {
    **JPEGS,
    **{
        f"{height}x{width} {sampling}": by_pillow(
            np.ascontiguousarray(PICTURE[:height, :width]), "JPEG", quality=80, subsampling=sampling, progressive=late
        )
        for height, width in ((1, 1), (15, 33), (16, 7))
        for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
        for late in (False, True)
    },
    "4:4:0": cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440])[
        1
    ].tobytes(),
    "stored as RGB": by_pillow(PICTURE, "JPEG", keep_rgb=True, subsampling=0),
    "on its side": turned(6),
}


def read_all(content: bytes) -> list[np.ndarray]:
    """In each way in which files are read."""
    ways = [imfrombytes(content, flag) for flag in ("color", "grayscale", "unchanged")]
    return [decode_image(content, "a.jpg"), decode_image(content, "a.jpg", unchanged=True), *ways]


@pytest.mark.parametrize("kind", KINDS)
def test_the_faster_decoder_gives_the_same_pixels(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_all(KINDS[kind])
    monkeypatch.setattr(decoding, "simplejpeg", None)
    for image, expected in zip(fast, read_all(KINDS[kind]), strict=True):
        np.testing.assert_array_equal(image, expected, strict=True)
        assert image.flags.c_contiguous


def refuse(*args: Any) -> None:
    raise AssertionError("standard error was listened to")


@pytest.mark.parametrize("kind", KINDS)
def test_standard_error_is_left_alone_while_a_sound_file_is_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "decode_and_listen", refuse)
    decode_image(KINDS[kind], "a.jpg")


def explain(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(content, "a.jpg")
    return str(caught.value)


@pytest.mark.parametrize("kind", JPEGS)
def test_damage_is_told_in_the_same_words(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = JPEGS[kind]
    damaged = [zeroed(content), content[: len(content) // 2] + b"\xff\xd9", content[:-40] + b"\xff\xd9"]
    said = [explain(each) for each in damaged]
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert said == [explain(each) for each in damaged]


def test_a_picture_above_the_limit_of_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "get_max_pixels", lambda: PICTURE[:, :, 0].size - 1)
    monkeypatch.setattr(decoding.simplejpeg, "decode_jpeg", refuse)
    # OpenCV, whose limit is what it was, decodes it.
    np.testing.assert_array_equal(
        decode_image(JPEGS["gray"], "a.jpg")[:, :, 0], imfrombytes(JPEGS["gray"], "grayscale")
    )


def test_a_file_cut_within_its_header_is_refused() -> None:
    content = JPEGS["baseline"]
    frame = content.index(b"\xff\xc0")
    for length in range(frame, frame + 12):
        assert "not a readable image" in explain(content[:length])
