"""Kernels, noise and JPEG of ``basicsr.data.degradations``."""

from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
from golden_cases import load_case

from basicsr.data import degradations
from basicsr.data.degradations import (
    KERNEL_KINDS,
    KernelDraw,
    add_jpg_compression,
    bivariate_Gaussian,
    cdf2,
    check_kernel_options,
    circular_lowpass_kernel,
    draw_sinc_kernel,
    mesh_grid,
    pad_kernel,
    pdf2,
    random_mixed_kernels,
    sigma_matrix2,
)
from basicsr.degradation.kernel_draws import draw_kind
from basicsr.degradation.kernel_options import KernelMixture
from basicsr.degradation.noise_fields import photon_exponent, quantise_levels
from basicsr.utils.seeding import numpy_rng, torch_generator


class TestKernels:
    def test_equal_golden(self) -> None:
        case = load_case("data_kernels")
        for key, call in case.config["calls"].items():
            case.check(getattr(degradations, call["function"])(**call["kwargs"]), key)

    def test_global_streams_draw_in_published_order(self) -> None:
        case = load_case("data_random_kernels")
        random.seed(case.config["seed"])
        np.random.seed(case.config["seed"])  # noqa: NPY002
        for index in range(12):
            case.check(random_mixed_kernels(**case.config["first"]), f"out.k{index:02d}")
        for index in range(6):
            case.check(random_mixed_kernels(**case.config["second"]), f"out.n{index}")

    def test_covariance_and_densities(self) -> None:
        covariance = sigma_matrix2(2.0, 0.5, 0.3)
        values, _ = np.linalg.eigh(covariance)
        np.testing.assert_allclose(values, [0.25, 4.0])
        grid, xx, yy = mesh_grid(5)
        assert grid.shape == (5, 5, 2)
        np.testing.assert_array_equal(xx[0], [-2, -1, 0, 1, 2])
        np.testing.assert_array_equal(yy[:, 0], [-2, -1, 0, 1, 2])
        density = pdf2(covariance, grid)
        assert density[2, 2] == 1
        point = np.array([1.0, -2.0])
        assert density[0, 3] == pytest.approx(math.exp(-0.5 * point @ np.linalg.inv(covariance) @ point))
        assert cdf2(np.eye(2), grid)[2, 2] == pytest.approx(0.25)

    def test_a_given_grid_is_used(self) -> None:
        grid, _, _ = mesh_grid(7)
        kernel = bivariate_Gaussian(7, 1.5, 1, 0.2, grid=grid, isotropic=False)
        np.testing.assert_array_equal(kernel, bivariate_Gaussian(7, 1.5, 1, 0.2, isotropic=False))

    def test_rotation_turns_towards_larger_rows(self) -> None:
        kernel = bivariate_Gaussian(9, 3, 0.5, math.pi / 4, isotropic=False)
        assert kernel[7, 7] > 100 * kernel[1, 7]

    def test_padding_centres(self) -> None:
        kernel = circular_lowpass_kernel(2.0, 7, 21)
        np.testing.assert_array_equal(kernel[7:14, 7:14], circular_lowpass_kernel(2.0, 7))
        assert kernel.sum() == pytest.approx(1)
        assert pad_kernel(np.ones((7, 7)), 5).shape == (7, 7)

    @pytest.mark.parametrize("function", ["Gaussian", "generalized_Gaussian", "plateau"])
    @pytest.mark.parametrize("isotropic", [False, True])
    def test_random_functions_draw_from_a_key(self, function: str, isotropic: bool) -> None:
        draw = getattr(degradations, f"random_bivariate_{function}")
        beta = () if function == "Gaussian" else ((0.5, 4),)

        def kernel(seed: int, **options) -> np.ndarray:
            arguments = (11, (0.6, 3), (0.6, 3), (-math.pi, math.pi), *beta)
            return draw(*arguments, isotropic=isotropic, rng=numpy_rng("kernel", seed), **options)

        np.testing.assert_array_equal(kernel(1), kernel(1))
        assert np.abs(kernel(1) - kernel(2)).max() > 1e-4
        assert kernel(1).sum() == pytest.approx(1)
        assert np.allclose(kernel(3), kernel(3).T) == isotropic
        noisy = kernel(1, noise_range=(0.5, 1.5))
        assert noisy.sum() == pytest.approx(1)
        assert np.abs(noisy - kernel(1)).max() > 1e-4

    def test_a_draw_can_be_written_down(self) -> None:
        ranges = {"sigma_x_range": (0.6, 3), "sigma_y_range": (0.6, 5), "rotation_range": (-math.pi, math.pi)}
        for seed, kind in itertools.product(range(10), KERNEL_KINDS):
            rng = numpy_rng("kernel", seed)
            rng.random()  # what chooses a kind
            draw = draw_kind(kind, 13, (*ranges.values(), (0.5, 8)), rng)
            again = KernelDraw.from_dict(json.loads(json.dumps(draw.to_dict())))
            assert again == draw
            assert draw.kind == kind
            kernel = again.render(pad_to=21)
            assert kernel.shape == (21, 21)
            expected = random_mixed_kernels([kind], [1], kernel_size=13, **ranges, rng=numpy_rng("kernel", seed))
            np.testing.assert_array_equal(kernel[4:17, 4:17], expected)

    def test_kinds_come_as_often_as_told(self) -> None:
        rng = numpy_rng("kinds")
        mixture = KernelMixture(kernel_list=["iso", "aniso"], kernel_prob=[0.25, 0.75])
        draws = [mixture.draw_kernel(rng).kind for _ in range(2000)]
        assert abs(draws.count("iso") / 2000 - 0.25) < 0.04
        certain = KernelMixture(kernel_list=["iso", "aniso"], kernel_prob=[1, 0])
        assert {certain.draw_kernel(rng).kind for _ in range(50)} == {"iso"}
        every = KernelMixture(kernel_list=list(KERNEL_KINDS), kernel_prob=[0.2, 0.2, 0.15, 0.15, 0.15, 0.15])
        assert {every.draw_kernel(rng).kind for _ in range(60)} == set(KERNEL_KINDS)

    def test_beta_is_on_either_side_of_one_equally_often(self) -> None:
        rng = numpy_rng("beta")
        mixture = KernelMixture(kernel_list=["generalized_iso"], betag_range=(0.5, 4))
        betas = [mixture.draw_kernel(rng).beta for _ in range(1000)]
        assert 0.5 <= min(betas) < max(betas) <= 4
        assert abs(np.mean(np.less(betas, 1)) - 0.5) < 0.06

    def test_sinc_and_pulse(self) -> None:
        for size, lowest in ((7, math.pi / 3), (21, math.pi / 5)):
            cutoffs = [draw_sinc_kernel(size, numpy_rng("sinc", seed)).cutoff for seed in range(50)]
            assert lowest <= min(cutoffs) < max(cutoffs) <= math.pi
        np.testing.assert_array_equal(KernelDraw("sinc", 7, cutoff=2.0).render(21), circular_lowpass_kernel(2.0, 7, 21))
        pulse = KernelDraw("pulse", 21).render()
        assert pulse[10, 10] == 1
        assert pulse.sum() == 1

    @pytest.mark.parametrize(
        ("kinds", "probabilities", "message"),
        [
            (["iso", "isotropic"], [0.5, 0.5], "kernel_list.1: expected 'iso'.* got 'isotropic'"),
            (["iso"], [0.5, 0.5], "2 probabilities for 1"),
            (["iso", "aniso"], [0.5, 0.4], "add up to 1"),
            (["iso", "aniso"], [1.5, -0.5], "negative"),
            ([], [], "kernel_prob: expected a list of numbers, got"),
        ],
    )
    def test_bad_mixtures_are_refused(self, kinds: list[str], probabilities: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            check_kernel_options(kinds, probabilities)

    def test_bad_sizes_and_ranges_are_refused(self) -> None:
        with pytest.raises(ValueError, match="odd"):
            random_mixed_kernels(["iso"], [1], kernel_size=8)
        with pytest.raises(ValueError, match="sigma_x_range"):
            random_mixed_kernels(["iso"], [1], sigma_x_range=(3, 1))
        with pytest.raises(ValueError, match="noise_range"):
            random_mixed_kernels(["iso"], [1], noise_range=(1.2, 0.8))


class TestNoise:
    def test_tensors_equal_golden(self) -> None:
        case = load_case("data_noise")
        x, seed = case.tensor("in.x"), case.config["seed"]
        gauss_gray, poisson_gray = case.config["gray"]
        for generator in (None, torch.Generator()):
            (generator.manual_seed if generator else torch.manual_seed)(seed)
            out = degradations.random_add_gaussian_noise_pt(x, [1, 30], gray_prob=gauss_gray, rng=generator)
            case.check(out, "out.gauss")
            (generator.manual_seed if generator else torch.manual_seed)(seed)
            out = degradations.random_add_gaussian_noise_pt(x, [5, 10], rounds=True, rng=generator)
            case.check(out, "out.gauss_nogray")
            (generator.manual_seed if generator else torch.manual_seed)(seed)
            out = degradations.random_add_poisson_noise_pt(x, [0.05, 3], gray_prob=poisson_gray, rng=generator)
            case.check(out, "out.poisson")

    @pytest.mark.parametrize("gray", [False, True])
    def test_gaussian_strength_of_arrays(self, gray: bool) -> None:
        img = np.full((80, 90, 3), 0.5, np.float32)
        noise = degradations.generate_gaussian_noise(img, 20, gray, numpy_rng("noise"))
        assert noise.shape == img.shape
        assert noise.dtype == np.float32
        assert noise.std() * 255 == pytest.approx(20, rel=0.05)
        assert np.array_equal(noise[..., 0], noise[..., 2]) == gray
        added = degradations.add_gaussian_noise(img, 20, gray_noise=gray, rng=numpy_rng("noise"))
        np.testing.assert_allclose(added, img + noise)

    @pytest.mark.parametrize("gray", [False, True])
    def test_poisson_strength_of_arrays_is_that_of_tensors(self, gray: bool) -> None:
        levels = np.random.default_rng(0).integers(100, 116, (64, 64, 1)).repeat(3, 2)
        img = (levels / 255).astype(np.float32)
        noise = degradations.generate_poisson_noise(img, 0.5, gray, numpy_rng("noise"))
        # 16 grays are taken for 16 photons at white: variance level / photons.
        expected = 0.5 * math.sqrt(img.mean() / 16)
        assert noise.std() == pytest.approx(expected, rel=0.05)
        assert np.array_equal(noise[..., 0], noise[..., 2]) == gray
        x = torch.from_numpy(img).permute(2, 0, 1).unsqueeze(0)
        tensor = degradations.generate_poisson_noise_pt(x, 0.5, float(gray), torch_generator("noise"))
        assert tensor.std().item() == pytest.approx(expected, rel=0.05)
        assert torch.equal(tensor[:, 0], tensor[:, 2]) == gray

    def test_random_arrays_draw_from_a_key(self) -> None:
        img = np.random.default_rng(0).random((12, 14, 3)).astype(np.float32)
        for name, bounds in (("gaussian", (1, 30)), ("poisson", (0.05, 3))):
            add = getattr(degradations, f"random_add_{name}_noise")
            first, second, other = (add(img, bounds, 0.4, rng=numpy_rng("n", seed)) for seed in (1, 1, 2))
            np.testing.assert_array_equal(first, second)
            assert np.abs(first - other).max() > 0
            assert first.min() >= 0
            assert first.max() <= 1
            rounded = add(img, bounds, 0.4, rounds=True, rng=numpy_rng("n", 1)) * 255
            np.testing.assert_allclose(rounded, rounded.round(), atol=1e-4)

    @pytest.mark.parametrize("name", ["gaussian", "poisson"])
    def test_strengths_belong_to_samples(self, name: str) -> None:
        x = torch.full((3, 3, 64, 64), 0.5)
        generate = getattr(degradations, f"generate_{name}_noise_pt")
        noise = generate(x, torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 0.0, 1.0]), torch_generator("noise"))
        assert not noise[0].any()
        assert noise[2].std() == pytest.approx(3 * noise[1].std().item(), rel=0.1)
        assert torch.equal(noise[2, 0], noise[2, 1])
        assert not torch.equal(noise[1, 0], noise[1, 1])

    def test_photons_without_a_loop_equal_photons_with_one(self) -> None:
        generator = torch_generator("levels")
        for count in (1, 2, 3, 4, 5, 127, 128, 129, 255, 256):
            levels = torch.randint(0, count, (4, 3, 30, 31), generator=generator)
            expected = [math.ceil(math.log2(len(torch.unique(sample)))) for sample in levels]
            assert photon_exponent(levels).tolist() == expected
        photo = quantise_levels(torch.rand(5, 3, 9, 9, generator=generator) ** 4)
        expected = [math.ceil(math.log2(len(torch.unique(sample)))) for sample in photo]
        assert photon_exponent(photo).tolist() == expected


class TestJpeg:
    def test_compresses(self) -> None:
        img = np.random.default_rng(0).random((24, 32, 3)).astype(np.float32)
        errors = [np.abs(add_jpg_compression(img, quality) - img).mean() for quality in (10, 50, 95)]
        assert errors[0] > errors[1] > errors[2]
        assert add_jpg_compression(img[..., 0], 90).shape == (24, 32)
        first, second = (
            degradations.random_add_jpg_compression(img, (30, 90), rng=numpy_rng("jpeg", 1)) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("quality", [0, 101])
    def test_refuses_impossible_qualities(self, quality: int) -> None:
        with pytest.raises(ValueError, match="1 … 100"):
            add_jpg_compression(np.zeros((8, 8, 3), np.float32), quality)
