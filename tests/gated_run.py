"""A short hard-gated training that can be killed and resumed, and the comparison of two runs bit by bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from tiny_run import write_options

from basicsr.models.stored_weights import read_stored

LAST = 24
"""Iterations of a run: enough for a signal to come in time on a busy machine."""


def read_state(root: Path, iteration: int = LAST) -> dict[str, Any]:
    """A checkpoint as its file holds it, with the weights that it names put in."""
    path = root / f"experiments/tiny/training_states/{iteration}.state"
    state = torch.load(path, weights_only=True)
    state["model"]["networks"] |= read_stored(state.get("weights", []), path)
    return without_folder(state, f"{root}{os.sep}")


def without_folder(value: Any, folder: str) -> Any:
    """The same with texts cut where they name a run's own folder, so that runs in two folders can be compared."""
    if isinstance(value, dict):
        return {key: without_folder(entry, folder) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(without_folder(entry, folder) for entry in value)
    return value.removeprefix(folder) if isinstance(value, str) else value


def assert_same_bits(first: Any, second: Any, path: str = "") -> None:
    assert type(first) is type(second), path
    if isinstance(first, dict):
        assert list(first) == list(second), path
        for key in first:
            assert_same_bits(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same_bits(*pair, f"{path}/{index}")
    elif isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype, path
        assert torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8)), path
    else:
        assert first == second, path


def prepare(root: Path) -> Path:
    """A hard-gated run: its pair pool, its noise and its crops are all part of the state."""
    return write_options(
        root,
        model_type="SRGANHardGatedDegradationModel",
        train={"total_iter": LAST},
        val={"val_freq": 8},
        gt_size=32,
        queue_size=8,
        gaussian_noise_prob=0.5,
        noise_range=[1, 30],
        poisson_scale_range=[0.05, 3],
        gray_noise_prob=0.4,
        jpeg_range=[40, 95],
        datasets={
            "train": {
                "name": "tiny_train",
                "type": "GatedDegradationDataset",
                "dataroot_gt": str(root / "data/train/HR"),
                "gt_size": 32,
                "use_hflip": True,
                "use_rot": True,
                "blur_kernel_size": 21,
                "kernel_list": ["iso", "aniso"],
                "kernel_prob": [0.5, 0.5],
                "blur_sigma": [0.2, 3],
                "betag_range": [0.5, 4],
                "betap_range": [1, 2],
                "num_worker_per_gpu": 2,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 1.5,
            }
        },
    )
