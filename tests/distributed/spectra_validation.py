"""Validates a small model with ``val.spectra``, shared among ranks; run by ``test_spectra_ranks``.

Usage: ``[torchrun …] spectra_validation.py FOLDER``; rank 0 writes ``spectra.jsonl`` there, every rank what it knows of
a validation by rank 0 alone, ``rank<N>.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from parallel_training import SIZE, options
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from basicsr.evaluation.dataset_images import ShardSampler
from basicsr.models import build_model


class Pairs(Dataset[dict[str, Any]]):
    opt = {"name": "Set5"}  # noqa: RUF012

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        gt = torch.rand(3, SIZE + 8, SIZE + 4 * index, generator=torch.Generator().manual_seed(index))
        return {"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 4)}


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world_size > 1:
        dist.init_process_group("gloo")
    opt = options("ESRGANSpecModel", rank, world_size)
    opt["path"] = {"experiments_root": str(folder)}
    opt["datasets"] = {"train": {"gt_size": SIZE}}
    opt["val"] = {"spectra": True, "pbar": False, "metrics": {}}
    torch.manual_seed(0)
    model = build_model(opt)
    dataset = Pairs()
    for iteration in (1, 2):
        model.validation(DataLoader(dataset, sampler=ShardSampler(dataset, rank, world_size)), iteration, None)
    opt["dist_val"] = False
    opt["val"] = {"pbar": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}}
    model = build_model(opt)
    returned = model.validation(DataLoader(dataset), 3, None)
    (folder / f"rank{rank}.json").write_text(json.dumps([returned, model.best_metric_results]))
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
