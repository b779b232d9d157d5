"""``matlab: true``: Y with 8 bit, and gray files as gray, from the metric's function to the table of a data set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from basicsr.data import build_dataset
from basicsr.evaluation.results import Evaluation
from basicsr.evaluation.scoring import comes_from_gray_file
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.preparation import create_lmdb
from basicsr.processing.matlab import imresize

SHIFT = 20 * math.log10(255 / 219)
"""PSNR of gray that is measured as the Y of RGB, whose range is smaller, above that of gray itself."""

EXACT = {"crop_border": 4, "test_y_channel": True}
METRICS: dict[str, Any] = {
    "psnr": {"type": "calculate_psnr", **EXACT},
    "psnr_matlab": {"type": "calculate_psnr", "crop_border": 4, "matlab": True},
    "ssim": {"type": "calculate_ssim", **EXACT},
    "ssim_matlab": {"type": "calculate_ssim", "crop_border": 4, "matlab": True},
}


def make_image(side: int = 48) -> np.ndarray:
    """A smooth colour picture, (H, W, 3) BGR."""
    coarse = np.random.default_rng(3).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def as_gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def bicubic(image: np.ndarray, scale: int = 4) -> np.ndarray:
    """The image, (H, W[, 3]) uint8, reduced and enlarged, each with 8 bit."""

    def resize(source: np.ndarray, factor: float) -> np.ndarray:
        return np.round(imresize(source.astype(np.float32) / 255, factor).clip(0, 1) * 255).astype(np.uint8)

    return resize(resize(image, 1 / scale), scale)


def matlab_y(image: np.ndarray) -> np.ndarray:
    """Y of ``rgb2ycbcr`` for uint8, by the formula of its documentation: (H, W)."""
    blue, green, red = image.astype(np.float64).transpose(2, 0, 1)
    return np.floor(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 0.5)


def measure(dataset: Any, scale: int = 4, metrics: dict[str, Any] = METRICS) -> Evaluation:
    val = ValOptions.model_validate({"metrics": metrics, "pbar": False})
    evaluator = Evaluator(lambda batch: batch["lq"].repeat_interleave(scale, 2).repeat_interleave(scale, 3), val, scale)
    return evaluator.evaluate(DataLoader(dataset), "test", compare=True)


def data_set(root: Path, **options: Any) -> Any:
    block = {"name": "set", "type": "PairedImageDataset", "dataroot_gt": str(root), "scale": 4, "phase": "test"}
    return build_dataset({**block, **options})


def test_y_is_rounded_before_it_is_compared() -> None:
    image = make_image()
    other = bicubic(image)
    expected = calculate_psnr(matlab_y(other), matlab_y(image), 4), calculate_ssim(matlab_y(other), matlab_y(image), 4)
    found = [calculate(other, image, 4, matlab=True) for calculate in (calculate_psnr, calculate_ssim)]
    assert found == pytest.approx(expected, abs=1e-12)
    exact = [calculate(other, image, **EXACT) for calculate in (calculate_psnr, calculate_ssim)]
    assert 0 < abs(found[0] - exact[0]) < 0.2 and 0 < abs(found[1] - exact[1]) < 0.01
    # With the luma asked for too, nothing changes; a gray array is measured as it is.
    assert calculate_psnr(other, image, **EXACT, matlab=True) == found[0]
    gray, other_gray = as_gray(image), as_gray(other)
    for calculate in (calculate_psnr, calculate_ssim):
        assert calculate(other_gray, gray, 4, matlab=True) == pytest.approx(calculate(other_gray, gray, 4), abs=1e-12)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_gray_files_are_measured_as_gray(suffix: str, tmp_path: Path) -> None:
    gray = as_gray(make_image())
    cv2.imwrite(str(tmp_path / f"gray{suffix}"), gray)
    scores = measure(data_set(tmp_path)).images["gray"]["bicubic"]
    assert scores["psnr_matlab"] == pytest.approx(calculate_psnr(bicubic(gray), gray, 4), abs=1e-9)
    assert scores["ssim_matlab"] == pytest.approx(calculate_ssim(bicubic(gray), gray, 4), abs=1e-9)
    assert scores["psnr"] - scores["psnr_matlab"] == pytest.approx(SHIFT, abs=1e-4)


def test_gray_pictures_in_rgb_files_are_measured_as_y(tmp_path: Path) -> None:
    image = cv2.cvtColor(as_gray(make_image()), cv2.COLOR_GRAY2BGR)
    cv2.imwrite(str(tmp_path / "rgb.png"), image)
    scores = measure(data_set(tmp_path)).images["rgb"]["bicubic"]
    assert scores["psnr_matlab"] == pytest.approx(calculate_psnr(bicubic(image), image, 4, matlab=True), abs=1e-9)
    assert abs(scores["psnr"] - scores["psnr_matlab"]) < 0.3


def test_gray_images_in_a_database_are_gray(tmp_path: Path) -> None:
    (tmp_path / "HR").mkdir()
    cv2.imwrite(str(tmp_path / "HR/gray.png"), as_gray(make_image()))
    cv2.imwrite(str(tmp_path / "HR/rgb.png"), make_image())
    from_files = measure(data_set(tmp_path / "HR"))
    create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1)
    from_database = measure(data_set(tmp_path / "HR.lmdb", io_backend={"type": "lmdb"}))
    assert from_database.images == from_files.images


def test_colours_that_a_network_adds_are_taken_out_by_their_luma(tmp_path: Path) -> None:
    gray = as_gray(make_image())
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    made = np.clip(bicubic(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)).astype(int) + (3, 0, -3), 0, 255).astype(np.uint8)
    val = ValOptions.model_validate({"metrics": METRICS, "pbar": False})
    scores = Evaluator(lambda batch: made, val, 4).evaluate(DataLoader(data_set(tmp_path)), "test").images["gray"]
    red, green, blue = (made[..., channel].astype(np.float64) for channel in (2, 1, 0))
    luma = np.round(0.299 * red + 0.587 * green + 0.114 * blue)
    assert scores["net_g"]["psnr_matlab"] == pytest.approx(calculate_psnr(luma, gray.astype(np.float64), 4), abs=1e-9)


def test_data_sets_of_others_are_asked_for_their_files(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "gray.png"), as_gray(make_image()))
    gt = torch.rand(1, 1, 8, 8).expand(1, 3, 8, 8)
    other = Dataset()
    assert comes_from_gray_file({"gt": gt, "gt_path": [str(tmp_path / "gray.png")]}, other)
    for batch in ({"gt": gt, "gt_path": ["no file"]}, {"gt": gt}, {"lq": gt, "gt_path": ["no file"]}):
        assert not comes_from_gray_file(batch, other)
    assert not comes_from_gray_file({"gt": torch.rand(1, 3, 8, 8), "gt_path": [str(tmp_path / "gray.png")]}, other)


def test_protocols_tell_matlab_s_way_apart(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "rgb.png"), make_image())
    protocols = measure(data_set(tmp_path)).protocols
    assert "rounded to 8 bit" in protocols["psnr_matlab"] and "gray" in protocols["ssim_matlab"]
    assert "rounded" not in protocols["psnr"]


@pytest.mark.real
def test_baboon_in_colour_and_gray(real_data: Path, tmp_path: Path) -> None:
    image = cv2.imread(str(real_data / "real/baboon/baboon.png"))
    cv2.imwrite(str(tmp_path / "rgb.png"), image)
    cv2.imwrite(str(tmp_path / "gray.png"), as_gray(image))
    found = {name: methods["bicubic"] for name, methods in measure(data_set(tmp_path)).images.items()}
    y, gray = matlab_y(image), as_gray(image)
    other = matlab_y(bicubic(image))
    assert found["rgb"]["psnr_matlab"] == pytest.approx(calculate_psnr(other, y, 4), abs=1e-9)
    assert found["rgb"]["ssim_matlab"] == pytest.approx(calculate_ssim(other, y, 4), abs=1e-9)
    assert found["gray"]["psnr_matlab"] == pytest.approx(calculate_psnr(bicubic(gray), gray, 4), abs=1e-9)
    assert found["gray"]["psnr"] - found["gray"]["psnr_matlab"] == pytest.approx(SHIFT, abs=1e-4)
    # Rounding costs a little, and more where there is little contrast, as in most pictures of the classic sets.
    assert 0 < found["rgb"]["ssim"] - found["rgb"]["ssim_matlab"] < 0.002
    assert abs(found["rgb"]["psnr"] - found["rgb"]["psnr_matlab"]) < 0.02
