"""What files say stays true of the enlarged picture: mode, depth, alpha, orientation, profile, EXIF, resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from picture_kinds import DPI, KINDS, PROFILE, TAKEN, Kind, read_independently, upscale_kinds
from PIL import Image

from basicsr.cli import main
from basicsr.upscaling.metadata import EXIF_PREFIX, load_exif, read_metadata
from basicsr.upscaling.pictures import FORMATS, read_picture


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, repeating: str) -> Path:
    """All kinds, upscaled by one command."""
    folder = tmp_path_factory.mktemp("kinds")
    upscale_kinds(folder, repeating)
    return folder / "out"


def test_there_are_forty_pictures() -> None:
    assert len(KINDS) >= 40 and len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pixels_alpha_and_depth(kind: Kind, results: Path) -> None:
    made, expected = read_independently(results / kind.name), kind.enlarged()
    assert made.shape == expected.shape
    assert made.dtype == expected.dtype
    error = np.abs(made.astype(float) - expected)
    colours = error
    if kind.has_alpha:
        # Bicubic interpolation in 32 and in 64 bits.
        assert error[..., -1].max() <= (1 if kind.loss == 0 else 2)
        # What cannot be seen has the colour of what is beside it.
        colours = error[..., :-1][kind.pixels[..., -1].repeat(2, axis=0).repeat(2, axis=1) > 0]
    assert colours.max() <= kind.loss


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_profile_exif_and_resolution(kind: Kind, results: Path) -> None:
    content = (results / kind.name).read_bytes()
    found = read_metadata(content)
    assert found.profile == (PROFILE if kind.profile else b"")
    assert bool(found.exif) == kind.exif or kind.name.endswith((".tif", ".tiff"))
    if kind.exif:
        exif = load_exif(EXIF_PREFIX + found.exif)
        assert exif[0x010F] == "Maker" and exif.get(0x0112, 1) == 1
        assert exif.get_ifd(0x8769)[0x9003] == TAKEN and exif.get_ifd(0x8825)[1] == "N"
    if kind.dpi:
        assert found.dpi == pytest.approx(DPI, abs=0.01)
    assert read_picture(content, kind.name).suffix in (Path(kind.name).suffix.lower().replace("jpeg", "jpg"), ".tif")


def test_other_programs_read_the_same(results: Path) -> None:
    with Image.open(results / "rgba.png") as image:
        assert image.mode == "RGBA" and image.info["icc_profile"] == PROFILE
        assert image.getexif()[0x010F] == "Maker"
        assert image.info["dpi"] == pytest.approx(DPI, abs=0.01)
    with Image.open(results / "rgb.tif") as image:
        assert image.info["icc_profile"] == PROFILE and image.info["dpi"] == DPI
        assert image.getexif().get_ifd(0x8769)[0x9003] == TAKEN
    with Image.open(results / "turned_6.tif") as image:
        assert image.getexif().get(0x0112, 1) == 1
    with tifffile.TiffFile(results / "deep.tif") as file:
        assert file.pages[0].iccprofile == PROFILE and file.pages[0].resolution == DPI
    assert Image.open(results / "la.png").mode == "LA"


def test_profiles_of_other_colours_are_left_out_with_the_colours(tmp_path: Path, repeating: str) -> None:
    cmyk = Image.fromarray(KINDS[0].pixels).convert("CMYK")
    profile = bytearray(PROFILE)
    profile[16:20] = b"CMYK"
    cmyk.save(tmp_path / "a.jpg", icc_profile=bytes(profile), quality=95)
    assert main(["upscale", str(tmp_path / "a.jpg"), "-m", repeating, "-o", str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_takes_every_picture(suffix: str, tmp_path: Path, repeating: str) -> None:
    names = ("rgb.png", "gray.png", "deep_rgba.png", "la.png")
    for kind in KINDS:
        if kind.name in names:
            kind.write(tmp_path / kind.name)
    flags = ["-m", repeating, "--ext", suffix[1:], "--quality", "100", "-o", str(tmp_path / "out"), "--tile", "0"]
    assert main(["upscale", *(str(tmp_path / name) for name in names), *flags]) == 0
    for kind in KINDS:
        if kind.name in names:
            made = read_independently((tmp_path / "out" / kind.name).with_suffix(suffix)).astype(float)
            assert made.shape[:2] == kind.enlarged().shape[:2]
            expected = kind.enlarged().astype(float) / np.iinfo(kind.pixels.dtype).max
            if FORMATS[suffix].alpha and made.shape[2] == expected.shape[2]:
                assert np.abs(made / made.max() - expected / expected.max()).max() < 0.05
            elif kind.name == "deep_rgba.png":
                white = expected[..., :3] * expected[..., 3:] + 1 - expected[..., 3:]
                full = 65535 if FORMATS[suffix].deep else 255
                assert np.abs(made / full - white).max() < 0.05
