from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from basicsr.analysis.band_analysis import measure_band_errors
from basicsr.analysis.generators import Generator, load_generator
from basicsr.analysis.images import Runtime
from basicsr.data import build_dataset
from basicsr.evaluation.dataset_images import enlarge
from basicsr.spectral.bands import compute_band_rmse
from basicsr.utils.errors import DataError, UserError


class Pairs:
    """Three photographs and their quarter-size versions; one pair is damaged on demand."""

    def __init__(self, damaged: int = -1) -> None:
        self.damaged = damaged
        names = ("astronaut", "chelsea", "coffee")
        self.gt = {f"{name}.png": torch.from_numpy(getattr(data, name)()[100:164, 100:180].copy()) for name in names}

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        name = list(self.gt)[index]
        if index == self.damaged:
            raise DataError(f"{name}: damaged")
        gt = self.gt[name].permute(2, 0, 1) / 255
        return {"gt": gt, "lq": gt[:, ::4, ::4], "gt_path": f"/data/{name}"}


def test_models_are_compared_on_the_same_images(tmp_path: Path):
    pairs = Pairs()
    models = [load_generator(name, scale=4) for name in ("bicubic", "lanczos")]
    errors = measure_band_errors(pairs, models, runtime=Runtime(num_workers=1))
    assert errors.rmse.shape == (2, 3, 3) and errors.images == ("astronaut.png", "chelsea.png", "coffee.png")
    sample = pairs[1]
    expected = compute_band_rmse(sample["gt"][None], enlarge(sample["lq"][None], 4, "lanczos"))
    np.testing.assert_allclose(errors.rmse[1, 1], expected[0], rtol=1e-6)
    np.testing.assert_allclose(errors.mean[0], errors.rmse[0].mean(axis=0))
    json_path, csv_path = errors.write(tmp_path / "bands", {"models": {"bicubic": models[0].origin}})
    content = json.loads(json_path.read_text())
    assert content["source"] == {"models": {"bicubic": {"kernel": "bicubic"}}}
    np.testing.assert_allclose(content["mean_rmse"]["bicubic"], errors.mean[0])
    rows = list(csv.DictReader(csv_path.open()))
    assert len(rows) == 6 and float(rows[0]["rmse_0.8-1"]) == errors.rmse[0, 0, 2]
    assert "bicubic" in errors.format() and "0.3-0.8" in errors.format()


def test_ready_results_and_identity(tmp_path: Path):
    pairs = Pairs()
    for name, image in pairs.gt.items():
        cv2.imwrite(str(tmp_path / name.replace(".png", "_x4.png")), image.numpy()[:, :, ::-1])
    ready = load_generator(f"Ready={tmp_path}")
    identity = Generator("Zero", 4, lambda lq: torch.zeros(1, 3, 64, 80))
    errors = measure_band_errors(pairs, [ready, identity], np.linspace(0, 1, 6).tolist())
    np.testing.assert_allclose(errors.rmse[0], 0, atol=1e-6)
    assert errors.rmse[1].min() > 0


def test_results_of_the_uncut_size_are_cut_like_the_ground_truth(tmp_path: Path):
    gt, ready = tmp_path / "HR", tmp_path / "SR"
    gt.mkdir()
    ready.mkdir()
    for name in ("coffee", "chelsea"):
        image = np.ascontiguousarray(getattr(data, name)()[100:167, 100:182, ::-1])
        cv2.imwrite(str(gt / f"{name}.png"), image)
        cv2.imwrite(str(ready / f"{name}.png"), image if name == "coffee" else image[:66])
    block = {"type": "PairedImageDataset", "name": "x", "phase": "test", "scale": 4, "dataroot_gt": str(gt)}
    pairs = build_dataset({**block, "io_backend": {"type": "disk"}})
    errors = measure_band_errors(pairs, [load_generator(f"R={ready}")])
    assert errors.images == ("coffee.png",)
    np.testing.assert_allclose(errors.rmse, 0, atol=1e-5)
    assert "R gave 82x66 pixels, the ground truth has 80x64" in str(errors.bad_files[0])


def test_unusable_images_are_left_out_and_named(tmp_path: Path):
    pairs = Pairs(damaged=0)
    for name, image in pairs.gt.items():
        if "coffee" not in name:
            cv2.imwrite(str(tmp_path / name), image.numpy())
    errors = measure_band_errors(pairs, [load_generator(f"R={tmp_path}"), load_generator("bicubic", scale=4)])
    assert errors.images == ("chelsea.png",)
    assert [bad.name for bad in errors.bad_files] == ["astronaut.png", "coffee.png"]
    small = Generator("small", 2, lambda lq: torch.zeros(1, 3, 32, 40))
    with pytest.raises(DataError, match="small gave 40x32 pixels, the ground truth has 80x64"):
        measure_band_errors(pairs, [small])


def test_models_need_names_of_their_own():
    bicubic = load_generator("bicubic", scale=4)
    with pytest.raises(UserError, match="LABEL=MODEL"):
        measure_band_errors(Pairs(), [bicubic, bicubic])
    with pytest.raises(UserError, match="different names"):
        measure_band_errors(Pairs(), [])
