"""Images between files, arrays and tensors, and BT.601 colour."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden_cases import load_case
from PIL import Image

from basicsr.processing import color as color_util
from basicsr.processing import matlab as matlab_functions
from basicsr.utils import images, png
from basicsr.utils.errors import DataError
from basicsr.utils.images import list_images, planes_to_image, read_image, read_image_size, round_to_8_bits, write_png
from basicsr.utils.img_util import crop_border, imfrombytes, img2tensor, imwrite, mod_crop, tensor2img, tensor2img_fast


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 4, 1), (4, 5, 1), (1, 1, 3), (4, 5, 3)])
def test_views_in_any_order_become_tensors(shape: tuple[int, int, int], dtype: type) -> None:
    image = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for view in (image, image[::-1], image[:, ::-1], image[:, :, ::-1], image[::-1, ::-1, ::-1].swapaxes(0, 1)):
        made = img2tensor(view, bgr2rgb=False)
        assert np.array_equal(made.numpy(), view.transpose(2, 0, 1)) and made.is_contiguous()
        assert img2tensor(view, False, float32=False).dtype == (torch.uint8 if dtype is np.uint8 else torch.float32)


def test_conversions_equal_golden() -> None:
    case = load_case("data_img_tensor")
    t, img = case.tensor("in.t"), case.arrays["in.img"]
    case.check(tensor2img(t), "out.t4")
    case.check(tensor2img(t[:1]), "out.b1")
    case.check(tensor2img(t[0]), "out.t3")
    case.check(tensor2img(t[0], rgb2bgr=False), "out.t3_rgb")
    case.check(tensor2img(t[0, :1]), "out.t1c")
    case.check(tensor2img(t[0, 0]), "out.t2")
    case.check(tensor2img(t[0], min_max=(-1, 1)), "out.t3_pm1")
    case.check(tensor2img(t[0], out_type=np.float32), "out.t3_float")
    case.check(tensor2img_fast(t[:1]), "out.fast")
    case.check(img2tensor(img), "out.i2t")
    case.check(img2tensor(img, bgr2rgb=False), "out.i2t_keep")
    first, second = img2tensor([img / 255.0, img[:, :, :1]])
    case.check(first, "out.i2t_list0")
    case.check(second, "out.i2t_list1")
    case.check(crop_border(img, 2), "out.crop_border")
    case.check(mod_crop(img, case.config["mod"]), "out.mod_crop")


def test_tensor2img_keeps_its_input_and_knows_16_bit() -> None:
    t = torch.tensor([[[-0.5, 0.25], [1.0, 2.0]]])
    before = t.clone()
    np.testing.assert_array_equal(tensor2img(t, out_type=np.uint16), [[0, 16384], [65535, 65535]])
    assert torch.equal(t, before)
    assert isinstance(tensor2img([t, t]), list)
    with pytest.raises(ValueError, match="min_max"):
        tensor2img(t, min_max=(1, 0))
    with pytest.raises(ValueError, match="shape"):
        tensor2img(torch.zeros(2, 2, 2, 2, 2))


@pytest.mark.parametrize("fraction", ["u8", "f32"])
def test_color_equals_golden(fraction: str) -> None:
    case = load_case("data_color")
    img = case.arrays["in.img"]
    if fraction == "f32":
        img = (img / 255.0).astype(np.float32)
    for name in ("rgb2ycbcr", "bgr2ycbcr"):
        convert = getattr(color_util, name)
        case.check(convert(img), f"out.{name}.{fraction}")
        case.check(convert(img, y_only=True), f"out.{name}.y.{fraction}")
        assert convert(img).dtype == img.dtype
    for name in ("ycbcr2rgb", "ycbcr2bgr"):
        case.check(getattr(matlab_functions, name)(color_util.rgb2ycbcr(img)), f"out.{name}.{fraction}")


def test_color_of_tensors_equals_golden() -> None:
    case = load_case("data_color")
    x = torch.from_numpy(case.arrays["in.img"] / 255.0).float().permute(2, 0, 1).unsqueeze(0)
    case.check(color_util.rgb2ycbcr_pt(x), "out.rgb2ycbcr_pt")
    case.check(color_util.rgb2ycbcr_pt(x, y_only=True), "out.rgb2ycbcr_pt.y")


def test_color_refuses_what_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        color_util.rgb2ycbcr(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="int64"):
        color_util.ycbcr2rgb(np.zeros((4, 4, 3), np.int64))
    with pytest.raises(ValueError, match="shape"):
        color_util.rgb2ycbcr_pt(torch.zeros(1, 1, 4, 4))


def test_inverse_color_undoes_the_forward_one() -> None:
    img = np.random.default_rng(0).random((6, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(color_util.ycbcr2bgr(color_util.bgr2ycbcr(img)), img, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_files_round_trip(tmp_path, dtype: type) -> None:
    full = np.iinfo(dtype).max
    img = np.random.default_rng(1).integers(0, full, (7, 5, 3), dtype=dtype, endpoint=True)
    path = tmp_path / "new folder" / "a.png"
    assert imwrite(img, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]
    content = path.read_bytes()
    np.testing.assert_array_equal(imfrombytes(content, "unchanged"), img)
    np.testing.assert_allclose(imfrombytes(content, float32=True), img / full, atol=1e-7)
    assert imfrombytes(content).dtype == np.uint8
    assert imfrombytes(content, "grayscale", float32=True).shape == (7, 5)


def test_imfrombytes_repeats_gray_and_drops_alpha() -> None:
    gray = cv2.imencode(".png", np.full((3, 4), 7, np.uint8))[1].tobytes()
    assert imfrombytes(gray).shape == (3, 4, 3)
    alpha = cv2.imencode(".png", np.full((3, 4, 4), 7, np.uint8))[1]
    assert imfrombytes(alpha).shape == (3, 4, 3)
    assert imfrombytes(alpha, "unchanged").shape == (3, 4, 4)


def test_bad_files_are_named_as_such(tmp_path) -> None:
    for content in (b"", b"not an image", cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()[:20]):
        with pytest.raises(DataError, match="image"):
            imfrombytes(content)
    with pytest.raises(ValueError, match="flag"):
        imfrombytes(b"", "colour")
    with pytest.raises(OSError, match="does not exist"):
        imwrite(np.zeros((2, 2), np.uint8), tmp_path / "none" / "a.png", auto_mkdir=False)
    with pytest.raises(OSError, match="encode"):
        imwrite(np.zeros((2, 2), np.uint8), tmp_path / "a.nothing")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (40, 31), (40, 31, 3), (7, 2, 3)])
def test_large_png_files_are_written_band_by_band(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    monkeypatch.setattr(images, "LARGE", 0)
    monkeypatch.setattr(images, "encode_image", lambda *args: pytest.fail("encoded in memory"))
    monkeypatch.setattr(png, "BAND", 300)
    imwrite(image, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", unchanged=True), image)
    with Image.open(tmp_path / "a.png") as opened:
        opened.verify()


def test_images_above_pillow_s_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(np.zeros((30, 40, 3), np.uint8), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image_size(str(tmp_path / "a.png")) == (30, 40)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1199")
    with pytest.raises(DataError, match=r"a\.png: more than 1,199 pixels.*raise OPENCV_IO_MAX_IMAGE_PIXELS"):
        read_image_size(str(tmp_path / "a.png"))


def test_bombs_are_named_with_the_limit() -> None:
    content = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    header = struct.pack(">II", 2**17, 2**17) + content[24:29]
    bomb = content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]
    with pytest.raises(DataError, match="decompression bombs; to read it, raise OPENCV_IO_MAX_IMAGE_PIXELS"):
        imfrombytes(bomb)


def test_crop_border_of_lists_and_of_too_much() -> None:
    img = np.arange(24).reshape(4, 6)
    first, second = crop_border([img, img.T], 1)
    np.testing.assert_array_equal(first, img[1:-1, 1:-1])
    np.testing.assert_array_equal(second, first.T)
    assert crop_border(img, 0).shape == img.shape
    with pytest.raises(ValueError, match="4x6"):
        crop_border(img, 2)


def test_listing_is_sorted_skips_hidden_files_and_names_links_to_nothing(tmp_path) -> None:
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt", "deep/c.webp", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing")
    assert list_images(tmp_path) == ["a.jpg", "b.PNG", "link.png"]
    assert list_images(tmp_path, recursive=True) == ["a.jpg", "b.PNG", "deep/c.webp", "link.png"]
    with pytest.raises(DataError, match="is a file, not a folder"):
        list_images(tmp_path / "a.jpg")
    for name, reason in (("link.png", "is a link to nothing"), ("deep", "is not a file"), ("no.png", "no such file")):
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            read_image(tmp_path / name)


def test_a_photograph_that_is_cut_short_is_refused_by_every_reader(tmp_path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = cv2.imencode(".jpg", image)[1].tobytes()[:-500]
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (lambda: imfrombytes(content), lambda: read_image(tmp_path / "a.jpg")):
        with pytest.raises(DataError, match="cut short"):
            read()


def test_small_files_are_whole_and_have_the_permissions_of_new_files(tmp_path) -> None:
    image = np.arange(27, dtype=np.uint16).reshape(3, 3, 3) * 1000
    write_png(image, tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), image)
    (tmp_path / "reference").touch()
    assert (tmp_path / "new" / "a.png").stat().st_mode == (tmp_path / "reference").stat().st_mode
    assert round_to_8_bits(image).dtype == np.uint8 and round_to_8_bits(image)[-1, -1, -1] == round(26000 / 257)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("num_channels", [1, 2, 3, 4])
@pytest.mark.parametrize("is_interleaved", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_planes_become_an_image(dtype: type, num_channels: int, is_interleaved: bool, reverse: bool) -> None:
    image = np.random.default_rng(0).integers(0, 200, (9, 8, num_channels)).astype(dtype)[1:-1, 2:-1]
    planes = image.transpose(2, 0, 1) if is_interleaved else np.ascontiguousarray(image.transpose(2, 0, 1))
    made = planes_to_image(planes, reverse)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, image[..., ::-1] if reverse else image)
