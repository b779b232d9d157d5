"""The spectral distance metric: arrays and batches agree, and its number follows from its definition."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from basicsr.metrics import Levels, batch_spectral_distance, calculate_metric, calculate_spectral_distance
from basicsr.spectral.profiles import BAND_LIMITS


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[100:196, 150:278, ::-1])


def blur(img: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(img, (7, 7), 1.2)


def test_blur_shows_at_high_frequency(photo: np.ndarray) -> None:
    distance = {band: calculate_spectral_distance(blur(photo), photo, 4, band=band) for band in BAND_LIMITS}
    assert 0 < distance["low"] < distance["middle"]
    assert distance["high"] > 6
    assert distance["low"] < distance["all"]
    assert calculate_spectral_distance(photo, photo, 4) == 0


def test_contrast_changes_every_band_by_its_gain() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 40, (64, 48, 3)).clip(-120, 120)
    full, half = 128 + noise, 128 + noise / 2
    for band in ("low", "middle", "high"):
        distance = calculate_spectral_distance(half, full, 0, band=band)
        # Only the ring that holds the common mean, and the one the window spreads it to, differ less.
        assert distance == pytest.approx(20 * math.log10(2), rel=0.35 if band == "low" else 1e-3)


@pytest.mark.parametrize("test_y_channel", [False, True])
def test_batches_equal_arrays(photo: np.ndarray, test_y_channel: bool) -> None:
    soft = blur(photo)
    x, y = (torch.from_numpy(np.ascontiguousarray(img[..., ::-1].transpose(2, 0, 1)))[None] for img in (soft, photo))
    for band in BAND_LIMITS:
        expected = calculate_spectral_distance(soft, photo, 3, test_y_channel=test_y_channel, band=band)
        for sr, gt in ((x, y), (x / 255, y / 255)):
            batches = Levels(torch.cat([sr, gt])).batch, Levels(torch.cat([gt, gt])).batch
            value = batch_spectral_distance(*batches, 3, test_y_channel, band)
            torch.testing.assert_close(value, torch.tensor([expected, 0.0], dtype=torch.float64), rtol=1e-6, atol=1e-9)


def test_layouts_and_gray(photo: np.ndarray) -> None:
    soft = blur(photo)
    expected = calculate_spectral_distance(soft, photo, 2)
    planar = [img.transpose(2, 0, 1) for img in (soft, photo)]
    assert calculate_spectral_distance(*planar, 2, input_order="CHW") == expected
    gray = [img[..., 1] for img in (soft, photo)]
    assert calculate_spectral_distance(*gray, 2) == calculate_spectral_distance(*gray, 2, test_y_channel=False)
    value = calculate_metric({"img": soft, "img2": photo}, {"type": "calculate_spectral_distance", "crop_border": 2})
    assert value == expected


def test_mistakes_are_named(photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'ultra'"):
        calculate_spectral_distance(photo, photo, 0, band="ultra")
    with pytest.raises(ValueError, match="differ in shape"):
        calculate_spectral_distance(photo, photo[1:], 0)
    with pytest.raises(ValueError, match="cut 48 pixels"):
        calculate_spectral_distance(photo, photo, 48)
    with pytest.raises(ValueError, match="3 pixels"):
        calculate_spectral_distance(photo, photo, 47)
