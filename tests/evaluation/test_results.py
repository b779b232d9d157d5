"""Tables, JSON and pictures at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from basicsr.evaluation import pictures
from basicsr.evaluation.dataset_images import MeasuredImage, enlarge
from basicsr.evaluation.figures import save_figure
from basicsr.evaluation.pictures import draw_image, find_window
from basicsr.evaluation.results import Evaluation, describe, describe_means
from basicsr.metrics import Levels
from basicsr.processing.matlab import imresize


def make_evaluation(dataset: str, count: int = 2) -> Evaluation:
    images = {f"img{i}": {"bicubic": {"psnr": 20.0 + i}, "net_g": {"psnr": 25.0 + i}} for i in range(count)}
    return Evaluation(dataset, images, {"psnr": "PSNR in dB, whole image"})


def test_tables_have_means_and_protocols() -> None:
    lines = describe(make_evaluation("Set5", 30), max_rows=10).splitlines()
    assert len(lines) == 1 + 2 + 10 + 2 + 1 + 1
    assert lines[13].split() == ["mean", "bicubic", "34.5"]
    assert lines[14].split() == ["mean", "net_g", "39.5"]
    assert "25 more images" in lines[15]
    assert lines[16] == "psnr: PSNR in dB, whole image"
    table = describe_means([make_evaluation("Set5"), make_evaluation("B100", 3)]).splitlines()
    assert table[3].split() == ["Set5", "bicubic", "2", "20.5"]
    assert table[6].split() == ["B100", "net_g", "3", "26"]


def test_window_is_where_images_differ_most() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    other = image.copy()
    other[30:34, 50:54] = 200
    rows, columns = find_window(image, other, 16)
    assert rows.start <= 30
    assert rows.stop >= 34
    assert columns.start <= 50
    assert columns.stop >= 54
    assert find_window(image[:10, :12], other[:10, :12], 16) == (slice(0, 10), slice(0, 12))


def test_pictures_are_drawn_of_images_with_ground_truth(tmp_path: Path) -> None:
    lq = torch.rand(1, 3, 10, 14, generator=torch.Generator().manual_seed(0))
    sr, gt = torch.full((1, 3, 40, 56), 90 / 255), torch.full((1, 3, 40, 56), 120 / 255)
    scores = {"net_g": {"psnr": 12.345}}
    files = []
    for name in ("cats/a", "b"):
        image = MeasuredImage(0, name, lq, sr, gt, {"net_g": Levels(sr)}, Levels(gt), scores)
        files.append(draw_image(image, tmp_path, 4))
    assert files == [tmp_path / "cats/a_comparison.png", tmp_path / "b_comparison.png"]
    without_gt = MeasuredImage(0, "c", lq, sr, None, {"net_g": Levels(sr)}, None, scores)
    other_size = MeasuredImage(0, "d", lq, sr, gt, {"net_g": Levels(sr[..., 1:])}, Levels(gt), scores)
    assert [draw_image(image, tmp_path, 4) for image in (without_gt, other_size)] == [None, None]
    height, width = cv2.imread(str(files[0])).shape[:2]
    assert width > 4 * 56
    assert height > 40


def test_panels_show_pixels_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []

    def save(figure: Figure, *args: Any, **options: Any) -> list[Path]:
        captions.extend(axes.get_title() for axes in figure.axes)
        return save_figure(figure, *args, **options)

    monkeypatch.setattr(pictures, "save_figure", save)
    lq = torch.tensor([[0.0, 1.0]]).repeat(1, 3, 1, 1)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 16)
    scores = {"net_g": {"psnr": 31.23456, "ssim": 0.9, "lpips": 0.1}}
    image = MeasuredImage(0, "p", lq, red, torch.zeros_like(red), {"net_g": Levels(red)}, Levels(red * 0), scores)
    drawn = cv2.imread(str(draw_image(image, tmp_path, 8)))
    assert captions == ["LQ\n", "bicubic\n", "net_g\npsnr 31.23  ssim 0.9", "GT\n"]
    assert (drawn == (0, 0, 255)).all(axis=2).sum() > 100
    # Black and white pixels of LQ are enlarged without a ramp between them.
    row = drawn[-10, : drawn.shape[1] // 4, 0]
    assert np.flatnonzero(np.diff(row[row.argmin() :].astype(int))).size == 1


def test_bicubic_is_matlab_like() -> None:
    lq = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    enlarged = enlarge(lq, 3)
    assert enlarged.shape == (1, 3, 27, 21)
    np.testing.assert_allclose(
        enlarged[0].numpy().transpose(1, 2, 0), imresize(lq[0].numpy().transpose(1, 2, 0), 3).clip(0, 1), atol=1e-6
    )
