"""The registry of metrics: directions, protocols, option checks."""

from __future__ import annotations

import inspect
from types import MappingProxyType

import numpy as np
import pytest
import torch

from basicsr.metrics import (
    Levels,
    Metric,
    calculate_metric,
    calculate_psnr,
    calculate_ssim,
)
from basicsr.utils.errors import UserError
from basicsr.utils.img_util import img2tensor
from basicsr.utils.registry import METRIC_REGISTRY

DIRECTIONS = {
    "calculate_psnr": "higher",
    "calculate_psnr_pt": "higher",
    "calculate_ssim": "higher",
    "calculate_ssim_pt": "higher",
    "calculate_lpips": "lower",
    "calculate_niqe": "lower",
    "calculate_spectral_distance": "lower",
}
PSNR = MappingProxyType({"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True, "better": "higher"})


def random_images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (24, 20, 3), np.uint8) for _ in range(count)]


def levels_of(*images: np.ndarray) -> Levels:
    """BGR arrays as an RGB batch."""
    return Levels(torch.stack([img2tensor(image, float32=False) for image in images]))


def test_every_metric_describes_itself() -> None:
    for name, direction in DIRECTIONS.items():
        function = METRIC_REGISTRY.get(name)
        assert Metric({"type": name}).better == function.better == direction
        assert function.higher_is_better == (direction == "higher")
        assert function.needs_reference == (name != "calculate_niqe")
        assert function.needs_reference == ("img2" in inspect.signature(function).parameters)
        line = Metric({"type": name, "crop_border": 4}).protocol
        assert "\n" not in line and "4 px" in line and "8-bit" in line
        assert "no border" in Metric({"type": name, "crop_border": 0}).protocol


def test_protocols_tell_options_apart() -> None:
    assert "BT.601 Y" in Metric(PSNR).protocol
    assert "RGB" in Metric({**PSNR, "test_y_channel": False}).protocol
    distance = {"type": "calculate_spectral_distance", "crop_border": 0}
    assert "all frequencies" in Metric(distance).protocol
    assert "0.8 to 1" in Metric({**distance, "band": "high"}).protocol
    assert "alexnet" in Metric({"type": "calculate_lpips"}).protocol
    assert "vgg16" in Metric({"type": "calculate_lpips", "net_type": "vgg"}).protocol
    assert "gray" in Metric({"type": "calculate_niqe", "crop_border": 0, "convert_to": "gray"}).protocol


def test_calculate_metric_leaves_its_arguments_alone() -> None:
    a, b = random_images(2)
    pair = MappingProxyType({"img": a, "img2": b})
    assert calculate_metric(pair, PSNR) == calculate_psnr(a, b, 4, test_y_channel=True)
    assert Metric(PSNR).options == {"crop_border": 4, "test_y_channel": True}


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({"crop_border": 4}, "needs the key 'type'.*calculate_psnr"),
        ({"type": "calculate_psrn", "crop_border": 4}, "did you mean calculate_psnr"),
        ({"type": "calculate_psnr", "crop_boarder": 4}, "crop_boarder.*did you mean crop_border"),
        ({"type": "calculate_psnr", "zzz": 4}, "known: crop_border, input_order, matlab, test_y_channel"),
        ({"type": "calculate_psnr", "img2": 4}, "no option 'img2'"),
    ],
)
def test_wrong_blocks_are_named(opt: dict[str, object], message: str) -> None:
    a, b = random_images(2)
    with pytest.raises(UserError, match=message):
        calculate_metric({"img": a, "img2": b}, opt)


def test_missing_reference_is_named() -> None:
    with pytest.raises(ValueError, match="calculate_psnr compares"):
        calculate_metric({"img": random_images(1)[0]}, PSNR)
    with pytest.raises(ValueError, match="reference"):
        Metric(PSNR).measure(levels_of(random_images(1)[0]))


def test_metrics_of_others_get_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def calculate_brightness(img: np.ndarray, **kwargs: object) -> float:
        return float(img.mean())

    monkeypatch.setitem(METRIC_REGISTRY._entries, "calculate_brightness", calculate_brightness)
    opt = {"type": "calculate_brightness", "anything": 1}
    metric = Metric(opt)
    assert (metric.better, metric.needs_reference) == ("higher", False)
    assert Metric({**opt, "better": "lower"}).better == "lower"
    assert calculate_metric({"img": np.full((2, 2), 3.0), "img2": np.zeros((2, 2))}, opt) == 3
    assert "calculate_brightness" in Metric(opt).protocol


def test_batches_are_arrays_once_and_only_for_metrics_on_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def calculate_difference(img: np.ndarray, img2: np.ndarray, crop_border: int, gain: float = 1.0) -> float:
        seen.extend((img, img2))
        return gain * float(np.abs(img.astype(int) - img2)[crop_border:].mean())

    monkeypatch.setitem(METRIC_REGISTRY._entries, "calculate_difference", calculate_difference)
    a, b, c = random_images(3)
    sr, gt = levels_of(a, b), levels_of(b, c)
    values = Metric({"type": "calculate_ssim", "crop_border": 4, "input_order": "HWC"}).measure(sr, gt)
    assert values.tolist() == pytest.approx([calculate_ssim(a, b, 4), calculate_ssim(b, c, 4)], rel=1e-12)
    assert "arrays" not in vars(sr)
    metric = Metric({"type": "calculate_difference", "crop_border": 4, "gain": 2})
    values = metric.measure(sr, gt)
    assert values.tolist() == [calculate_difference(a, b, 4, 2), calculate_difference(b, c, 4, 2)]
    assert metric.measure(sr, gt).dtype == torch.float64
    for image, expected in zip(seen, (a, b, b, c)):
        np.testing.assert_array_equal(image, expected)
    assert seen[0] is seen[8] and seen[3] is seen[11]
