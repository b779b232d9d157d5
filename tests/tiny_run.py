"""A real training that takes seconds: a few small images and the smallest networks, as an option file."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

PROJECT = Path(__file__).parents[1]


def close_log_files(logger_name: str = "basicsr") -> None:
    """Closes a logger's files and lets it begin anew, for the next of several runs in one process."""
    logger = logging.getLogger(logger_name)
    for handler in list(logger.handlers):
        handler.close()
    logger.handlers.clear()


def write_images(folder: Path, count: int, side: int) -> None:
    """Smooth random pictures in ``HR``, and quarter-size means of them in ``LR``."""
    rng = np.random.default_rng(count)
    for name in ("HR", "LR"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        coarse = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"HR/{index:02d}.png"), image)
        cv2.imwrite(str(folder / f"LR/{index:02d}.png"), cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=3))


def write_options(root: Path, **changes: Any) -> Path:
    """Writes data and an option file under ``root``; ``changes`` replace keys of its blocks."""
    write_images(root / "data/train", 6, 48)
    write_images(root / "data/val", 3, 40)
    options: dict[str, Any] = {
        "name": "tiny",
        "model_type": "SRGANModel",
        "scale": 4,
        "num_gpu": 0,
        "manual_seed": 3,
        "datasets": {
            "train": {
                "name": "tiny_train",
                "type": "PairedImageDataset",
                "dataroot_gt": str(root / "data/train/HR"),
                "dataroot_lq": str(root / "data/train/LR"),
                "gt_size": 32,
                "use_hflip": True,
                "use_rot": True,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 1.5,
            },
            "val": {
                "name": "tiny_val",
                "type": "PairedImageDataset",
                "dataroot_gt": str(root / "data/val/HR"),
                "dataroot_lq": str(root / "data/val/LR"),
            },
        },
        "network_g": {
            "type": "MSRResNet",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 4,
            "num_block": 1,
            "upscale": 4,
        },
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4},
        "path": {},
        "train": {
            "ema_decay": 0.9,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "optim_d": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [6], "gamma": 0.5},
            "total_iter": 10,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.01},
        },
        "val": {
            "val_freq": 4,
            "save_img": True,
            "metrics": {
                "psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True},
                "ssim": {"type": "calculate_ssim", "crop_border": 4, "test_y_channel": True},
            },
        },
        "logger": {"print_freq": 2, "save_checkpoint_freq": 3, "use_tb_logger": False},
    }
    for section, values in changes.items():
        if isinstance(values, dict) and isinstance(options.get(section), dict):
            options[section].update(values)
        else:
            options[section] = values
    file = root / "tiny.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return file


def start(
    root: Path, *arguments: str, script: str = "train", command: Sequence[str] = (sys.executable,)
) -> subprocess.Popen[str]:
    """Starts ``basicsr.train`` or ``basicsr.test`` in a process of its own, with ``root`` as the project folder."""
    program = root / f"{script}_here.py"
    program.write_text(f"import sys\nfrom basicsr.{script} import main\nsys.exit(main(root_path={str(root)!r}))\n")
    return subprocess.Popen(
        [*command, str(program), *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def find_free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """This process's environment, with the project importable, few threads, and its interpreter for shell scripts."""
    paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own}
