"""Published option files: each validates as it is, and trains or tests; shrunk only by overrides."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision

from basicsr.archs import build_network
from basicsr.options.load import load_file
from basicsr.options.validate import validate_options
from basicsr.test import test_pipeline as run_test
from basicsr.train import train_pipeline as run_training

ROOT = Path(os.environ.get("BASICSR_REAL_DATA", "/nowhere")) / "options"
FILES = sorted(ROOT.rglob("*.yml"))
SIZES = {"train": (144, 144), "val": (108, 204)}
"""Height and width of the pictures; NIQE needs two blocks of 96x96 pixels."""
SMALL: dict[str, dict[str, Any]] = {
    "ECBSR": {"num_block": 1, "num_channel": 4},
    "EDSR": {"num_feat": 4, "num_block": 1},
    "MSRResNet": {"num_feat": 4, "num_block": 1},
    "RCAN": {"num_feat": 4, "num_group": 1, "num_block": 1, "squeeze_factor": 2},
    "RRDBNet": {"num_feat": 4, "num_block": 1, "num_grow_ch": 2},
    "SwinIR": {"embed_dim": 8, "depths": [2], "num_heads": [2], "img_size": 8, "window_size": 4},
    "UNetDiscriminatorSN": {"num_feat": 2},
    "VGGStyleDiscriminator": {"num_feat": 2},
}

pytestmark = pytest.mark.real
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture to train on, one to test on, their reductions, and a weights file in torchvision's format."""
    folder = tmp_path_factory.mktemp("materials")
    for part, (height, width) in SIZES.items():
        coarse = np.random.default_rng(0).integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        for scale in (1, 2, 3, 4):
            (folder / part / str(scale)).mkdir(parents=True)
            reduced = cv2.resize(image, (width // scale, height // scale), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / part / str(scale) / "0001.png"), reduced)
    torch.manual_seed(0)
    torch.save(torchvision.models.vgg19(num_classes=1).features.state_dict(prefix="features."), folder / "vgg19.pth")
    return folder


def shrink(values: dict[str, Any], materials: Path) -> dict[str, Any]:
    """Overrides for a small network, data that is there, two iterations and the CPU."""
    changes: dict[str, Any] = {"num_gpu": 0, "name": "tiny"}
    # This critic exists for two sizes of images only.
    size = 128 if (values.get("network_d") or {}).get("type") == "VGGStyleDiscriminator" else 24
    for name, block in values["datasets"].items():
        folder, scale = materials / ("train" if name == "train" else "val"), values["scale"]
        here = {"io_backend": {"type": "disk"}, "meta_info": None, "meta_info_file": None, "filename_tmpl": "{}"}
        here |= {"dataroot_gt": str(folder / "1"), "dataroot_lq": str(folder / str(scale))}
        if name == "train":
            here |= {"gt_size": size, "batch_size_per_gpu": 2, "num_worker_per_gpu": 0, "dataset_enlarge_ratio": 4}
        changes |= {f"datasets:{name}:{key}": value for key, value in here.items() if key in block}
    for key in ("network_g", "network_d"):
        small = SMALL[values[key]["type"]] if key in values else {}
        changes |= {f"{key}:{name}": value for name, value in small.items()}
    changes |= {key: value for key, value in {"gt_size": size, "queue_size": 4}.items() if key in values}
    changes |= {f"path:{key}": None for key in values["path"] if key.startswith("pretrain_network")}
    if "train" in values:
        changes |= {"train:total_iter": 2, "logger:use_tb_logger": False}
        changes |= {"val:val_freq": 2} if "val" in values else {}
        if "perceptual_opt" in values["train"]:
            changes["train:perceptual_opt:pretrained_path"] = str(materials / "vgg19.pth")
    return changes


def test_the_folder_holds_option_files(real_data: Path) -> None:
    assert len(list((real_data / "options").rglob("*.yml"))) == len(FILES) >= 44


@every_file
def test_a_published_file_has_no_mistake(file: Path) -> None:
    _, found = validate_options(load_file(file), is_train="train" in file.parts, with_files=False)
    assert not [str(problem) for problem in found.problems]
    # What is noted has no effect in BasicSR either: it saves pictures by val.save_img, and pairs are never degraded.
    assert {notice.path for notice in found.notices} <= {"save_img", "high_order_degradation"}


@every_file
def test_a_published_file_runs(file: Path, materials: Path, tmp_path: Path) -> None:
    values = load_file(file).data
    changes = shrink(values, materials)
    is_train = "train" in values
    if not is_train:
        network = values["network_g"] | SMALL[values["network_g"]["type"]]
        weights = build_network(network).state_dict()
        torch.save({"params": weights, "params_ema": weights}, tmp_path / "weights.pth")
        changes["path:pretrain_network_g"] = str(tmp_path / "weights.pth")
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    (run_training if is_train else run_test)(tmp_path, ["-opt", str(file), "--force_yml", *overrides])

    if is_train:
        folder = tmp_path / "experiments" / "tiny"
        assert (folder / "training_states" / "2.state").is_file()
        metrics = json.loads((folder / "summary.json").read_text()) if "val" in values else {}
    else:
        metrics = json.loads((tmp_path / "results" / "tiny" / "metrics.json").read_text())
    assert bool(metrics) == bool((values.get("val") or {}).get("metrics") or not is_train)
    assert "NaN" not in json.dumps(metrics)
