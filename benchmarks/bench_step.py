"""A training step of DualFormer against the same step written the plain way.

The plain way is how such steps are usually written: every loss runs its own forward passes, each term has its own
backward pass, logs are read from the device in every iteration, optimizers and the average walk over parameters one by
one. Both ways start from the same weights and see the same batches; their losses are compared before timing. Times are
those of the process on a CPU, of the clock on a GPU.

    python benchmarks/bench_step.py [--device cuda] [--gt-size 128] [--batch 16] [--blocks 23] [--compile critics]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.models import build_model
from basicsr.models.sr_model import SRModel


def options(args: argparse.Namespace) -> dict[str, Any]:
    swin = {
        "type": "SwinTransformer",
        "img_size": args.gt_size,
        "patch_size": 32,
        "num_classes": 1,
        "embed_dim": 96,
        "depths": [8, 2],
        "num_heads": [3, 6],
        "mlp_ratio": 4,
        "window_size": args.gt_size // 32,
        "drop_path_rate": 0.0,
    }
    adam = {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99]}
    return {
        "model_type": "ESRGANSpecModel",
        "scale": 4,
        "num_gpu": 0 if args.device == "cpu" else 1,
        "is_train": True,
        "path": {},
        "network_g": {
            "type": "RRDBNet",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": args.features,
            "num_block": args.blocks,
            "num_grow_ch": args.features // 2,
        },
        "network_d": swin,
        "net_spectral_d": {**swin, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True},
        "train": {
            "ema_decay": 0.999,
            "compile": args.compile or False,
            "optim_g": adam,
            "optim_d": adam,
            "optim_spectral_d": adam,
            "scheduler": {"type": "MultiStepLR", "milestones": [10**6]},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 5e-3},
        },
    }


class PlainStep:
    """The same iteration, one thing at a time."""

    def __init__(self, model: SRModel) -> None:
        nets = {name: copy.deepcopy(net) for name, net in model.networks().items()}
        self.g, self.critics = nets.pop("g"), nets
        self.ema = copy.deepcopy(self.g)
        self.optim_g = torch.optim.Adam(self.g.parameters(), lr=1e-4, betas=(0.9, 0.99), foreach=False)
        self.optims = {
            name: torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99), foreach=False)
            for name, net in self.critics.items()
        }

    def __call__(self, lq: Tensor, gt: Tensor) -> dict[str, float]:
        logs: dict[str, Tensor] = {}
        for net in self.critics.values():
            net.requires_grad_(False)
        self.optim_g.zero_grad()
        sr = self.g(lq)
        loss = logs["l_g_pix"] = 1e-2 * F.l1_loss(sr, gt)
        for name, net in self.critics.items():
            real, fake = net(gt).detach(), net(sr)
            term = 0.5 * 5e-3 * (bce(real - fake.mean(), 0) + bce(fake - real.mean(), 1)) / 2
            logs[f"l_g_gan_{name}"] = term
            loss = loss + term
        loss.backward()
        self.optim_g.step()
        for name, net in self.critics.items():
            net.requires_grad_(True)
            self.optims[name].zero_grad()
            fake = net(sr).detach()
            real = net(gt)
            l_real = logs[f"l_{name}_real"] = 0.5 * bce(real - fake.mean(), 1)
            l_real.backward()
            fake = net(sr.detach())
            l_fake = logs[f"l_{name}_fake"] = 0.5 * bce(fake - real.mean().detach(), 0)
            l_fake.backward()
            self.optims[name].step()
        for average, weight in zip(self.ema.parameters(), self.g.parameters(), strict=True):
            average.data.mul_(0.999).add_(weight.data, alpha=0.001)
        return {name: value.item() for name, value in logs.items()}


def bce(logits: Tensor, target: int) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(target)))


def seconds(run: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--gt-size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2, help="steps per timed round")
    parser.add_argument("--compile", choices=("critics", "all"), help="as train.compile; absent: nothing")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = build_model(options(args))
    assert isinstance(model, SRModel)
    plain = PlainStep(model)
    gt = torch.rand(args.batch, 3, args.gt_size, args.gt_size, device=args.device)
    lq = F.avg_pool2d(gt, 4)
    iteration = 0

    def ours() -> None:
        nonlocal iteration
        for _ in range(args.steps):
            iteration += 1
            model.begin_iteration(iteration)
            model.feed_data({"lq": lq, "gt": gt})
            model.optimize_parameters(iteration)

    expected = plain(lq, gt)
    began = os.times()
    model.begin_iteration(0)
    model.feed_data({"lq": lq, "gt": gt})
    model.optimize_parameters(0 + 1)
    if args.compile:
        spent = sum(os.times()[:4]) - sum(began[:4])
        print(f"first step, which compiles {args.compile}: {spent:.0f} s of CPU time, the compiler's included")
    actual = model.get_current_log()
    worst = max(abs(actual[name] - value) / max(1e-6, abs(value)) for name, value in expected.items())
    print(f"largest relative difference between the two ways' losses: {worst:.1e}")
    if worst > 1e-3:
        raise SystemExit("the two ways do not compute the same step")
    ratios, times = [], []
    for _ in range(args.rounds):
        ours_s = seconds(ours, args.device)
        plain_s = seconds(lambda: [plain(lq, gt) for _ in range(args.steps)], args.device)
        ratios.append(plain_s / ours_s)
        times.append(ours_s / args.steps)
    print(
        f"device {args.device}, torch {torch.__version__}, batch {args.batch}, gt {args.gt_size}, blocks {args.blocks}"
    )
    print(f"this step: {1e3 * statistics.median(times):.1f} ms (median)")
    print(
        f"plain / this: {statistics.median(ratios):.2f} (median of {args.rounds}, "
        f"{min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
