"""NIQE and the Fréchet distance against the golden cases and what they must do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from golden_cases import load_case
from scipy.linalg import sqrtm
from skimage import data

from basicsr.metrics import calculate_fid, calculate_metric, calculate_niqe
from basicsr.metrics.niqe import block_features, load_pristine_model


@pytest.mark.parametrize("key", ["out.niqe0", "out.niqe1"])
def test_niqe_golden(key: str) -> None:
    case = load_case("metric_niqe")
    options = {k: v for k, v in case.config["calls"][key].items() if k != "input"}
    case.check(np.float64(calculate_niqe(case.arrays["in.img"], **options)), key)


def test_niqe_prefers_the_photograph() -> None:
    photo = np.ascontiguousarray(data.astronaut()[:200, :300, ::-1])
    pristine = calculate_niqe(photo, 0)
    assert calculate_niqe(cv2.GaussianBlur(photo, (0, 0), 2), 0) > pristine
    noise = np.random.default_rng(0).normal(0, 25, photo.shape)
    assert calculate_niqe(np.clip(photo + noise, 0, 255).astype(np.uint8), 0) > pristine
    assert calculate_niqe(photo.transpose(2, 0, 1), 0, input_order="CHW") == pristine
    value = calculate_metric({"img": photo, "img2": None}, {"type": "calculate_niqe", "crop_border": 0})
    assert value == pristine


def test_generalized_gaussian_fit_recovers_laplace_and_gauss() -> None:
    rng = np.random.default_rng(1)
    for draw, shape, width in ((rng.normal, 2.0, 2**0.5), (rng.laplace, 1.0, 1.0)):
        features = block_features(draw(size=(400, 400)), 400)
        assert features.shape == (1, 18)
        assert features[0, 0] == pytest.approx(shape, rel=0.03)
        assert features[0, 1] == pytest.approx(width, rel=0.03)


def test_blocks_are_independent() -> None:
    mscn = np.random.default_rng(2).normal(size=(64, 96))
    features = block_features(mscn, 32)
    assert features.shape == (6, 18)
    np.testing.assert_allclose(features[4], block_features(mscn[32:, 32:64], 32)[0], rtol=1e-12)


def test_flat_images_have_no_niqe() -> None:
    assert np.isnan(calculate_niqe(np.full((200, 200, 3), 90, np.uint8), 0))


def test_pristine_model_is_a_distribution() -> None:
    model = load_pristine_model()
    mean, covariance = model
    assert mean.shape == (36,)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    assert load_pristine_model() is model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calculate_niqe(np.zeros((100, 191, 3), np.uint8), 0), "96x96.*100x191"),
        (lambda: calculate_niqe(np.zeros((200, 200, 3), np.uint8), 60), "96x96.*80x80"),
        (lambda: calculate_niqe(np.zeros((200, 200, 3), np.uint8), 0, convert_to="rgb"), "convert_to.*'rgb'"),
        (lambda: calculate_niqe(np.zeros((200, 200, 4), np.uint8), 0), "1 or 3 channels"),
        (lambda: calculate_niqe(np.zeros((96, 96)), 0), "two blocks"),
    ],
)
def test_niqe_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_fid_golden() -> None:
    case = load_case("metric_fid")
    inputs = (case.arrays[f"in.{name}"] for name in ("mu1", "sigma1", "mu2", "sigma2"))
    case.check(np.float64(calculate_fid(*inputs)), "out.fid")


def random_covariance(rng: np.random.Generator, size: int, rank: int) -> np.ndarray:
    factor = rng.normal(size=(size, rank))
    return factor @ factor.T


def test_fid_of_full_and_deficient_rank() -> None:
    rng = np.random.default_rng(0)
    mu1, mu2 = rng.normal(size=(2, 12))
    sigma1, sigma2 = random_covariance(rng, 12, 20), random_covariance(rng, 12, 20)
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(sigma1 + sigma2 - 2 * np.real(sqrtm(sigma1 @ sigma2)))
    assert calculate_fid(mu1, sigma1, mu2, sigma2) == pytest.approx(expected)
    assert calculate_fid(mu2, sigma2, mu1, sigma1) == pytest.approx(expected)
    low = random_covariance(rng, 12, 3)
    assert calculate_fid(mu1, low, mu1, low) == pytest.approx(0, abs=1e-6)
    assert calculate_fid(mu1, low, mu1, np.zeros((12, 12))) == pytest.approx(np.trace(low))
    assert calculate_fid(1.0, 4.0, 3.0, 9.0) == pytest.approx(4 + 1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.zeros(3), np.eye(3), np.zeros(2), np.eye(2)), r"\(3,\)"),
        ((np.zeros(2), np.eye(3), np.zeros(2), np.eye(2)), r"\(3, 3\)"),
        ((np.zeros(2), np.array([[1.0, 2], [0, 1]]), np.zeros(2), np.eye(2)), "sigma1.*symmetric"),
        ((np.zeros(2), np.eye(2), np.zeros(2), np.diag([1.0, -1.0])), "sigma2.*eigenvalue"),
        ((np.zeros(2), np.full((2, 2), np.nan), np.zeros(2), np.eye(2)), "finite"),
    ],
)
def test_fid_mistakes_are_named(inputs: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calculate_fid(*inputs)
