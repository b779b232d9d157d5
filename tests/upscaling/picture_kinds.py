"""Pictures of every kind that files can hold, and what they should become when every pixel is repeated."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

from basicsr.cli import main
from basicsr.processing.matlab import imresize

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DPI = (300.0, 240.0)
TAKEN = "2021:05:06 07:08:09"


def make_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    exif.get_ifd(0x8769)[0x9003] = TAKEN
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def smooth(channels: int, dtype: type = np.uint8, height: int = 18, width: int = 26) -> np.ndarray:
    """A picture without hard edges, different in each channel; (H, W) or (H, W, C)."""
    rows, columns = np.mgrid[:height, :width]
    waves = [0.5 + 0.4 * np.sin(rows / (5 + c) + c) * np.cos(columns / (7 - c)) for c in range(channels)]
    levels = np.rint(np.stack(waves, axis=2) * np.iinfo(dtype).max).astype(dtype)
    return levels[..., 0] if channels == 1 else levels


@dataclass
class Kind:
    """A file of one kind.

    Attributes:
        name: Its name.
        write: Writes it.
        pixels: The picture in it, upright: (H, W) or (H, W, C), RGB.
        loss: Levels of 255 by which reading and writing its format may change a colour.
        profile: Whether it has a colour profile.
        exif: Whether it has EXIF.
        dpi: Whether it tells its resolution.
    """

    name: str
    write: Callable[[Path], Any]
    pixels: np.ndarray
    loss: float = 0
    profile: bool = False
    exif: bool = False
    dpi: bool = False

    @property
    def has_alpha(self) -> bool:
        return self.pixels.ndim == 3 and self.pixels.shape[2] % 2 == 0

    def enlarged(self, scale: int = 2) -> np.ndarray:
        """Every pixel repeated; alpha, the last of 2 or 4 channels, interpolated."""
        pixels = self.pixels[..., None] if self.pixels.ndim == 2 else self.pixels
        made = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        if self.has_alpha:
            full = np.iinfo(pixels.dtype).max
            alpha = imresize(pixels[..., -1].astype(np.float64), scale)
            made[..., -1] = np.rint(alpha.clip(0, full)).astype(pixels.dtype)
        return made


def list_kinds() -> list[Kind]:
    rgb, gray, rgba, la = smooth(3), smooth(1), smooth(4), smooth(2)
    deep, deep_gray, deep_rgba, deep_la = (smooth(c, np.uint16) for c in (3, 1, 4, 2))
    bgr, bgra = [2, 1, 0], [2, 1, 0, 3]
    rich = {"icc_profile": PROFILE, "exif": make_exif().tobytes(), "dpi": DPI}
    has = {"profile": True, "exif": True, "dpi": True}
    few = np.repeat(np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, 6, axis=0), 6, axis=1)
    palette = Image.fromarray(np.stack([few, 255 - few, few // 2], axis=2)).quantize(16)
    few_rgb = np.stack([few, 255 - few, few // 2], axis=2)
    holes_rgb = np.where(few == few[0, 6], 0, 255).astype(np.uint8)
    cmyk = Image.fromarray(rgb).convert("CMYK")
    keyed = few.copy()
    holes = (np.where(few == 40, 0, 255)).astype(np.uint8)

    def saved(pixels: np.ndarray, **options: Any) -> Callable[[Path], Any]:
        return lambda path: Image.fromarray(pixels).save(path, **options)

    def coded(pixels: np.ndarray) -> Callable[[Path], Any]:
        return lambda path: cv2.imwrite(str(path), pixels)

    def tiff(pixels: np.ndarray, **options: Any) -> Callable[[Path], Any]:
        return lambda path: tifffile.imwrite(
            path, pixels, resolution=DPI, resolutionunit="INCH", software="", **options
        )

    kinds = [
        Kind("rgb.png", saved(rgb, **rich), rgb, **has),
        Kind("gray.png", saved(gray), gray),
        Kind("rgba.png", saved(rgba, **rich), rgba, **has),
        Kind("la.png", saved(la), la),
        Kind("deep.png", coded(deep[..., bgr]), deep),
        Kind("deep_gray.png", coded(deep_gray), deep_gray),
        Kind("deep_rgba.png", coded(deep_rgba[..., bgra]), deep_rgba),
        Kind("palette.png", palette.save, np.asarray(palette.convert("RGB"))),
        Kind("keyed_gray.png", saved(keyed, transparency=40), np.stack([keyed, holes], axis=2)),
        Kind("keyed.png", saved(few_rgb, transparency=tuple(few_rgb[0, 6].tolist())), np.dstack([few_rgb, holes_rgb])),
        Kind(
            "keyed_palette.png",
            lambda path: palette.save(path, transparency=3),
            np.dstack([np.asarray(palette.convert("RGB")), np.where(np.asarray(palette) == 3, 0, 255)]).astype("u1"),
        ),
        Kind(
            "keyed_bit.png",
            lambda path: Image.fromarray(few > 100).save(path, transparency=1),
            np.stack([(few > 100) * 255, (few <= 100) * 255], axis=2).astype("u1"),
        ),
        Kind("cmyk.jpg", lambda path: cmyk.save(path, quality=98), np.asarray(cmyk.convert("RGB")), 16),
        Kind(
            "one_bit.png",
            lambda path: Image.fromarray(gray > 128).save(path),
            np.where(gray > 128, 255, 0).astype("u1"),
        ),
        Kind("opaque.png", saved(np.dstack([rgb, np.full_like(gray, 255)])), np.dstack([rgb, np.full_like(gray, 255)])),
        Kind("rgb.jpg", saved(rgb, quality=98, subsampling=0, **rich), rgb, 12, **has),
        Kind("gray.JPEG", saved(gray, quality=98), gray, 8),
        Kind("progressive.jpg", saved(rgb, quality=98, subsampling=0, progressive=True), rgb, 12),
        Kind("rgb.webp", saved(rgb, lossless=True, icc_profile=PROFILE, exif=make_exif()), rgb, 24, True, True),
        Kind("rgba.webp", saved(rgba, lossless=True), rgba, 24),
        Kind("rgb.tif", saved(rgb, **rich), rgb, **has),
        Kind("gray.tiff", tiff(gray), gray, dpi=True),
        Kind("la.tif", tiff(la, photometric="minisblack", extrasamples=["unassalpha"]), la, dpi=True),
        Kind("rgba.tif", tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]), rgba, dpi=True),
        Kind("deep.tif", tiff(deep, photometric="rgb", iccprofile=PROFILE), deep, profile=True, dpi=True),
        Kind("deep_gray.tif", tiff(deep_gray), deep_gray, dpi=True),
        Kind("deep_la.tif", tiff(deep_la, photometric="minisblack", extrasamples=["unassalpha"]), deep_la, dpi=True),
        Kind("planes.tif", tiff(deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), deep, dpi=True),
        Kind("rgb.bmp", saved(rgb), rgb),
        Kind("packed.tif", saved(rgb, compression="tiff_lzw"), rgb),
        Kind("gray.bmp", saved(gray), gray),
        Kind("rgb.ppm", saved(rgb), rgb),
        Kind("deep.ppm", coded(deep[..., bgr]), deep),
        Kind("gray.pgm", saved(gray), gray),
        Kind("tall.png", saved(rgb[:, :3]), rgb[:, :3]),
        Kind("dot.png", saved(rgb[:1, :1]), rgb[:1, :1]),
    ]
    for orientation in range(2, 9):
        exif = make_exif(orientation)
        turned = Image.open(io.BytesIO(_encode(Image.fromarray(rgb), exif)))
        upright = np.asarray(ImageOps.exif_transpose(turned))
        name = f"turned_{orientation}.{'png' if orientation < 6 else 'tif' if orientation == 6 else 'webp'}"
        loss = 24 if orientation > 6 else 0
        write = saved(rgb, exif=exif.tobytes(), **({"lossless": True} if loss else {}))
        kinds.append(Kind(name, write, upright, loss, exif=True))
    return kinds


def _encode(image: Image.Image, exif: Image.Exif) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


KINDS = list_kinds()


def read_independently(path: Path) -> np.ndarray:
    """(H, W, C), RGB, by other decoders than the package's."""
    if path.suffix in (".tif", ".tiff"):
        pixels = tifffile.imread(path)
    elif path.suffix in (".ppm", ".pgm") or "deep" in path.name:
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pixels = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    else:
        pixels = np.asarray(Image.open(path))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def upscale_kinds(folder: Path, model: str) -> None:
    """Writes all kinds to ``in``, and has one command upscale them to ``out``."""
    (folder / "in").mkdir()
    for kind in KINDS:
        kind.write(folder / "in" / kind.name)
    assert main(["upscale", str(folder / "in"), "-m", model, "-o", str(folder / "out"), "--device", "cpu"]) == 0
