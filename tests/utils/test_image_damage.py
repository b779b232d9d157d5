"""Damaged image files: what decoders fill up without a word is refused by name, and what only looks odd is not."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image
from test_image_formats import by_pillow

from basicsr.utils.images import ImageError, decode_image, read_image
from basicsr.utils.img_util import imfrombytes

ROWS, COLUMNS = np.mgrid[:96, :128]
PICTURE = np.stack([COLUMNS * 2, ROWS * 2, (COLUMNS * ROWS) % 251], axis=2).astype(np.uint8)
PICTURE[20:60, 30:90] = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
END = b"\xff\xd9"
JPEGS = {
    "baseline": by_pillow(PICTURE, "JPEG", quality=90),
    "progressive": by_pillow(PICTURE, "JPEG", quality=90, progressive=True),
    "restarts": cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes(),
    "gray": by_pillow(PICTURE[:, :, 2], "JPEG", quality=90),
}
OTHERS = {
    "png": by_pillow(PICTURE, "PNG"),
    "webp": by_pillow(PICTURE, "WEBP", lossless=True),
    "tiff": by_pillow(PICTURE, "TIFF"),
    "tiff_lzw": by_pillow(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff_deflate": by_pillow(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "bmp": by_pillow(PICTURE, "BMP"),
    "ppm": by_pillow(PICTURE, "PPM"),
}


def zeroed(content: bytes, share: float = 0.5, count: int = 600) -> bytes:
    start = int(len(content) * share)
    return content[:start] + bytes(count) + content[start + count :]


@pytest.mark.parametrize("kind", JPEGS)
def test_jpegs_with_a_zeroed_middle_or_cut_with_an_end_are_refused(kind: str) -> None:
    content = JPEGS[kind]
    decode_image(content, "a.jpg")
    for damaged in (zeroed(content), content[: len(content) * 6 // 10] + END, content[:-40] + END):
        for read in (decode_image, lambda content, name: imfrombytes(content)):
            with pytest.raises(ImageError, match=r"damaged \(Corrupt JPEG data: .*\)|not a readable image"):
                read(damaged, "a.jpg")


def test_a_flipped_byte_is_noticed_where_the_decoder_loses_its_way() -> None:
    # Codes that mean other pixels are not: a byte in three here.
    content, noticed = JPEGS["baseline"], 0
    places = range(len(content) // 3, len(content) - 40, 97)
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        try:
            decode_image(bytes(flipped), "a.jpg")
        except ImageError:
            noticed += 1
    assert noticed > len(places) / 2


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_that_are_cut_are_refused(kind: str) -> None:
    content = OTHERS[kind]
    for length in (len(content) // 3, len(content) * 9 // 10, len(content) - 5):
        with pytest.raises(ImageError, match=r"a: (cut short|not a readable image|damaged)"):
            decode_image(content[:length], "a")


@pytest.mark.parametrize("kind", ["png", "tiff_lzw"])
def test_other_files_with_a_zeroed_middle_are_refused(kind: str) -> None:
    with pytest.raises(ImageError, match=r"damaged|not a readable"):
        decode_image(zeroed(OTHERS[kind]), "a")


def test_jpegs_that_are_only_odd_are_read() -> None:
    content = JPEGS["baseline"]
    expected = decode_image(content, "a.jpg")
    odd = {
        "surplus after the end": content + b"surplus" * 9,
        "padding before the end": content[:-2] + bytes(8) + END,
        "surplus in the header": content[:20] + b"\0\0\0" + content[20:],
    }
    for name, changed in odd.items():
        np.testing.assert_array_equal(decode_image(changed, name), expected)
    with pytest.raises(ImageError, match="extraneous bytes before marker 0xd9"):
        decode_image(content[:-2] + bytes(range(16)) + END, "a.jpg")


def test_threads_learn_of_their_own_damage_and_others_are_heard(capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = JPEGS["baseline"], zeroed(JPEGS["baseline"])
    stop = threading.Event()

    def talk() -> int:
        count = 0
        while not stop.is_set():
            count += os.write(2, b"a line of another thread\n") > 0
            stop.wait(0.0005)
        return count

    def is_good(content: bytes) -> bool:
        try:
            decode_image(content, "a.jpg")
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        talker = pool.submit(talk)
        try:
            found = list(pool.map(is_good, [good, bad] * 30))
        finally:
            stop.set()
    assert found == [True, False] * 30
    # What was being written while the last decoder ended is passed on by the next.
    decode_image(good, "a.jpg")
    error = capfd.readouterr().err
    assert error.splitlines() == ["a line of another thread"] * talker.result()


def test_a_process_without_standard_error_reads_images(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEGS["baseline"])
    former = os.dup(2)
    try:
        os.close(2)
        image = read_image(tmp_path / "a.jpg")
    finally:
        os.dup2(former, 2)
        os.close(former)
    assert image.shape == PICTURE.shape
    assert Image.open(tmp_path / "a.jpg").size == image.shape[1::-1]
