"""Folders of small runs, as trainings and tests leave them, without running any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

PSNR = "PSNR in dB, BT.601 Y of 8-bit images, 4 px cropped off each border"
SIDE, SCALE = 48, 4
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True},
    "dist": {"type": "calculate_spectral_distance", "crop_border": 4, "better": "lower"},
}

LOG = """2026-01-01 10:00:00,000 INFO: Training: 6 images
2026-01-01 10:00:01,000 INFO: [tiny..][epoch:  0, iter:       2, lr:(1.000e-03,1.000e-04,)] [eta: 1 day, 0:00:01, \
time (data): 0.100 (0.010)] l_pix: 2.0000e-01 out_d_real: 1.5000e-01
2026-01-01 10:00:02,000 INFO: [tiny..][epoch:  0, iter:   1,004, lr:(1.000e-03,1.000e-04,)] l_pix: nan out_d_real: 0.5
2026-01-01 10:00:02,000 INFO: Validation set, iteration 1,004
  # psnr: 24.5000 (4 of 5)  best: 24.5000 at iteration 1,004
  # dist: 9.2500
  # accuracy of critic d: 55.0% on real, 44.0% on generated images
2026-01-01 10:00:03,000 INFO: # psnr: 99.0
"""


def write_test(
    root: Path,
    name: str,
    values: Mapping[str, float | None],
    protocol: str = PSNR,
    digests: Mapping[str, str] | None = None,
    baseline: bool = True,
    **options: Any,
) -> Path:
    """``results/<name>`` with PSNR by image, and twice as good distances."""
    folder = root / "results" / name
    folder.mkdir(parents=True)
    images = {}
    for image, value in values.items():
        scores = {"psnr": value, "dist": None if value is None else 40 - value}
        images[image] = {"bicubic": {"psnr": 20.0, "dist": 20.0}, "net_g": scores} if baseline else {"net_g": scores}
    entry = {"num_images": len(images), "protocols": {"psnr": protocol, "dist": "distance"}, "mean": {}}
    entry |= {"images": images, "gt_digests": digests or {}}
    (folder / "metrics.json").write_text(json.dumps({"set": entry}))
    (folder / "test.yml").write_text(yaml.safe_dump(make_options(root, name, "test_1") | options))
    return folder


def make_options(root: Path, name: str, key: str) -> dict[str, Any]:
    """Options of a run on the images of :func:`write_pairs`."""
    block = {"name": "set", "type": "PairedImageDataset", "dataroot_gt": "data/HR", "dataroot_lq": "data/LR"}
    return {"name": name, "scale": SCALE, "datasets": {key: block}, "val": {"metrics": METRICS}}


def write_pairs(root: Path, names: list[str], side: int = SIDE) -> dict[str, np.ndarray]:
    """Smooth random pictures in ``data/HR``, a quarter of their size in ``data/LR``."""
    rng = np.random.default_rng(0)
    pictures = {}
    for name in names:
        for kind in ("HR", "LR"):
            (root / "data" / kind).mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        pictures[name] = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"data/HR/{name}.png"), pictures[name])
        small = cv2.resize(pictures[name], (side // SCALE,) * 2, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / f"data/LR/{name}.png"), small)
    return pictures


def save_generated(folder: Path, name: str, image: str, picture: np.ndarray) -> None:
    """A picture of a test."""
    file = folder / "visualization/set" / f"{image}_{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), picture)


def write_training(root: Path, name: str = "trained", log: str = LOG) -> Path:
    """``experiments/<name>`` with a log and spectra, as of a training that was stopped."""
    folder = root / "experiments" / name
    folder.mkdir(parents=True)
    (folder / f"train_{name}_20260101_100000.log").write_text(log)
    (folder / "train.yml").write_text(yaml.safe_dump(make_options(root, name, "val")))
    entry = {"iteration": 1004, "dataset": "set", "distance_db": 9.25, "frequency": [0.25, 0.75]}
    entry |= {"critics": {"d": {"accuracy_real": 0.55, "accuracy_generated": 0.44, "images": 3}}}
    entry |= {"generated_db": [1.0, -2.0], "gt_db": [1.5, 0.5]}
    (folder / "spectra.jsonl").write_text(json.dumps(entry) + '\n{"iteration": 2\n')
    return folder
