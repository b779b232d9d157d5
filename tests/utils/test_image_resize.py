"""MATLAB-like resizing and sliding windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import load_case

from basicsr.processing import resizer
from basicsr.processing.filters import patchify
from basicsr.processing.matlab import imresize


def test_imresize_equals_golden() -> None:
    case = load_case("data_imresize")
    img = case.arrays["in.img"]
    inputs = {"np": img, "pt": torch.from_numpy(img).permute(2, 0, 1), "gray": img[:, :, 0]}
    for key, call in case.config["calls"].items():
        case.check(imresize(inputs[key.split(".")[1]], call["scale"], call["antialiasing"]), key)


def test_imresize_takes_views() -> None:
    image = np.arange(40.0).reshape(1, 40, 1)
    for view in (image[::-1], image[:, :, ::-1], image[:, ::-1], image.swapaxes(0, 1)[::-1, ::-1]):
        assert np.array_equal(imresize(view, 0.5), imresize(view.copy(), 0.5))


@pytest.mark.parametrize("antialiasing", [False, True])
@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.7, 1, 1.5, 3])
def test_imresize_keeps_constants_at_any_size(scale: float, antialiasing: bool) -> None:
    for height, width in ((16, 20), (1, 5), (7, 3)):
        out = imresize(np.full((height, width, 3), 0.3), scale, antialiasing)
        assert out.shape == (int(np.ceil(round(height * scale, 9))), int(np.ceil(round(width * scale, 9))), 3)
        assert out.dtype == np.float64
        np.testing.assert_allclose(out, 0.3, rtol=1e-12)


def test_imresize_without_antialiasing_reads_the_two_nearest_on_each_side() -> None:
    # At 1/4 an output lies midway between inputs 1 and 2 of each four: weights -1/16, 9/16, 9/16, -1/16 (Keys).
    row = np.random.default_rng(0).random((1, 8))
    expected = row.reshape(2, 4) @ np.array([-1, 9, 9, -1]) / 16
    np.testing.assert_allclose(imresize(np.repeat(row, 4, 0), 0.25, antialiasing=False)[0], expected)


def test_layouts_agree() -> None:
    img = np.random.default_rng(0).random((9, 13, 3)).astype(np.float32)
    tensor = torch.from_numpy(img).permute(2, 0, 1)
    np.testing.assert_allclose(imresize(img, 0.4), imresize(tensor, 0.4).permute(1, 2, 0).numpy(), atol=1e-6)
    np.testing.assert_allclose(imresize(img, 0.4)[..., 1], imresize(img[..., 1], 0.4), atol=1e-6)
    assert imresize((img * 255).astype(np.uint8), 2).dtype == np.float32


def test_resizer_equals_golden() -> None:
    case = load_case("data_resizer")
    x = case.tensor("in.x")
    case.check(resizer.imresize(x, scale=1 / 4), "out.q")
    case.check(resizer.imresize(x, scale=1 / 2), "out.h")
    case.check(resizer.imresize(x, sizes=(8, 6)), "out.q")


def test_resizer_has_gradients() -> None:
    x = torch.rand(1, 2, 6, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: resizer.imresize(y, scale=1 / 3), x)
    assert torch.autograd.gradcheck(lambda y: resizer.imresize(y, sizes=(9, 4)), x)


def test_resizer_refuses_bad_calls() -> None:
    x = torch.rand(1, 3, 4, 4)
    with pytest.raises(ValueError, match="either scale or sizes"):
        resizer.imresize(x)
    with pytest.raises(ValueError, match="floating"):
        resizer.imresize(x.byte(), scale=2)
    with pytest.raises(ValueError, match="positive"):
        resizer.imresize(x, scale=-1)
    with pytest.raises(ValueError, match="positive"):
        resizer.imresize(x, sizes=(0, 4))
    with pytest.raises(ValueError, match="2 or 3 axes"):
        imresize(x, 0.5)


def test_patchify_equals_golden() -> None:
    case = load_case("data_patchify")
    for key in ("a", "b"):
        case.check(patchify(case.tensor("in.x"), **case.config[key]), f"out.{key}")


def test_patches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        patchify(torch.rand(1, 3, 4, 4), 5, 1)
    with pytest.raises(ValueError, match="patch_size"):
        patchify(torch.rand(1, 3, 4, 4), 0, 1)
