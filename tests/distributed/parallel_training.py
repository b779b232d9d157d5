"""Trains a small model for a few steps on this rank's share of fixed batches; run by ``test_data_parallel``.

Usage: ``[torchrun …] parallel_training.py MODEL_TYPE OUTPUT``; rank 0 writes its networks to OUTPUT.
"""

from __future__ import annotations

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
SGD = {"type": "SGD", "lr": 0.001}
GAN = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1, "sync_mean": True}


def options(model_type: str, rank: int, world_size: int) -> dict[str, Any]:
    """The option mapping of one model type, at a size that trains in seconds."""
    spsr = model_type == "SPSRModel"
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
            "optim_g": SGD,
            "optim_d": SGD,
            "optim_spectral_d": SGD,
            "optim_grad_d": SGD,
            "scheduler": {"type": "MultiStepLR", "milestones": [1000]},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
            "gan_opt": {**GAN, "gan_type": "wgan" if "WSpec" in model_type else "vanilla"},
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


def train(model_type: str, rank: int, world_size: int) -> SRModel:
    """Runs the steps; the batches and interpolation factors are cut from the same tensors whatever the world size."""
    torch.manual_seed(0)
    model = build_model(options(model_type, rank, world_size))
    assert isinstance(model, SRModel)
    draws = torch.Generator().manual_seed(1)
    if model.critics and isinstance(model.objective, WassersteinObjective):
        alphas = iter([torch.rand(BATCH, 1, 1, 1, generator=draws) for _ in range(2 * STEPS)])
        model.objective.draw_alpha = lambda *_: share(next(alphas), rank, world_size)  # type: ignore[method-assign]
    for step in range(1, STEPS + 1):
        gt = torch.rand(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(step))
        lq = torch.nn.functional.avg_pool2d(gt, 4)
        model.begin_iteration(step)
        model.feed_data({"lq": share(lq, rank, world_size), "gt": share(gt, rank, world_size)})
        model.optimize_parameters(step)
        model.update_learning_rate(step)
    return model


def main() -> None:
    model_type, output = sys.argv[1:3]
    torch.set_num_threads(1)
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world_size > 1:
        dist.init_process_group("gloo")
    model = train(model_type, rank, world_size)
    logs = model.get_current_log()
    if rank == 0:
        torch.save({"networks": model.training_state()["networks"], "logs": logs}, output)
    if world_size > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
