"""Small folders of crops of real photographs, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from basicsr.data.transforms import reduce_bicubic


@cache
def photograph(name: str = "chelsea") -> np.ndarray:
    """(H, W, 3) BGR uint8."""
    image = np.ascontiguousarray(getattr(data, name)()[:, :, ::-1])
    image.setflags(write=False)
    return image


def crops(count: int, height: int = 48, width: int = 64, name: str = "chelsea") -> list[np.ndarray]:
    """Different windows of one photograph."""
    image = photograph(name)
    tops = np.linspace(0, image.shape[0] - height, count).astype(int)
    lefts = np.linspace(0, image.shape[1] - width, count).astype(int)
    return [image[top : top + height, left : left + width].copy() for top, left in zip(tops, lefts)]


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def make_pairs(
    root: Path, count: int = 5, scale: int = 4, template: str = "{}", height: int = 48, width: int = 64
) -> Path:
    """``root/HR/p0.png`` … and ``root/LR/…``."""
    for number, image in enumerate(crops(count, height, width)):
        write(root / "HR" / f"p{number}.png", image)
        write(root / "LR" / f"{template.format(f'p{number}')}.png", reduce_bicubic(image, scale))
    return root


def paired_block(root: Path, **options: object) -> dict[str, object]:
    return {
        "name": "pairs",
        "type": "PairedImageDataset",
        "dataroot_gt": str(root / "HR"),
        "dataroot_lq": str(root / "LR"),
        "phase": "train",
        "scale": 4,
        "gt_size": 32,
        "use_hflip": True,
        "use_rot": True,
        "seed": 3,
        "batch_size_per_gpu": 2,
        **options,
    }
