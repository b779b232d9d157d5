"""Training and validation on luma alone (``color: y``), as ECBSR's published files ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_run import close_log_files, write_options

from basicsr.archs.ecbsr_arch import ECBSR
from basicsr.metrics import calculate_psnr
from basicsr.train import train_pipeline
from basicsr.utils.color_util import bgr2ycbcr

ECBSR_Y: dict[str, Any] = {"num_in_ch": 1, "num_out_ch": 1, "num_block": 1, "num_channel": 4, "scale": 4}
ECBSR_Y |= {"with_idt": False, "act_type": "prelu"}


def read_luma(file: Path) -> np.ndarray:
    return bgr2ycbcr(cv2.imread(str(file)).astype(np.float32) / 255, y_only=True)


def test_ecbsr_trains_and_is_validated_on_luma(tmp_path: Path) -> None:
    file = write_options(tmp_path, model_type="SRModel")
    sets = [f"datasets:{name}:color=y" for name in ("train", "val")]
    changes = [
        "network_g=" + json.dumps({"type": "ECBSR", **ECBSR_Y}),
        "network_d=null",
        "train:gan_opt=null",
        "train:optim_d=null",
    ]
    changes += ["train:total_iter=2", "val:val_freq=2"]
    try:
        train_pipeline(tmp_path, ["-opt", str(file), "--force_yml", *sets, *changes])
    finally:
        close_log_files()
    folder = tmp_path / "experiments/tiny"
    net = ECBSR(**ECBSR_Y).eval()
    net.load_state_dict(torch.load(folder / "models/net_g_latest.pth", weights_only=True)["params_ema"])
    summary = json.loads((folder / "summary.json").read_text())
    assert sorted(summary) == ["00", "01", "02"]
    for name, methods in summary.items():
        lq, gt = (read_luma(tmp_path / f"data/val/{part}/{name}.png") for part in ("LR", "HR"))
        with torch.no_grad():
            sr = net(torch.from_numpy(lq)[None, None])[0, 0].clamp(0, 1).mul(255).round().numpy()
        expected = calculate_psnr(sr[..., None], (gt * 255).round()[..., None], crop_border=4)
        (generated,) = (values for method, values in methods.items() if method != "bicubic")
        assert generated["psnr"] == pytest.approx(expected, abs=0.01)
    pictures = list((folder / "visualization").rglob("*.png"))
    assert pictures and all(cv2.imread(str(p), cv2.IMREAD_UNCHANGED) is not None for p in pictures)
