"""Spectra against the golden cases, against a slow transcription of the definitions, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from golden_cases import load_case
from torch import Tensor

from basicsr.spectral import bands, rings, transforms

FUNCTIONS = {
    "spec_transform": "spectrum_transform",
    "spec_transform_after_mean": "spectrum_transform_after_mean",
    "spec_reduced_transform": "reduced_spectrum_transform",
    "spec_mask_out": "mask_out",
}
MODULES = {"mask_out": bands}
GOLDEN_CALLS = [(name, key) for name in ("spec_basic", *FUNCTIONS) for key in load_case(name).config["calls"]]
SIZES = [(8, 8), (7, 7), (6, 10), (10, 6), (5, 8), (8, 5), (7, 12), (1, 9), (2, 2)]


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "key"), GOLDEN_CALLS, ids=lambda value: str(value).removeprefix("out."))
def test_golden(name: str, key: str) -> None:
    case = load_case(name)
    call = case.config["calls"][key]
    function = FUNCTIONS.get(name) or call["function"]
    kwargs = call.get("kwargs", {k: v for k, v in call.items() if k not in ("function", "input")})
    case.check(
        getattr(MODULES.get(function, transforms), function)(case.tensor(call.get("input", "in.x")), **kwargs), key
    )


def test_golden_output_types() -> None:
    case = load_case("spec_reduced_transform")
    for key, call in case.config["calls"].items():
        output = transforms.reduced_spectrum_transform(case.tensor("in.x"), **call)
        assert str(output.dtype).removeprefix("torch.") == str(case.arrays[key].dtype)


def slow_rings(image: np.ndarray) -> np.ndarray:
    """Bin by bin: the centred odd-sized map, Nyquist entries on both ends, averaged over floor(radius)."""
    height, width = image.shape
    power = np.abs(np.fft.fft2(image)) ** 2
    sums: dict[int, list[float]] = {}
    for u in range(-(height // 2), height // 2 + 1):
        for v in range(-(width // 2), width // 2 + 1):
            sums.setdefault(math.floor(math.hypot(u, v)), []).append(power[u % height, v % width])
    return np.array([np.mean(sums[ring]) for ring in range(max(sums) + 1)])


@pytest.mark.parametrize("size", SIZES)
def test_reduced_spectrum_of_any_size(size: tuple[int, int]) -> None:
    x = random_images(2, *size)
    expected = np.stack([slow_rings(image.numpy()) for image in x])
    actual = transforms.get_reduced_spectrum(x, nyquist="symmetric")
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10)
    same_as_published = size[0] == size[1] or size[0] % 2 or size[1] % 2
    published = transforms.get_reduced_spectrum(x)
    assert published.shape == actual.shape
    assert torch.allclose(published, actual) == bool(same_as_published)


def test_published_rule_is_symmetric_where_the_published_column_does_not_exist() -> None:
    x = random_images(1, 16, 6)
    torch.testing.assert_close(
        transforms.get_reduced_spectrum(x), transforms.get_reduced_spectrum(x, nyquist="symmetric")
    )


def test_reduced_transform_of_non_square_images_uses_the_mended_rings() -> None:
    x = random_images(1, 1, 6, 10)
    expected = torch.from_numpy(slow_rings(x[0, 0].numpy()))
    expected = (expected - expected.min()) / (expected.max() - expected.min() + 1e-5)
    torch.testing.assert_close(transforms.reduced_spectrum_transform(x)[0], expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [None, "hann"])
def test_full_maps_equal_the_complex_fft(size: tuple[int, int], window: str | None) -> None:
    x = random_images(3, *size)
    taper = np.outer(np.hanning(size[0]), np.hanning(size[1])) if window else 1.0
    spectrum = np.fft.fftshift(np.fft.fft2(x.numpy() * taper), axes=(1, 2))
    power = np.abs(spectrum) ** 2
    np.testing.assert_allclose(transforms.get_power_spectrum(x, window).numpy(), power, rtol=1e-7, atol=1e-12)
    for normalize in (False, True):
        scaled = power / (math.prod(size) if normalize else 1)
        decibels = 10 * np.log10(scaled + 1e-7)
        for function, linear in (("power", scaled), ("magnitude", np.sqrt(scaled + 1e-7))):
            spectrum_of = getattr(transforms, f"get_{function}_spectrum")
            actual = spectrum_of(x, window, normalize=normalize).numpy()
            np.testing.assert_allclose(actual, linear, rtol=1e-7, atol=1e-12)
            actual = spectrum_of(x, window, scale="log", normalize=normalize).numpy()
            np.testing.assert_allclose(actual, decibels, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (5, 8), (8, 5)])
def test_phase_equals_the_complex_fft(size: tuple[int, int]) -> None:
    x = random_images(3, *size)
    spectrum = np.fft.fftshift(np.fft.fft2(x.numpy()), axes=(1, 2))
    expected = np.arctan(spectrum.imag / (spectrum.real + 1e-7))
    # The 1e-7 breaks the symmetry of phase by about as much.
    np.testing.assert_allclose(transforms.get_phase_spectrum(x).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(("patch_size", "size"), [(4, (8, 12)), (5, (10, 15)), (1, (2, 3)), (8, (8, 8))])
@pytest.mark.parametrize("fix_normalize", [False, True])
@pytest.mark.parametrize("spec_type", ["power", "magnitude"])
def test_patches_one_by_one(patch_size: int, size: tuple[int, int], fix_normalize: bool, spec_type: str) -> None:
    x = random_images(2, 3, *size)
    spectra = torch.empty_like(x)
    get = getattr(transforms, f"get_{spec_type}_spectrum")
    blocks = [
        (slice(None), slice(row, row + patch_size), slice(col, col + patch_size))
        for row in range(0, size[0], patch_size)
        for col in range(0, size[1], patch_size)
    ]
    for image, spectrum in zip(x, spectra):
        for block in blocks:
            spectrum[block] = get(image[block])
    for image in spectra if fix_normalize else [spectra]:
        for block in blocks if fix_normalize else [...]:
            low, high = image[block].min().clone(), image[block].max().clone()
            image[block] = (image[block] - low) / (high - low + 1e-5)
    actual = transforms.spectrum_transform(x, patch_size, fix_normalize=fix_normalize, spec_type=spec_type)
    torch.testing.assert_close(actual, spectra)


def test_log_scale_is_honoured_for_magnitudes_and_after_mean() -> None:
    x = random_images(1, 3, 8, 8)
    power = transforms.spectrum_transform(x, 4, scale="log")
    torch.testing.assert_close(transforms.spectrum_transform(x, 4, scale="log", spec_type="magnitude"), power)
    torch.testing.assert_close(transforms.spectrum_transform_after_mean(x, 4, scale="log"), power)
    full = transforms.spectrum_transform(x, 4, scale="log", spec_type="full")
    torch.testing.assert_close(full[:, :3], power)


DIFFERENTIABLE = {
    "power": lambda x: transforms.spectrum_transform(x, 4),
    "mean fix": lambda x: transforms.spectrum_transform(x, 4, reduction="mean", fix_normalize=True),
    "odd log hann": lambda x: transforms.spectrum_transform(x[..., :5, :5], 5, window="hann", scale="log"),
    "gray magnitude": lambda x: transforms.spectrum_transform(x, 4, reduction="gray", spec_type="magnitude"),
    "full": lambda x: transforms.spectrum_transform(x, 4, spec_type="full"),
    "after mean": lambda x: transforms.spectrum_transform_after_mean(x, 4, reduction="mean"),
    "reduced": lambda x: transforms.reduced_spectrum_transform(x, reduction="mean"),
    "reduced log": lambda x: transforms.reduced_spectrum_transform(x[..., :7], scale="log", fix_normalize=True),
    "rings published": lambda x: transforms.get_reduced_spectrum(x[..., :6], normalize=True),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_and_second_derivatives(name: str) -> None:
    x = random_images(1, 3, 8, 8, seed=3).requires_grad_()
    function = DIFFERENTIABLE[name]
    torch.autograd.gradcheck(function, (x,), eps=1e-6, atol=1e-4, fast_mode=True)
    torch.autograd.gradgradcheck(function, (x,), eps=1e-6, atol=1e-3, rtol=1e-2, fast_mode=True)


@pytest.mark.parametrize(
    ("image", "num_smallest"),
    [
        # The smallest power, 1, occurs at one bin that is its own reflection and at one with a twin.
        ([[2, 3, 1, 0], [1, 2, 0, 3], [0, 2, 0, 3], [3, 0, 3, 0]], 3),
        # All bins have the power 4, those of which the half spectrum has one of two among them.
        ([[0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]], 16),
    ],
)
def test_tied_extremes_share_the_gradient_as_on_the_full_map(image: list[list[int]], num_smallest: int) -> None:
    x = torch.tensor(image, dtype=torch.float64)[None, None]
    weights = torch.arange(16.0, dtype=torch.float64).reshape(4, 4)
    gradients = []
    for patchwise in (True, False):
        x = x.detach().requires_grad_()
        if patchwise:
            output = transforms.spectrum_transform(x, 4, fix_normalize=True)
        else:
            spectrum = torch.fft.fftshift(torch.fft.fft2(x), (-2, -1))
            power = spectrum.real.square() + spectrum.imag.square()
            assert (power == power.amin()).sum() == num_smallest
            output = (power - power.amin()) / (power.amax() - power.amin() + 1e-5)
        gradients.append(torch.autograd.grad((output * weights).sum(), x)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_callers_get_float32(dtype: torch.dtype) -> None:
    x = random_images(2, 3, 8, 8).to(dtype)
    for output, expected in (
        (transforms.spectrum_transform(x, 4), transforms.spectrum_transform(x.float(), 4)),
        (transforms.get_magnitude_spectrum(x[0]), transforms.get_magnitude_spectrum(x[0].float())),
        (
            transforms.reduced_spectrum_transform(x, reduction="mean"),
            transforms.reduced_spectrum_transform(x.float(), reduction="mean"),
        ),
    ):
        assert output.dtype == torch.float32
        assert torch.equal(output, expected)


def test_autocast_changes_nothing() -> None:
    x = random_images(2, 3, 8, 8).float().requires_grad_()
    outputs = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            output = transforms.spectrum_transform(x, 4, reduction="gray", window="hann", spec_type="full")
        assert output.dtype == torch.float32
        outputs.append((output, torch.autograd.grad(output.square().sum(), x)[0]))
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert torch.equal(outputs[0][1], outputs[1][1])


def test_layouts_first_made_in_inference_mode_serve_training() -> None:
    with torch.inference_mode():
        transforms.get_reduced_spectrum(torch.rand(1, 22, 18), window="hann")
        transforms.get_reduced_spectrum(torch.rand(1, 22, 19), window="hann")
    for width in (18, 19):
        x = torch.rand(1, 22, width, requires_grad=True)
        transforms.get_reduced_spectrum(x, window="hann").sum().backward()
        assert x.grad is not None


def test_batch_scaling_depends_on_the_batch_and_patch_scaling_does_not() -> None:
    x = random_images(2, 3, 8, 8) * torch.tensor([1.0, 0.1])[:, None, None, None]
    for fix_normalize in (True, False):
        together = transforms.spectrum_transform(x, 4, fix_normalize=fix_normalize)[1:]
        alone = transforms.spectrum_transform(x[1:], 4, fix_normalize=fix_normalize)
        assert torch.allclose(together, alone) == fix_normalize


def test_white_noise_rings_count_every_bin_once() -> None:
    layout = rings.frequency_rings(6, 9, torch.device("cpu"))
    assert layout.num_bins.sum() == 6 * 9
    assert (layout.num_bins > 0).all()
    assert layout.radius.diff().min() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transforms.spectrum_transform(torch.rand(1, 3, 8, 9), 4), "8x9"),
        (lambda: transforms.spectrum_transform(torch.rand(3, 8, 8), 4), r"\(3, 8, 8\)"),
        (lambda: transforms.spectrum_transform(torch.rand(1, 2, 8, 8), 4, reduction="gray"), "1 or 3 channels"),
        (lambda: transforms.spectrum_transform(torch.rand(1, 3, 8, 8), 4, reduction="sum"), "reduction.*'sum'"),
        (lambda: transforms.spectrum_transform(torch.rand(1, 3, 8, 8), 4, spec_type="phase"), "spec_type"),
        (lambda: transforms.spectrum_transform(torch.rand(1, 3, 8, 8), 4, scale="dB"), "scale"),
        (lambda: transforms.get_power_spectrum(torch.rand(3, 8, 8), window="hamming"), "window.*'hamming'"),
        (lambda: transforms.get_power_spectrum(torch.rand(3, 0, 8)), r"\(3, 0, 8\)"),
        (lambda: transforms.get_reduced_spectrum(torch.rand(3, 8, 8), nyquist="old"), "nyquist"),
        (lambda: transforms.get_power_spectrum(torch.rand(2, 4, 4) * 1j), "real images"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
