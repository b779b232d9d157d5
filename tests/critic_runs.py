"""A run's folder with small random critics in the published format, for tests of scoring and robustness."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from basicsr.archs import build_network

QUIET = ["--num_workers", "0", "--device", "cpu"]
"""Flags that keep a command in one process on the CPU."""

OPTIONS = {
    "name": "dual",
    "scale": 4,
    "gt_size": 32,
    "network_d": {
        "type": "SwinTransformer",
        "img_size": 32,
        "patch_size": 4,
        "num_classes": 1,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "mlp_ratio": 2,
        "window_size": 4,
        "fused_window_process": True,
        "in_chans": 3,
    },
    "net_spectral_d": {
        "type": "SpectralDiscriminator2D",
        "version": "swin",
        "img_size": 32,
        "patch_size": 8,
        "num_classes": 1,
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "mlp_ratio": 2,
        "window_size": 2,
        "reduction": "mean",
    },
}


def save_experiment(folder: Path, options: dict | None = None) -> Path:
    """Writes a run's folder: option file and random weights of its critics."""
    options = OPTIONS if options is None else options
    (folder / "models").mkdir(parents=True)
    (folder / "train.yml").write_text(yaml.safe_dump(options))
    for index, (block, name) in enumerate((("network_d", "net_d"), ("net_spectral_d", "net_spectral_d"))):
        if block in options:
            torch.manual_seed(index)
            net = build_network(options[block])
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            torch.save({"params": net.state_dict()}, folder / "models" / f"{name}.pth")
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Judged:
    """A critic that is a function of images."""

    score: Callable[[torch.Tensor], torch.Tensor]
    identity: str

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.score(images)
