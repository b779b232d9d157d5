"""Every kind of image file that Pillow, OpenCV and tifffile write: right pixels, upright, or a reason by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from basicsr.preparation import create_lmdb, extract_subimages, generate_meta_info, generate_multiscale
from basicsr.utils.file_client import FileClient
from basicsr.utils.images import ImageError, decode_image, read_image, read_image_shape, read_image_size
from basicsr.utils.img_util import imfrombytes

HEIGHT, WIDTH = 20, 28
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([COLUMNS * 9, ROWS * 12, (COLUMNS + ROWS) * 5], axis=2).astype(np.uint8)
GRAY = RGB[:, :, 0]
ALPHA = (255 - (COLUMNS * 7 + ROWS * 3) % 200).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
RGB_16 = RGB.astype(np.uint16) * 257 - RGB
RGBA_16 = np.dstack([RGB_16, ALPHA.astype(np.uint16) * 257])
GRAY_16 = RGB_16[:, :, 0]
LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
COMPRESSIONS = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")


def by_pillow(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def by_opencv(rgb: np.ndarray, suffix: str, *params: int) -> bytes:
    order = [2, 1, 0, 3][: rgb.shape[2]] if rgb.ndim == 3 else ...
    return cv2.imencode(suffix, rgb[..., order] if rgb.ndim == 3 else rgb, list(params))[1].tobytes()


def by_tifffile(image: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **{"photometric": "rgb", **options})
    return file.getvalue()


def separate(image: np.ndarray) -> dict[str, Any]:
    return {"image": np.moveaxis(image, 2, 0).copy(), "planarconfig": "separate"}


def multiply_by_alpha(image: np.ndarray) -> np.ndarray:
    """An image with its colours multiplied by alpha, and alpha behind them: (H, W, C + 1)."""
    colours = image.reshape(HEIGHT, WIDTH, -1) * (ALPHA[:, :, None] / 255)
    alpha = ALPHA.astype(image.dtype) * (257 if image.dtype == np.uint16 else 1)
    return np.dstack([np.rint(colours).astype(image.dtype), alpha])


def colours(image: Image.Image) -> np.ndarray:
    return np.array(image.convert("RGB"))


GRAY_TIMES_ALPHA: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [1]}
PALETTE = Image.fromarray(RGB).quantize(64)
CMYK = Image.fromarray(RGB).convert("CMYK")
YCBCR = Image.fromarray(RGB).convert("YCbCr")
BILEVEL = Image.fromarray(GRAY).convert("1")
GRAY_ALPHA = Image.fromarray(np.dstack([GRAY, ALPHA]), "LA")
PALETTE_ALPHA = Image.merge("LA", (Image.fromarray(np.asarray(PALETTE)), Image.fromarray(ALPHA)))

# What to write, the RGB or gray pixels to get, and by how many levels a lossy format may miss them on average.
EXACT: dict[str, tuple[bytes, np.ndarray]] = {
    "png 1": (by_pillow(BILEVEL, "PNG"), colours(BILEVEL)),
    "png L": (by_pillow(GRAY, "PNG"), GRAY),
    "png L tRNS": (by_pillow(GRAY, "PNG", transparency=9), GRAY),
    "png LA": (by_pillow(GRAY_ALPHA, "PNG"), GRAY),
    "png P": (by_pillow(PALETTE, "PNG"), colours(PALETTE)),
    "png P tRNS": (by_pillow(PALETTE, "PNG", transparency=3), colours(PALETTE)),
    "png RGB": (by_pillow(RGB, "PNG"), RGB),
    "png RGB tRNS": (by_pillow(RGB, "PNG", transparency=(0, 0, 0)), RGB),
    "png RGBA": (by_pillow(RGBA, "PNG"), RGB),
    "png I;16": (by_pillow(GRAY_16, "PNG"), GRAY_16),
    "png RGB 16": (by_opencv(RGB_16, ".png"), RGB_16),
    "png RGBA 16": (by_opencv(RGBA_16, ".png"), RGB_16),
    "png animated": (by_pillow(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB),
    "bmp 1": (by_pillow(BILEVEL, "BMP"), colours(BILEVEL)),
    "bmp L": (by_pillow(GRAY, "BMP"), GRAY),
    "bmp P": (by_pillow(PALETTE, "BMP"), colours(PALETTE)),
    "bmp RGB": (by_pillow(RGB, "BMP"), RGB),
    "bmp RGBA": (by_pillow(RGBA, "BMP"), RGB),
    "ppm 1": (by_pillow(BILEVEL, "PPM"), colours(BILEVEL)),
    "ppm L": (by_pillow(GRAY, "PPM"), GRAY),
    "ppm RGB": (by_pillow(RGB, "PPM"), RGB),
    "ppm I;16": (by_pillow(GRAY_16, "PPM"), GRAY_16),
    "webp RGB": (by_pillow(RGB, "WEBP", lossless=True), RGB),
    "webp RGBA": (by_pillow(RGBA, "WEBP", lossless=True, exact=True), RGB),
    "webp animated": (
        by_pillow(RGB, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        RGB,
    ),
    "gif P": (by_pillow(PALETTE, "GIF"), colours(PALETTE)),
    "tiff 1": (by_pillow(BILEVEL, "TIFF"), colours(BILEVEL)),
    "tiff 1 group4": (by_pillow(BILEVEL, "TIFF", compression="group4"), colours(BILEVEL)),
    "tiff L": (by_pillow(GRAY, "TIFF"), GRAY),
    "tiff LA": (by_pillow(GRAY_ALPHA, "TIFF"), GRAY),
    "tiff P": (by_pillow(PALETTE, "TIFF"), colours(PALETTE)),
    "tiff RGB": (by_pillow(RGB, "TIFF"), RGB),
    "tiff RGBX": (by_pillow(Image.fromarray(RGB).convert("RGBX"), "TIFF"), RGB),
    "tiff RGBA": (by_pillow(RGBA, "TIFF"), RGB),
    "tiff RGBA of OpenCV": (by_opencv(RGBA, ".tiff"), RGB),
    "tiff CMYK": (by_pillow(CMYK, "TIFF"), colours(CMYK)),
    "tiff I;16": (by_pillow(GRAY_16, "TIFF"), GRAY_16),
    "tiff I;16B": (by_tifffile(GRAY_16, photometric="minisblack", byteorder=">"), GRAY_16),
    **{f"tiff RGB {name}": (by_pillow(RGB, "TIFF", compression=name), RGB) for name in COMPRESSIONS},
    **{f"tiff RGBA {name}": (by_pillow(RGBA, "TIFF", compression=name), RGB) for name in COMPRESSIONS},
    "tiff RGB 16 of OpenCV": (by_opencv(RGB_16, ".tiff"), RGB_16),
    "tiff RGBA 16": (by_tifffile(RGBA_16, extrasamples=["unassalpha"]), RGB_16),
    "tiff LA 16": (
        by_tifffile(RGBA_16[:, :, [0, 3]], photometric="minisblack", planarconfig="contig", extrasamples=[2]),
        GRAY_16,
    ),
    "tiff RGB tiled": (by_tifffile(RGB, tile=(16, 16)), RGB),
    "tiff RGBA tiled": (by_tifffile(RGBA, tile=(16, 16), extrasamples=["unassalpha"]), RGB),
    "tiff RGB 16 tiled": (by_tifffile(RGB_16, tile=(16, 16)), RGB_16),
    "tiff RGB separate": (by_tifffile(**separate(RGB)), RGB),
    "tiff RGBA separate": (by_tifffile(**separate(RGBA), extrasamples=["unassalpha"]), RGB),
    "tiff RGB 16 separate": (by_tifffile(**separate(RGB_16)), RGB_16),
    "tiff RGB 16 separate big-endian": (by_tifffile(**separate(RGB_16), byteorder=">"), RGB_16),
    "tiff RGB 16 separate deflated": (by_tifffile(**separate(RGB_16), compression="zlib"), RGB_16),
    "tiff RGB big-endian": (by_tifffile(RGB, byteorder=">"), RGB),
    "tiff RGB 16 big-endian": (by_tifffile(RGB_16, byteorder=">"), RGB_16),
    "tiff RGBA big-endian": (by_tifffile(RGBA, byteorder=">", extrasamples=["unassalpha"]), RGB),
    "tiff RGBA BigTIFF": (by_tifffile(RGBA, bigtiff=True, extrasamples=["unassalpha"]), RGB),
    "tiff white is zero": (by_tifffile(255 - GRAY, photometric="miniswhite"), GRAY),
    "tiff white is zero 16": (by_tifffile(65535 - GRAY_16, photometric="miniswhite"), GRAY_16),
    "tiff of two pages": (by_tifffile(np.stack([RGB, 255 - RGB])), RGB),
}
LOSSY: dict[str, tuple[bytes, np.ndarray, float]] = {
    "jpeg L": (by_pillow(GRAY, "JPEG", quality=98), GRAY, 1),
    "jpeg RGB": (by_pillow(RGB, "JPEG", quality=98, subsampling=0), RGB, 1.5),
    "jpeg progressive": (by_pillow(RGB, "JPEG", quality=98, subsampling=0, progressive=True), RGB, 1.5),
    "jpeg CMYK": (by_pillow(CMYK, "JPEG", quality=98, subsampling=0), RGB, 2),
    "webp lossy": (by_pillow(RGB, "WEBP", quality=98), RGB, 3),
    "webp lossy RGBA": (by_pillow(RGBA, "WEBP", quality=98), RGB, 5),
    "tiff jpeg": (by_pillow(RGB, "TIFF", compression="jpeg", quality=98), RGB, 3),
    "tiff YCbCr": (by_pillow(YCBCR, "TIFF"), RGB, 1.5),
    "tiff LAB": (by_pillow(ImageCms.applyTransform(Image.fromarray(RGB), LAB), "TIFF"), RGB, 1.5),
    "tiff premultiplied": (by_tifffile(multiply_by_alpha(RGB), extrasamples=[1]), RGB, 1),
    "tiff premultiplied separate": (by_tifffile(**separate(multiply_by_alpha(RGB)), extrasamples=[1]), RGB, 1),
    "tiff premultiplied 16": (by_tifffile(multiply_by_alpha(RGB_16), extrasamples=[1]), RGB_16, 1),
    "tiff premultiplied 16 separate": (by_tifffile(**separate(multiply_by_alpha(RGB_16)), extrasamples=[1]), RGB_16, 1),
    "tiff gray premultiplied": (by_tifffile(multiply_by_alpha(GRAY), **GRAY_TIMES_ALPHA), GRAY, 1),
    "tiff gray premultiplied 16": (by_tifffile(multiply_by_alpha(GRAY_16), **GRAY_TIMES_ALPHA), GRAY_16, 1),
    "tiff gray premultiplied separate": (
        by_tifffile(**{**GRAY_TIMES_ALPHA, **separate(multiply_by_alpha(GRAY))}),
        GRAY,
        1,
    ),
}
WITH_ALPHA = ["png L tRNS", "png LA", "png P tRNS", "png RGB tRNS", "png RGBA", "png RGBA 16", "webp RGBA"]
WITH_ALPHA += ["tiff LA", "tiff RGBA", "tiff RGBA 16", "tiff LA 16", "tiff RGBA BigTIFF"]


def expected_bgr(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, ::-1]


@pytest.mark.parametrize("name", EXACT)
def test_lossless_files_give_their_pixels(name: str, tmp_path) -> None:
    content, pixels = EXACT[name]
    image = decode_image(content, name)
    assert image.dtype == pixels.dtype
    np.testing.assert_array_equal(image, expected_bgr(pixels))
    stored = decode_image(content, name, unchanged=True)
    np.testing.assert_array_equal(stored[..., :3] if stored.ndim == 3 else expected_bgr(stored), image)
    (tmp_path / "image").write_bytes(content)
    assert read_image_size(tmp_path / "image") == (HEIGHT, WIDTH)
    eight = image if image.dtype == np.uint8 else image >> 8
    assert np.abs(imfrombytes(content).astype(int) - eight).max() <= (image.dtype != np.uint8)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_give_nearly_their_pixels(name: str) -> None:
    content, pixels, tolerance = LOSSY[name]
    assert np.abs(decode_image(content, name).astype(float) - expected_bgr(pixels)).mean() < tolerance


@pytest.mark.parametrize("name", ["tiff RGBA", "tiff RGBA zstd", "tiff RGBA separate", "tiff RGBA tiled", "webp RGBA"])
def test_alpha_is_kept_where_channels_are(name: str) -> None:
    np.testing.assert_array_equal(decode_image(EXACT[name][0], name, unchanged=True)[:, :, 3], ALPHA)


@pytest.mark.parametrize("mode", ["1", "L", "I;16"])
def test_a_gray_value_that_counts_as_transparent_is_alpha(mode: str) -> None:
    levels = np.array([[0, 1, 2], [3, 1, 4]], np.uint8)
    image = Image.fromarray({"1": levels > 0, "L": levels, "I;16": levels.astype(np.uint16)}[mode])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=1)
    full = 65535 if mode == "I;16" else 255
    hidden = levels > 0 if mode == "1" else levels == 1
    decoded = decode_image(file.getvalue(), "keyed", unchanged=True)
    np.testing.assert_array_equal(decoded[..., 3], np.where(hidden, 0, full))
    np.testing.assert_array_equal(decoded[..., :3], expected_bgr(hidden * full if mode == "1" else levels))
    assert decode_image(file.getvalue(), "keyed").shape == (2, 3, 3)


@pytest.mark.parametrize("name", EXACT)
def test_alpha_is_dropped_with_a_notice_and_no_other_channel_is(name: str, caplog: pytest.LogCaptureFixture) -> None:
    decode_image(EXACT[name][0], f"{name}/image")
    noticed = f"{name}: images with an alpha channel; it is dropped" in caplog.messages
    assert noticed == (name in WITH_ALPHA or ("tiff RGBA" in name and name != "tiff RGBA of OpenCV"))


def jpeg_of_12_bits() -> bytes:
    content = bytearray(by_pillow(RGB, "JPEG"))
    content[content.find(b"\xff\xc0") + 4] = 12
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (by_pillow(GRAY.astype(np.float32), "TIFF"), "pixels of type float32; only 8 and 16 bits are supported"),
        (by_pillow(GRAY.astype(np.int32), "TIFF"), "pixels of type int32"),
        (by_tifffile(RGB.astype(np.float64)), "pixels of type float64"),
        (by_tifffile(RGB.astype(np.int16)), "pixels of type int16"),
        (by_tifffile(RGBA_16, photometric="separated"), "16 bits whose colours are not RGB"),
        (by_opencv(GRAY.astype(np.float32), ".pfm"), "pixels of type float32"),
        (jpeg_of_12_bits(), "a JPEG file of 12 bits"),
        (b"", "an empty file"),
        (b"GIF89a", "not a readable image"),
    ],
)
def test_other_files_are_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=f"a: .*{reason}"):
        decode_image(content, "a")


ORIENTED = {
    "jpg": {"format": "JPEG", "quality": 100, "subsampling": 0},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "lossless": True},
    "tif": {"format": "TIFF"},
}
# What each orientation makes of an image that is stored as it is.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: np.rot90(stored, 2),
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def write_oriented(folder, suffix: str, orientation: int):
    exif = Image.Exif()
    exif[274] = orientation
    path = folder / f"{suffix}{orientation}.{suffix}"
    Image.fromarray(RGB).save(path, exif=exif, **ORIENTED[suffix])
    return path


@pytest.mark.parametrize("suffix", ORIENTED)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_size_and_pixels_are_upright_in_every_format_for_all_orientations(tmp_path, suffix, orientation) -> None:
    path = write_oriented(tmp_path, suffix, orientation)
    upright = UPRIGHT[orientation](RGB[:, :, ::-1])
    assert read_image_shape(path) == upright.shape
    content = path.read_bytes()
    for image in (read_image(path), read_image(path, unchanged=True), imfrombytes(content)):
        assert image.shape == upright.shape
        assert np.abs(image.astype(int) - upright).mean() < 1.5
    assert imfrombytes(content, "grayscale").shape == upright.shape[:2]


def test_an_orientation_after_the_pixels_of_a_png_counts_and_one_that_is_damaged_does_not(tmp_path) -> None:
    content = by_pillow(RGB, "PNG")
    for orientation, size in ((6, (WIDTH, HEIGHT)), (9, (HEIGHT, WIDTH)), (0, (HEIGHT, WIDTH))):
        exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, orientation, 0) + bytes(4)
        chunk = b"eXIf" + exif
        added = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        end = content.rindex(b"IEND") - 4
        path = tmp_path / "a.png"
        path.write_bytes(content[:end] + added + content[end:])
        assert read_image_size(path) == read_image(path).shape[:2] == size
    path.write_bytes(content[:end] + added[:20] + content[end:])
    with pytest.raises(ImageError):
        read_image(path)


def test_commands_write_upright_pictures_of_every_format(tmp_path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    paths = [write_oriented(source, suffix, orientation) for suffix in ORIENTED for orientation in (1, 3, 6, 8)]
    extract_subimages(source, tmp_path / "sub", crop_size=20, step=8, num_workers=2)
    generate_multiscale(source, tmp_path / "smaller", scales=[0.5], shortest_edge=10, num_workers=2)
    create_lmdb(source, tmp_path / "all.lmdb", num_workers=2)
    generate_meta_info([source], tmp_path / "list.txt", with_size=True)
    database = FileClient("lmdb", db_paths=str(tmp_path / "all.lmdb"))
    lines = (tmp_path / "list.txt").read_text().splitlines()
    shapes = (tmp_path / "all.lmdb" / "meta_info.txt").read_text().splitlines()
    for path in paths:
        upright = read_image(path)
        height, width = upright.shape[:2]
        first = tmp_path / "sub" / f"{path.stem}_s001.png"
        np.testing.assert_array_equal(read_image(first), upright[:20, :20])
        assert read_image(tmp_path / "smaller" / f"{path.stem}T0.png").shape == (height // 2, width // 2, 3)
        np.testing.assert_array_equal(decode_image(database.get(path.stem), path.stem), upright)
        assert f"source/{path.name} ({height},{width},3)" in lines
        assert f"{path.stem}.png ({height},{width},3) 1" in shapes


def test_smaller_copies_keep_depth_and_colours_of_palettes(tmp_path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "deep.png").write_bytes(EXACT["png RGB 16"][0])
    (source / "palette.png").write_bytes(EXACT["png P"][0])
    generate_multiscale(source, tmp_path / "smaller", scales=[0.5], shortest_edge=10, num_workers=1)
    deep, palette = (read_image(tmp_path / "smaller" / f"{name}T0.png") for name in ("deep", "palette"))
    assert deep.dtype == np.uint16
    half = np.array(Image.fromarray(RGB).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.LANCZOS))[:, :, ::-1]
    assert np.abs(deep / 256 - half).mean() < 2
    assert np.abs(palette.astype(int) - half).mean() < 6
