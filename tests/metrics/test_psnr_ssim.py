"""PSNR and SSIM against the golden case, and the batched functions against the array functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import load_case
from skimage.metrics import structural_similarity

from basicsr.metrics import (
    Levels,
    batch_psnr,
    batch_ssim,
    calculate_psnr,
    calculate_psnr_pt,
    calculate_ssim,
    calculate_ssim_pt,
    psnr_ssim,
)
from basicsr.metrics.metric_util import reorder_image, to_y_channel

CASE = load_case("metric_psnr_ssim")
CALLS = CASE.config["calls"]


def measure_psnr(sr: torch.Tensor, gt: torch.Tensor, *options: object) -> torch.Tensor:
    return batch_psnr(Levels(sr).batch, Levels(gt).batch, *options)


def measure_ssim(sr: torch.Tensor, gt: torch.Tensor, *options: object) -> torch.Tensor:
    return batch_ssim(Levels(sr).batch, Levels(gt).batch, *options)


def random_pair(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, shape).astype(np.float64)
    noisy = np.clip(clean + rng.normal(0, 8, shape), 0, 255)
    return clean.astype(np.uint8), noisy.astype(np.uint8)


def as_batch(img_HWC: np.ndarray) -> torch.Tensor:
    """BGR array to an RGB batch of one, uint8."""
    return torch.from_numpy(np.ascontiguousarray(img_HWC[..., ::-1].transpose(2, 0, 1)))[None]


@pytest.mark.parametrize("key", CALLS)
@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_golden_arrays(name: str, key: str) -> None:
    function = {"psnr": calculate_psnr, "ssim": calculate_ssim}[name]
    pair = [CASE.arrays[k].transpose(2, 0, 1) if key.endswith("CHW") else CASE.arrays[k] for k in ("in.a", "in.b")]
    CASE.check(np.float64(function(*pair, **CALLS[key])), f"out.{name}.{key}")


@pytest.mark.parametrize("key", ["cb0.rgb", "cb0.y", "cb4.rgb", "cb4.y"])
def test_golden_tensors(key: str) -> None:
    crop, channel = key.split(".")
    a, b = (CASE.tensor(k).permute(2, 0, 1)[None] / 255 for k in ("in.a", "in.b"))
    for name, function in (("psnr_pt", calculate_psnr_pt), ("ssim_pt", calculate_ssim_pt)):
        value = function(a, b, crop_border=int(crop[2:]), test_y_channel=channel == "y")
        assert value.dtype == torch.float64
        CASE.check(value, f"out.{name}.{key}")


def test_equal_images() -> None:
    a = CASE.arrays["in.a"]
    CASE.check(np.float64(calculate_psnr(a, a, 0)), "out.psnr.identical")
    unit = CASE.tensor("in.a").permute(2, 0, 1)[None] / 255
    CASE.check(calculate_psnr_pt(unit, unit, 0), "out.psnr_pt.identical")
    assert measure_psnr(unit, unit).item() == math.inf
    assert calculate_ssim(a, a, 0) == pytest.approx(1)
    assert measure_ssim(unit, unit).item() == pytest.approx(1)


@pytest.mark.parametrize("test_y_channel", [False, True])
@pytest.mark.parametrize("crop_border", [0, 3])
def test_batches_give_the_numbers_of_saved_images(crop_border: int, test_y_channel: bool) -> None:
    pairs = [random_pair(37, 52, 3, seed=seed) for seed in range(3)]
    clean, noisy = (torch.cat([as_batch(pair[i]) for pair in pairs]) for i in (0, 1))
    # What a network returns is not on the 8-bit grid and may leave [0, 1].
    raw = noisy.float() / 255 + torch.where(noisy == 255, 0.3, 0.0) + 0.001
    for measure, calculate in ((measure_psnr, calculate_psnr), (measure_ssim, calculate_ssim)):
        expected = [calculate(b, a, crop_border, test_y_channel=test_y_channel) for a, b in pairs]
        for sr, gt in ((noisy, clean), (raw, clean.float() / 255), (raw.half().float(), clean)):
            values = measure(sr, gt, crop_border, test_y_channel)
            torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_gray_images_in_every_layout() -> None:
    a, b = random_pair(20, 30)
    expected = calculate_psnr(a, b, 2), calculate_ssim(a, b, 2)
    # PyTorch takes no step backward, not even along one channel.
    views = [image[..., None].copy()[:, :, ::-1] for image in (a, b)]
    for x, y, order in ((*views, "HWC"), (a[..., None], b[..., None], "HWC"), (a[None], b[None], "CHW")):
        for test_y_channel in (False, True):
            options = {"input_order": order, "test_y_channel": test_y_channel}
            assert (calculate_psnr(x, y, 2, **options), calculate_ssim(x, y, 2, **options)) == expected
    unit = torch.from_numpy(a)[None, None] / 255, torch.from_numpy(b)[None, None] / 255
    assert measure_psnr(*unit, 2, True).item() == pytest.approx(expected[0])


def test_ssim_equals_scikit_image_inside_the_valid_area() -> None:
    a, b = random_pair(40, 33)
    _, similarity = structural_similarity(
        a.astype(float), b.astype(float), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    assert calculate_ssim(a, b, 0) == pytest.approx(similarity[5:-5, 5:-5].mean(), rel=1e-9)


def test_float_arrays_are_in_8_bit_units() -> None:
    a, b = random_pair(20, 20, 3)
    for dtype in (np.float32, np.float64, np.int32):
        assert calculate_psnr(a.astype(dtype), b.astype(dtype), 0) == pytest.approx(calculate_psnr(a, b, 0))


def test_inputs_are_left_alone() -> None:
    a, b = random_pair(20, 20, 3)
    x = torch.rand(1, 3, 20, 20)
    copies = a.copy(), b.copy(), x.clone()
    calculate_ssim(a, b, 2, test_y_channel=True)
    measure_ssim(x, x, 2, True)
    assert (a == copies[0]).all() and (b == copies[1]).all() and torch.equal(x, copies[2])


def test_y_channel_and_layout() -> None:
    white = np.full((2, 3, 3), 255, np.uint8)
    assert to_y_channel(white) == pytest.approx(np.full((2, 3, 1), 235), abs=1e-4)
    blue = np.zeros((2, 3, 3), np.uint8)
    blue[..., 0] = 255
    assert to_y_channel(blue) == pytest.approx(np.full((2, 3, 1), 40.966), abs=1e-4)
    gray = np.full((2, 3, 1), 7, np.uint8)
    assert to_y_channel(gray) == pytest.approx(np.full((2, 3, 1), 7.0))
    assert reorder_image(np.zeros((4, 5))).shape == (4, 5, 1)
    assert reorder_image(np.zeros((3, 4, 5)), "CHW").shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calculate_psnr(np.zeros((8, 8, 3)), np.zeros((8, 9, 3)), 0), r"\(8, 8, 3\) and \(8, 9, 3\)"),
        (lambda: calculate_psnr(np.zeros((8, 8, 3)), np.zeros((8, 8)), 0), "as many channels"),
        (lambda: calculate_psnr(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), 4), "cut 4 pixels.*8x8"),
        (lambda: calculate_psnr(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), -1), "cut -1 pixels"),
        (lambda: calculate_ssim(np.zeros((18, 40, 3)), np.zeros((18, 40, 3)), 4), "11x11.*10x32"),
        (lambda: calculate_psnr(np.zeros((8, 8)), np.zeros((8, 8)), 0, input_order="WHC"), "input_order.*'WHC'"),
        (lambda: calculate_psnr(np.full((8, 8), 999, np.uint16), np.zeros((8, 8), np.uint16), 0), "8 bit"),
        (lambda: calculate_psnr(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)), 0), "2 or 3 axes"),
        (lambda: calculate_psnr(torch.zeros(8, 8), torch.zeros(8, 8), 0), "NumPy array"),
        (lambda: calculate_psnr_pt(np.zeros((1, 3, 8, 8)), np.zeros((1, 3, 8, 8)), 0), r"\(B, C, H, W\)"),
        (lambda: measure_psnr(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)), r"\(B, C, H, W\), got \(3, 8, 8\)"),
        (lambda: measure_psnr(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8), 0, True), "1 or 3 channels"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_by_convolution_is_that_of_opencv_and_has_a_gradient(channels: int) -> None:
    sr, gt = torch.rand(2, 2, channels, 40, 29, dtype=torch.float64).unbind(0)
    expected = batch_ssim(sr, gt, 2, peak=1.0)
    value = batch_ssim(sr.requires_grad_(), gt, 2, peak=1.0)
    torch.testing.assert_close(value.detach(), expected, rtol=1e-12, atol=0)
    value.sum().backward()
    assert sr.grad is not None and sr.grad.abs().max() > 0


def test_ssim_is_the_same_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    sr, gt = torch.rand(2, 2, 3, 50, 20).unbind(0)
    whole = batch_ssim(sr, gt, peak=1.0)
    monkeypatch.setattr(psnr_ssim, "SSIM_STRIP", 7)
    torch.testing.assert_close(batch_ssim(sr, gt, peak=1.0), whole, rtol=1e-12, atol=0)
