"""Writes the weights that the default networks start from: a generator that enlarges bilinearly.

    python scripts/default_network/start.py [-o experiments/pretrained_models/default_start.safetensors]

The generator adds what it learns to the nearest-neighbour enlargement, whose blocks it must first undo. Three channels
hand the image through unchanged, and the last convolution makes the difference of the two enlargements of them. The
others are drawn as for rectifiers. From PyTorch's usual weights the same training is still behind this one's start
after its first 450 iterations.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.engine.exits import run_to_exit_code
from basicsr.weights.files import write_tensors

SCALE = 4
NETWORK = {"num_feat": 32, "num_conv": 8, "upscale": SCALE}
SLOPE = 0.25
"""Of a PReLU, as PyTorch sets it."""


def enlargement_kernels() -> Tensor:
    """What bilinear enlargement adds to the nearest-neighbour one: (16, 3, 3), from 3x3 pixels to a pixel's 4x4."""
    impulses = torch.eye(9).view(9, 1, 3, 3)
    bilinear = F.interpolate(F.pad(impulses, (1, 1, 1, 1)), scale_factor=SCALE, mode="bilinear")
    # The pixel in the middle, of 5x5, is the third.
    cells = bilinear[:, 0, 2 * SCALE : 3 * SCALE, 2 * SCALE : 3 * SCALE].reshape(3, 3, SCALE**2)
    cells[1, 1] -= 1
    return cells.permute(2, 0, 1)


@torch.no_grad()
def make_start(seed: int = 0) -> SRVGGNetCompact:
    """The generator, whose output is the bilinear enlargement but for small random detail."""
    torch.manual_seed(seed)
    net = SRVGGNetCompact(**NETWORK)
    *convs, last = (layer for layer in net.body if isinstance(layer, nn.Conv2d))
    for conv in (*convs, last):
        nn.init.kaiming_normal_(conv.weight, a=SLOPE)
        nn.init.zeros_(conv.bias)
    for conv in convs:
        conv.weight[:3] = 0
        conv.weight[range(3), range(3), 1, 1] = 1
    for layer in net.body:
        if isinstance(layer, nn.PReLU):
            layer.weight[:3] = 1
    last.weight *= 0.1
    last.weight[:, :3] = 0
    for channel in range(3):
        last.weight[channel * SCALE**2 : (channel + 1) * SCALE**2, channel] = enlargement_kernels()
    return net


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place = Path("experiments/pretrained_models/default_start.safetensors")
    parser.add_argument("-o", "--output", type=Path, default=place, help="default: %(default)s")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(make_start().state_dict(), args.output, {}, "params")
    return 0


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
