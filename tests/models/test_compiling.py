"""Compiled training: whole graphs, the losses and names of the networks as they are, and what falls back."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import single_backward
from basicsr.models import compiling
from basicsr.models.compiling import compile_network
from basicsr.utils.batch import image_of
from basicsr.utils.dist_util import is_compiled
from basicsr.utils.registry import ARCH_REGISTRY

SWIN = {"embed_dim": 4, "depths": [2], "num_heads": [1], "window_size": 2, "mlp_ratio": 1}
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "RRDBNet": ({"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}, 6),
    "MSRResNet": ({"num_feat": 4, "num_block": 1}, 6),
    "SRVGGNetCompact": ({"num_feat": 4, "num_conv": 1}, 6),
    "SPSRNet": ({"in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 2}, 6),
    "SwinIR": ({**SWIN, "img_size": 8, "upscale": 4, "upsampler": "pixelshuffle"}, 8),
    "SwinTransformer": ({**SWIN, "img_size": 16, "patch_size": 4, "num_classes": 1}, 16),
    "SpectralDiscriminator2D": ({**SWIN, "img_size": 16, "patch_size": 4}, 16),
    "SpectralDiscriminator": ({"img_size": 16, "hidden_channels": [4]}, 16),
    "UNetDiscriminatorSN": ({"num_in_ch": 3, "num_feat": 2}, 16),
    "VGGStyleDiscriminator": ({"num_in_ch": 3, "num_feat": 2, "input_size": 128}, 128),
}


@pytest.fixture(autouse=True)
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are traced and differentiated as ever, but run by PyTorch's own kernels: nothing takes long."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    compiling.find_obstacle.cache_clear()
    torch.compiler.reset()


def build(name: str) -> tuple[nn.Module, Tensor]:
    options, side = NETWORKS[name]
    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)(**options)
    return net, torch.rand(2, 3, side, side)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_as_one_graph(name: str) -> None:
    net, images = build(name)
    results = []
    for one in (copy.deepcopy(net), net):
        if one is net:
            compile_network("g", one)
        seen = images.clone().requires_grad_()
        torch.manual_seed(1)
        with single_backward():
            out = image_of(one(seen))
        out.square().mean().backward()
        results.append([out, seen.grad, *(p.grad for p in one.parameters() if p.grad is not None), *one.buffers()])
    assert is_compiled(net)
    assert len(results[0]) == len(results[1])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
