"""Published networks in tiles with the margin that was measured on them: photographs come out as whole images do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from skimage import data
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.evaluation.reach import VISIBLE, Reach, measure_reach
from basicsr.evaluation.tiling import tiled_forward
from basicsr.processing.resizer import imresize
from basicsr.utils.img_util import img2tensor
from basicsr.weights import load_weights, read_weights

pytestmark = pytest.mark.real

RGB = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64}
NETWORKS: dict[str, dict[str, Any]] = {
    "realesr-animevideov3": {"type": "SRVGGNetCompact", **RGB, "num_conv": 16, "upscale": 4, "act_type": "prelu"},
    "RealESRGAN_x4plus_anime_6B": {"type": "RRDBNet", **RGB, "num_block": 6, "num_grow_ch": 32, "scale": 4},
    # Made as real/README.md says; tested where it lies beside the others.
    "RealESRGAN_x4plus": {"type": "RRDBNet", **RGB, "num_block": 23, "num_grow_ch": 32, "scale": 4},
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, real_data: Path) -> nn.Module:
    file = real_data / "real/weights" / f"{request.param}.pth"
    if not file.is_file():
        pytest.skip(f"{file.name} is not there")
    net = build_network(NETWORKS[request.param])
    load_weights(net, read_weights(file, None, prefer="params_ema"), source=str(file))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reach(network: nn.Module) -> Reach:
    return measure_reach(network, torch.zeros(1, 3, 1, 1))


def photograph(name: str, height: int, width: int) -> Tensor:
    """The middle of a photograph at half its size, with 8 bit: (1, 3, height, width)."""
    image = imresize(img2tensor(getattr(data, name)(), bgr2rgb=False)[None] / 255, scale=0.5).clamp(0, 1)
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width].mul(255).round() / 255


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_default_margin_keeps_photographs_within_half_a_level(network: nn.Module, reach: Reach, name: str) -> None:
    assert reach.is_bounded
    lq = photograph(name, 40, 2 * reach.overlap + 20 if name != "chelsea" else 150)
    with torch.no_grad():
        whole = network(lq).clamp(0, 1)
        tiled = tiled_forward(network, lq, lq.shape[-1] // 2, reach.overlap, scale=4).clamp(0, 1)
    assert float((tiled - whole).abs().max() * 255) <= VISIBLE


def test_margins_below_the_reach_show_and_their_difference_is_known(network: nn.Module, reach: Reach) -> None:
    margin = reach.overlap // 4
    lq = photograph("coffee", 40, 80)
    with torch.no_grad():
        whole = network(lq).clamp(0, 1)
        tiled = tiled_forward(network, lq, 40, margin, scale=4).clamp(0, 1)
    found = float((tiled - whole).abs().max() * 255)
    assert VISIBLE < found <= reach.levels_at(margin)
