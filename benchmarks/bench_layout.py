"""Networks on a CPU in the order of channels last, which they have there by default, against PyTorch's usual order.

Of each architecture the forward pass alone, as in tests, and both passes, as in training, are timed in turn; what they
compute is compared first. The way of training is that of ``train.channels_last: false`` and of its default.

    python benchmarks/bench_layout.py [--threads 1] [--rounds 7] [--only RRDBNet SwinIR]
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from bench_step import compare, describe, make_clock
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.utils.batch import image_of
from basicsr.utils.placement import place

COLOURS = {"num_in_ch": 3, "num_out_ch": 3}
NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "RRDBNet": (32, {**COLOURS, "num_feat": 64, "num_block": 6}),
    "RRDBNet, 32 features": (32, {**COLOURS, "num_feat": 32, "num_block": 6, "num_grow_ch": 16}),
    "MSRResNet": (32, {}),
    "SRVGGNetCompact": (64, {"num_conv": 16}),
    "SPSRNet": (32, {"in_nc": 3, "out_nc": 3, "nf": 32, "nb": 3, "gc": 16}),
    "EDSR": (32, COLOURS),
    "RCAN": (32, {**COLOURS, "num_group": 2, "num_block": 4}),
    "ECBSR": (64, {**COLOURS, "num_block": 4, "num_channel": 16, "with_idt": False, "act_type": "prelu", "scale": 4}),
    "RIDNet": (48, {"in_channels": 3, "mid_channels": 64, "out_channels": 3}),
    "SwinIR": (
        32,
        {
            "upscale": 4,
            "img_size": 32,
            "window_size": 8,
            "depths": [2, 2],
            "embed_dim": 60,
            "num_heads": [6, 6],
            "mlp_ratio": 2,
            "upsampler": "pixelshuffle",
        },
    ),
    "UNetDiscriminatorSN": (128, {"num_in_ch": 3}),
    "VGGStyleDiscriminator": (128, {"num_in_ch": 3, "num_feat": 64, "input_size": 128}),
}


def judge(net: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        net(images)


def train(net: nn.Module, images: Tensor) -> None:
    image_of(net(images)).sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = make_clock("cpu", cpu_time=args.threads == 1)
    kind = "CPU time" if args.threads == 1 else "elapsed"
    print(f"torch {torch.__version__}, {args.threads} threads, batch {args.batch}; channels last / usual order, {kind}")
    for label in args.only:
        side, given = NETWORKS[label]
        torch.manual_seed(0)
        usual = build_network({"type": label.split(",")[0], **given})
        ordered = place(copy.deepcopy(usual), "cpu")
        images = torch.rand(args.batch, 3, side, side)
        for net in (usual, ordered):
            net.eval()
        with torch.no_grad():
            expected, made = image_of(usual(images)), image_of(ordered(images))
            torch.testing.assert_close(made, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
        found = []
        ways: tuple[Callable[[nn.Module, Tensor], None], ...] = (judge, train)
        for way in ways:
            for net in (usual, ordered):
                net.train(way is train)
                way(net, images)
            pair = {"ordered": partial(way, ordered, images), "usual": partial(way, usual, images)}
            times = compare(pair, args.rounds, clock)
            found.append(describe(times["ordered"], times["usual"]))
        print(f"{label}: forward {found[0]}; both passes {found[1]}", flush=True)


if __name__ == "__main__":
    main()
