"""Tests in tiles: images stay in their own depth from the file to the file, and only tiles become floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel


def build(model_type: str = "SRModel", scale: int = 2, **val: Any) -> SRModel:
    torch.manual_seed(0)
    network = {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": scale}
    options = {"model_type": model_type, "scale": scale, "num_gpu": 0, "is_train": False, "path": {}}
    model = build_model({**options, "name": "run", "network_g": network, "val": {"pbar": False, **val}})
    assert isinstance(model, SRModel)
    return model


def write_pairs(folder: Path, scale: int, dtype: type, channels: int, side: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    for kind, length in (("lq", side), ("gt", scale * side)):
        (folder / kind).mkdir(parents=True)
        shape = (length, length, channels) if channels > 1 else (length, length)
        image = generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        assert cv2.imwrite(str(folder / kind / "a.png"), image)
    roots = {f"dataroot_{kind}": str(folder / kind) for kind in ("lq", "gt")}
    block = {"name": "set", "type": "PairedImageDataset", "phase": "test", "scale": scale, **roots}
    return {**block, "io_backend": {"type": "disk"}}


def loader_of(block: dict[str, Any], **more: Any) -> Any:
    return build_dataloader(build_dataset(block), {**block, **more}, num_gpu=0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint16, 3)])
def test_images_in_their_own_depth_give_the_numbers_of_floats(
    dtype: type, channels: int, workers: int, tmp_path: Path
) -> None:
    block = write_pairs(tmp_path, 2, dtype, channels, side=24)
    metrics = {
        "psnr": {"type": "calculate_psnr", "crop_border": 2},
        "ssim": {"type": "calculate_ssim", "crop_border": 2},
    }
    model = build(tile=16, tile_overlap=4, metrics=metrics)
    evaluator = model.evaluator()
    assert evaluator.keeps_depth
    loader, seen = loader_of(block, num_worker_per_gpu=workers), []
    predict = evaluator.predict
    evaluator.predict = lambda batch: seen.append((batch["lq"].dtype, batch["gt"].dtype)) or predict(batch)  # type: ignore
    results = [evaluator.evaluate(loader, 1, compare=True, pictures=tmp_path / "kept")]
    evaluator.keeps_depth = False
    results.append(evaluator.evaluate(loader, 1, compare=True, pictures=tmp_path / "floats"))
    own = torch.uint8 if dtype is np.uint8 else torch.uint16
    assert seen == [(own, own), (torch.float32, torch.float32)]
    assert results[0].images == results[1].images and results[0].images["a"].keys() == {"bicubic", "net_g"}
    pictures = [cv2.imread(str(tmp_path / kind / "a_comparison.png")) for kind in ("kept", "floats")]
    assert np.array_equal(*pictures)
    assert loader.dataset[0]["lq"].dtype == torch.float32  # who asks next gets floats again


def test_own_values_and_own_feeding_get_floats(tmp_path: Path) -> None:
    block = write_pairs(tmp_path, 2, np.uint8, 3, side=24)
    for values in ({"mean": [0.5, 0.5, 0.5]}, {"std": [0.5, 0.5, 0.5]}, {"color": "y"}):
        dataset = build_dataset({**block, **values})
        dataset.keeps_depth = True
        assert dataset[0]["lq"].dtype == torch.float32

    class Own(SRModel):
        def feed_data(self, data: Any) -> None:
            super().feed_data(data)

    assert not Own({**build(tile=16).opt}).evaluator().keeps_depth
    assert not build().evaluator().keeps_depth


class _Largest(TorchDispatchMode):
    """Elements of the largest tensor of floats that operators make."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                self.count = max(self.count, leaf.numel())
        return made


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_no_tensor_of_floats_has_the_size_of_a_picture(scale: int, tmp_path: Path) -> None:
    block = write_pairs(tmp_path, scale, np.uint8, 3, side=600)
    model = build(scale=scale, tile=32, tile_overlap=4, suffix="x")
    evaluator = model.evaluator()
    evaluator.folder = tmp_path
    with _Largest() as largest:
        evaluator.evaluate(loader_of(block), 1, save_img=True)
    picture = cv2.imread(str(tmp_path / "set/a_x.png"))
    assert picture.shape == (scale * 600, scale * 600, 3)
    assert 3 * (scale * 32) ** 2 < largest.count < 3 * 600**2
