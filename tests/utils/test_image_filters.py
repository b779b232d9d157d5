"""Blur, unsharp masking, flat regions and JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_cases import load_case
from skimage import data

from basicsr.processing.diffjpeg import DiffJPEG, quality_to_factor
from basicsr.processing.filters import USMSharp, correlate_each, filter2D, get_flat_mask, pad_reflect, usm_sharp


def _as_batch(img: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(img / 255.0).float().reshape(-1, *img.shape[-3:]).permute(0, 3, 1, 2).contiguous()


def test_filter2d_equals_golden() -> None:
    case = load_case("data_filter2D")
    x = case.tensor("in.x")
    case.check(filter2D(x, case.tensor("in.k1")), "out.shared")
    case.check(filter2D(x, case.tensor("in.k2")), "out.per_sample")
    case.check(filter2D(x, case.tensor("in.k1"), "constant"), "out.shared_zero")


def test_filter2d_of_images_smaller_than_the_kernel() -> None:
    img = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    kernel = np.random.default_rng(1).random((21, 21)).astype(np.float32)
    expected = cv2.filter2D(np.pad(img, 10, "reflect"), -1, kernel)[10:-10, 10:-10]
    actual = filter2D(torch.from_numpy(img)[None, None], torch.from_numpy(kernel)[None])
    np.testing.assert_allclose(actual[0, 0].numpy(), expected, rtol=1e-4)
    np.testing.assert_array_equal(pad_reflect(torch.from_numpy(img), 10).numpy(), np.pad(img, 10, "reflect"))
    assert pad_reflect(torch.ones(1, 1, 1, 1), 3).shape == (1, 1, 7, 7)


def test_filter2d_by_padded_kernels_is_that_by_the_kernels() -> None:
    x, small = torch.rand(4, 3, 20, 24), torch.rand(4, 5, 5)
    small[2] = 0
    small[2, 2, 2] = 1
    padded = torch.nn.functional.pad(small, (8, 8, 8, 8))
    padded[3, 0, 20] = 0.5
    filtered = filter2D(x, padded)
    torch.testing.assert_close(filtered[:2], filter2D(x[:2], small[:2]))
    assert torch.equal(filtered[2], x[2])
    torch.testing.assert_close(filtered, correlate_each(pad_reflect(x, 10), padded))


def test_unsharp_masking_has_a_gradient_and_the_same_result_with_it() -> None:
    x, sharpen = torch.rand(2, 3, 30, 24, generator=torch.Generator().manual_seed(0)), USMSharp()
    plain, traced = sharpen(x), sharpen(x.clone().requires_grad_())
    torch.testing.assert_close(traced, plain, atol=2e-6, rtol=0)
    assert traced.requires_grad


def test_correlate_each_strides() -> None:
    x, kernels = torch.rand(2, 3, 12, 14), torch.rand(2, 5, 5)
    torch.testing.assert_close(correlate_each(x, kernels, 3), correlate_each(x, kernels)[..., ::3, ::3])


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 5), (1, 5, 3)])
def test_filter2d_refuses_kernels_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="kernels"):
        filter2D(torch.rand(2, 3, 8, 8), torch.rand(shape))


def test_unsharp_masking_equals_golden() -> None:
    case = load_case("data_usm")
    img = case.arrays["in.img_uint8"]
    x = _as_batch(img)
    case.check(USMSharp().kernel, "out.kernel")
    case.check(USMSharp()(x), "out.default")
    case.check(USMSharp()(x, **case.config["strong"]), "out.strong")
    case.check(USMSharp(**case.config["other"])(x), "out.other")
    case.check(usm_sharp((img / 255.0).astype(np.float32)), "out.numpy")
    case.check(usm_sharp(img / 255.0), "out.numpy")


def test_flat_mask_equals_golden() -> None:
    case = load_case("data_flat_mask")
    for key, arguments in case.config["calls"].items():
        case.check(get_flat_mask(case.tensor("in.x"), **arguments), key)


def test_flat_mask_refuses_gray_and_even_windows() -> None:
    with pytest.raises(ValueError, match="RGB"):
        get_flat_mask(torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="kernel_size"):
        get_flat_mask(torch.rand(1, 3, 8, 8), kernel_size=4)


def test_interpolation_equals_golden() -> None:
    case = load_case("data_interpolate")
    x, factor = case.tensor("in.x"), case.config["sf"]
    reduced = F.interpolate(x, scale_factor=1 / 4, mode="bicubic")
    case.check(reduced, "out.bicubic")
    case.check((reduced.clamp(0, 1) * 255.0).round() / 255.0, "out.lq")
    case.check(F.interpolate(x, scale_factor=factor, mode="area"), "out.area")
    case.check(F.interpolate(x, scale_factor=factor, mode="bilinear"), "out.bilinear")


class TestJpeg:
    def test_equals_golden(self) -> None:
        case = load_case("data_diffjpeg")
        x = _as_batch(case.arrays["in.img_uint8"])
        quality = case.tensor("in.quality")
        results = {f"out.q{q}": DiffJPEG(differentiable=False)(x, q) for q in (10, 50, 75, 95)}
        results["out.per_sample"] = DiffJPEG(differentiable=False)(x, quality)
        results["out.diff"] = DiffJPEG()(x, case.config["diff_quality"])
        for key, actual in results.items():
            off = (actual - case.tensor(key)).abs() > case.info["atol"]
            assert off.double().mean() <= 1e-3, key
        assert torch.equal(quality, case.tensor("in.quality"))

    @pytest.mark.parametrize(("quality", "bound"), [(10, 0.7), (50, 0.45), (75, 0.75), (95, 0.7), (100, 0.3)])
    def test_equals_a_real_encoder(self, quality: int, bound: float) -> None:
        """Luma against OpenCV's encoder, on a gray picture: decoders differ in how they enlarge chroma.

        The transposed picture is coded, because the published tables lie transposed. An encoder's steps and output are
        integers: at quality 50 ours are the same steps, elsewhere they differ by up to half a unit.
        """
        gray = data.camera()[100:228, 120:276]
        coded = cv2.imencode(".jpg", gray.T, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        expected = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).T.astype(np.float64)
        x = torch.from_numpy(gray / 255.0).expand(1, 3, -1, -1)
        actual = DiffJPEG(differentiable=False).double()(x, quality)[0].numpy() * 255
        assert np.ptp(actual, axis=0).max() < 0.05
        assert np.abs(actual[0] - expected).mean() < bound
        if quality < 96:
            errors = np.corrcoef((actual[0] - gray).ravel(), (expected - gray).ravel())
            assert errors[0, 1] > 0.8

    def test_colour_is_near_a_real_encoder(self) -> None:
        img = cv2.GaussianBlur(data.astronaut()[:160, :192], (0, 0), 2)
        coded = cv2.imencode(".jpg", img.transpose(1, 0, 2)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        expected = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1].transpose(1, 0, 2)
        actual = DiffJPEG(differentiable=False)(_as_batch(img), 90)[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(actual - expected).mean() < 1.0

    def test_quality_100_is_finite_and_nearly_lossless(self) -> None:
        x = _as_batch(cv2.GaussianBlur(data.astronaut()[:64, :64], (0, 0), 3))
        out = DiffJPEG(differentiable=False)(x, torch.tensor([100.0]))
        assert (out - x).abs().mean() * 255 < 1.0

    def test_extremes_are_clamped_in_tensors_and_refused_as_numbers(self) -> None:
        assert quality_to_factor(torch.tensor([0.0, 1.0, 50.0, 100.0, 120.0])).tolist() == pytest.approx(
            [50, 50, 1, 0.01, 0.01]
        )
        for quality in (0, 101, float("nan")):
            with pytest.raises(ValueError, match="1 … 100"):
                quality_to_factor(quality)

    def test_blocks_do_not_depend_on_the_rest_of_the_image(self) -> None:
        x = torch.rand(1, 3, 48, 64, dtype=torch.float64)
        whole, part = (DiffJPEG(differentiable=False)(y, 60) for y in (x, x[..., 16:, 32:]))
        torch.testing.assert_close(part, whole[..., 16:, 32:])

    def test_gradients_reach_the_image(self) -> None:
        x = torch.rand(1, 3, 17, 20, requires_grad=True)
        DiffJPEG()(x, 80).square().sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0

    def test_bfloat16_callers_get_exact_tables(self) -> None:
        x = torch.rand(1, 3, 16, 16).bfloat16()
        out = DiffJPEG(differentiable=False)(x, 90)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), DiffJPEG(differentiable=False)(x.float(), 90), atol=4e-3, rtol=0)

    def test_has_no_state(self) -> None:
        assert not DiffJPEG().state_dict()

    def test_refuses_what_it_cannot_code(self) -> None:
        with pytest.raises(ValueError, match="RGB"):
            DiffJPEG()(torch.rand(1, 1, 16, 16), 50)
        with pytest.raises(ValueError, match="do not fit"):
            DiffJPEG()(torch.rand(3, 3, 16, 16), torch.tensor([50.0, 60.0]))
