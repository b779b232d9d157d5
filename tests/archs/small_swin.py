"""The smallest Swin critic that has shifted windows, two stages and patch merging."""

from __future__ import annotations

from typing import Any

from basicsr.archs import SwinTransformer

SMALL: dict[str, Any] = {
    "img_size": 16,
    "patch_size": 2,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [2, 2],
    "window_size": 4,
    "mlp_ratio": 2,
    "drop_path_rate": 0.0,
}


def build(**options: Any) -> SwinTransformer:
    return SwinTransformer(**SMALL | options)
