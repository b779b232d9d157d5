"""A training step of DualFormer against the same step written the plain way.

The plain way is how such steps are usually written: every loss runs its own forward passes, each term has its own
backward pass, logs are read from the device in every iteration, optimizers and the average walk over parameters one by
one; elements are in PyTorch's usual order. Networks are written plainly too (``plain_networks.py``); with
``--same-networks`` they are the library's, so that the step alone is compared. Both ways start from the same weights
and see the same batches; their losses are compared before timing, and they take turns in going first.

``--floor`` measures against what no way of writing the step can leave out, on the library's networks: one forward pass
of the generator; for each critic one joint forward pass of GT and SR, one backward pass to the image (the generator's
gradient) and one to the parameters (its own); one backward pass of the generator; the optimizers' fused steps and one
multi-tensor step of the average. It has no losses, logs, random seeds, guard or scaler.

    python benchmarks/bench_step.py [--device cuda] [--gt-size 128] [--batch 16] [--blocks 23]
    python benchmarks/bench_step.py --threads 1 --cpu-time --blocks 6 [--same-networks] [--floor] [--compile all]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from plain_networks import judge_plainly, restore_plainly
from torch import Tensor

from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.seeding import choose_algorithms


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
            "compile": getattr(args, "compile", None) or False,
            "optim_g": adam,
            "optim_d": adam,
            "optim_spectral_d": adam,
            "scheduler": {"type": "MultiStepLR", "milestones": [10**6]},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 5e-3},
        },
    }


class PlainStep:
    """The same iteration, one thing at a time.

    Args:
        model: Its networks are copied.
        same_networks: Run the library's forward passes instead of plainly written ones.
    """

    def __init__(self, model: SRModel, same_networks: bool) -> None:
        nets = {name: copy.deepcopy(net) for name, net in model.networks().items()}
        for net in nets.values():
            for parameter in net.parameters():
                parameter.data = parameter.data.contiguous()
        self.g, self.critics = cast(RRDBNet, nets.pop("g")), nets
        self.ema = copy.deepcopy(self.g)
        self.restore = self.g if same_networks else partial(restore_plainly, self.g)
        self.judges: dict[str, Callable[[Tensor], Tensor]] = {
            name: net if same_networks else partial(judge_plainly, net) for name, net in nets.items()
        }
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
        sr = self.restore(lq)
        loss = logs["l_g_pix"] = 1e-2 * F.l1_loss(sr, gt)
        for name, judge in self.judges.items():
            real, fake = judge(gt).detach(), judge(sr)
            term = 0.5 * 5e-3 * (bce(real - fake.mean(), 0) + bce(fake - real.mean(), 1)) / 2
            logs[f"l_g_gan_{name}"] = term
            loss = loss + term
        loss.backward()
        self.optim_g.step()
        for name, judge in self.judges.items():
            self.critics[name].requires_grad_(True)
            self.optims[name].zero_grad()
            fake = judge(sr).detach()
            real = judge(gt)
            l_real = logs[f"l_{name}_real"] = 0.5 * bce(real - fake.mean(), 1)
            l_real.backward()
            fake = judge(sr.detach())
            l_fake = logs[f"l_{name}_fake"] = 0.5 * bce(fake - real.mean().detach(), 0)
            l_fake.backward()
            self.optims[name].step()
        for average, weight in zip(self.ema.parameters(), self.g.parameters(), strict=True):
            average.data.mul_(0.999).add_(weight.data, alpha=0.001)
        return {name: value.item() for name, value in logs.items()}


class FloorStep:
    """The passes, optimizer steps and average that no way of writing the iteration can leave out; see above."""

    def __init__(self, model: SRModel) -> None:
        nets = {name: copy.deepcopy(net) for name, net in model.networks().items()}
        self.g, self.critics = nets["g"], [net for name, net in nets.items() if name != "g"]
        self.average = list(copy.deepcopy(self.g).requires_grad_(False).parameters())
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99), fused=True) for net in nets.values()
        ]
        self.weights = [parameter.detach() for parameter in self.g.parameters()]
        self.critics_weights = [list(net.parameters()) for net in self.critics]

    def __call__(self, lq: Tensor, gt: Tensor) -> None:
        sr = self.g(lq)
        judged = sr.detach().requires_grad_()
        slope = torch.zeros_like(sr)
        for net, weights in zip(self.critics, self.critics_weights, strict=True):
            total = net(torch.cat((gt, judged))).sum()
            slope += torch.autograd.grad(total, judged, retain_graph=True)[0]
            total.backward(inputs=weights)
        sr.backward(slope)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        torch._foreach_lerp_(self.average, self.weights, 0.001)


def bce(logits: Tensor, target: int) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(target)))


def make_clock(device: str, cpu_time: bool) -> Callable[[], float]:
    """Seconds that have passed, or that this process has computed."""

    def read() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if cpu_time else time.perf_counter()

    return read


def compare(ways: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Times of both ways, one of each per round; they take turns in going first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            start = clock()
            ways[name]()
            times[name].append(clock() - start)
    return times


def describe(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Median and range of paired ratios."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return f"{statistics.median(ratios):.2f} (median of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--gt-size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2, help="steps per timed round")
    parser.add_argument("--compile", choices=("critics", "all"), help="as train.compile; absent: nothing")
    parser.add_argument("--threads", type=int, help="by default as many as PyTorch chooses")
    parser.add_argument("--cpu-time", action="store_true", help="time of the process instead of elapsed time")
    parser.add_argument("--same-networks", action="store_true", help="the plain step runs the library's networks")
    parser.add_argument("--floor", action="store_true", help="compare with the floor instead of the plain step")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    choose_algorithms(deterministic=False)
    model = build_model(options(args))
    assert isinstance(model, SRModel)
    gt = torch.rand(args.batch, 3, args.gt_size, args.gt_size, device=args.device)
    lq = F.avg_pool2d(gt, 4)
    iteration = 0

    def step() -> None:
        nonlocal iteration
        iteration += 1
        model.begin_iteration(iteration)
        model.feed_data({"lq": lq, "gt": gt})
        model.optimize_parameters(iteration)

    other = FloorStep(model) if args.floor else PlainStep(model, args.same_networks)
    expected = other(lq, gt)
    began = os.times()
    step()
    if args.compile:
        spent = sum(os.times()[:4]) - sum(began[:4])
        print(f"first step, which compiles {args.compile}: {spent:.0f} s of CPU time, the compiler's included")
    if expected is not None:
        actual = model.get_current_log()
        worst = max(abs(actual[name] - value) / max(1e-6, abs(value)) for name, value in expected.items())
        print(f"largest relative difference between the two ways' losses: {worst:.1e}")
        if worst > 1e-3:
            raise SystemExit("the two ways do not compute the same step")
    ways = {
        "this": lambda: [step() for _ in range(args.steps)],
        "other": lambda: [other(lq, gt) for _ in range(args.steps)],
    }
    times = compare(ways, args.rounds, make_clock(args.device, args.cpu_time))
    print(
        f"device {args.device}, torch {torch.__version__}, {torch.get_num_threads()} threads, batch {args.batch}, "
        f"gt {args.gt_size}, blocks {args.blocks}, features {args.features}"
    )
    kind = "CPU time" if args.cpu_time else "elapsed"
    print(f"this step: {1e3 * statistics.median(times['this']) / args.steps:.1f} ms (median, {kind})")
    name = "floor" if args.floor else "plain"
    print(f"{name} / this: {describe(times['other'], times['this'])}")
    print(f"this / {name}: {describe(times['this'], times['other'])}")


if __name__ == "__main__":
    main()
