"""Trains a small model for a few steps on this rank's share of fixed batches; run by ``test_data_parallel``.

Usage: ``[torchrun …] parallel_training.py MODEL_TYPE OUTPUT [MODEL_TYPE OUTPUT …]``. Rank 0 writes to OUTPUT the logs
and the networks before and after, with ``sync_mean`` and without.
"""

from __future__ import annotations

import copy
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from basicsr.adversarial import WassersteinObjective
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel

STEPS = 5
BATCH = 4
SIZE = 16

SWIN = {
    "type": "SwinTransformer",
    "img_size": SIZE,
    "patch_size": 4,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [2],
    "num_heads": [2],
    "window_size": 2,
    "mlp_ratio": 2,
    "drop_path_rate": 0.0,
}
SPECTRAL = {**SWIN, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True}
GAN = {"type": "GANLoss", "loss_weight": 1.0}


def options(model_type: str, rank: int, world_size: int, sync_mean: bool = True) -> dict[str, Any]:
    """The option mapping of one model type, at a size that trains in seconds.

    Learning rates and the adversarial weight are large, so that the networks move far beyond rounding, and as the
    critics say. (The penalised critic of spectra would diverge.)
    """
    spsr, wasserstein = model_type == "SPSRModel", "WSpec" in model_type
    sgd = {"type": "SGD", "lr": 0.003 if wasserstein else 0.1}
    generator = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 4}
    opt: dict[str, Any] = {
        "model_type": model_type,
        "scale": 4,
        "num_gpu": 0,
        "dist": world_size > 1,
        "rank": rank,
        "world_size": world_size,
        "is_train": True,
        "manual_seed": 0,
        "path": {},
        "network_g": {"type": "SPSRNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 2} if spsr else generator,
        "network_d": SWIN,
        "net_spectral_d": SPECTRAL,
        "net_grad_d": {**SWIN, "img_size": SIZE + 2, "patch_size": 9, "window_size": 2, "depths": [1]},
        "train": {
            "ema_decay": 0.9,
            "optim_g": sgd,
            "optim_d": sgd,
            "optim_spectral_d": sgd,
            "optim_grad_d": sgd,
            "scheduler": {"type": "MultiStepLR", "milestones": [1000]},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
            "gan_opt": {**GAN, "gan_type": "wgan" if wasserstein else "vanilla", "sync_mean": sync_mean},
        },
    }
    if spsr:
        opt["train"] |= {
            "pix_branch_opt": {"type": "L1Loss", "loss_weight": 0.5},
            "branch_pretrain": 1,
            "branch_init_iters": 3,
        }
    return opt


def share(batch: Tensor, rank: int, world_size: int) -> Tensor:
    return batch.chunk(world_size)[rank]


def make_gt(step: int) -> Tensor:
    """A batch from dark to bright: critics see other means in its halves than in the whole."""
    brightness = torch.linspace(0.1, 1, BATCH).view(-1, 1, 1, 1)
    return brightness * torch.rand(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(step))


def train(model_type: str, rank: int, world_size: int, sync_mean: bool) -> dict[str, Any]:
    """Runs the steps; the batches and interpolation factors are cut from the same tensors whatever the world size."""
    torch.manual_seed(0)
    model = build_model(options(model_type, rank, world_size, sync_mean))
    assert isinstance(model, SRModel)
    initial = copy.deepcopy(model.training_state()["networks"])
    draws = torch.Generator().manual_seed(1)
    if model.critics and isinstance(model.objective, WassersteinObjective):
        alphas = iter([torch.rand(BATCH, 1, 1, 1, generator=draws) for _ in range(2 * STEPS)])
        model.objective.draw_alpha = lambda *_: share(next(alphas), rank, world_size)  # type: ignore[method-assign]
    for step in range(1, STEPS + 1):
        gt = make_gt(step)
        lq = torch.nn.functional.avg_pool2d(gt, 4)
        model.begin_iteration(step)
        model.feed_data({"lq": share(lq, rank, world_size), "gt": share(gt, rank, world_size)})
        model.optimize_parameters(step)
        model.update_learning_rate(step)
    return {"initial": initial, "networks": model.training_state()["networks"], "logs": model.get_current_log()}


def main() -> None:
    torch.set_num_threads(1)
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world_size > 1:
        dist.init_process_group("gloo")
    for model_type, output in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        results = {name: train(model_type, rank, world_size, name == "synced") for name in ("synced", "local")}
        if rank == 0:
            torch.save(results, output)
    if world_size > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
