"""What spectral critics see of images, forward and backward: this package's, and one written plainly.

The plain way takes the complex FFT of every patch, shifts it, squares its magnitude and scales the whole map. Values
and gradients are compared first; pairs alternate in which goes first.

    python benchmarks/bench_spectrum.py [--device cuda] [--threads 1] [--batch 16] [--side 128] [--patch-size 32]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from bench_step import compare, describe, make_clock
from plain_networks import transform_plainly
from torch import Tensor

from basicsr.spectral.transforms import spectrum_transform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=128, help="of the images in pixels")
    parser.add_argument("--patch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=21)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images = torch.rand(args.batch, 3, args.side, args.side, device=args.device, requires_grad=True)
    slope = torch.rand_like(images)

    def passes(transform: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        made = transform(images)
        return made, torch.autograd.grad(made, images, slope)[0]

    def plain(x: Tensor) -> Tensor:
        return transform_plainly(x, args.patch_size, "none", True)

    def ours(x: Tensor) -> Tensor:
        return spectrum_transform(x, args.patch_size, fix_normalize=True)

    for made, expected in zip(passes(ours), passes(plain), strict=True):
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-4 * float(expected.detach().abs().max()))
    ways = {"this": lambda: passes(ours), "plain": lambda: passes(plain)}
    times = compare(ways, args.rounds, make_clock(args.device, cpu_time=args.device == "cpu" and args.threads == 1))
    print(f"device {args.device}, torch {torch.__version__}, {args.threads} threads, {tuple(images.shape)}")
    print(f"patches of {args.patch_size}: this / plain: {describe(times['this'], times['plain'])}")


if __name__ == "__main__":
    main()
