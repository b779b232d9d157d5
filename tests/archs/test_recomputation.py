"""Activation checkpointing: the same bits, from fewer kept tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.archs.recomputation import find_blocks, recompute_blocks

SWIN = {
    "img_size": 16,
    "patch_size": 4,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 2],
    "window_size": 2,
    "drop_rate": 0.1,
    "attn_drop_rate": 0.1,
    "drop_path_rate": 0.3,
}
CHANNELS = {"num_in_ch": 3, "num_out_ch": 3}
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "RRDBNet": ({**CHANNELS, "num_feat": 6, "num_block": 2, "num_grow_ch": 4}, 2),
    "SPSRNet": ({"in_nc": 3, "out_nc": 3, "nf": 6, "nb": 4, "gc": 4}, 9),
    "MSRResNet": ({"num_feat": 6, "num_block": 3}, 3),
    "EDSR": ({**CHANNELS, "num_feat": 6, "num_block": 3}, 3),
    "RCAN": ({**CHANNELS, "num_feat": 6, "num_group": 2, "num_block": 2, "squeeze_factor": 2}, 4),
    "SwinIR": ({**SWIN, "patch_size": 1, "window_size": 4, "upscale": 2, "upsampler": "pixelshuffledirect"}, 4),
    "SwinTransformer": (SWIN, 4),
    "SpectralDiscriminator2D": (SWIN, 4),
}
"""Small options of every architecture with blocks, and how many of these they have."""


def make_pair(name: str) -> tuple[nn.Module, nn.Module]:
    """The same network twice, the second with recomputed blocks."""
    options, blocks = NETWORKS[name]
    options = {key: value for key, value in options.items() if name != "SwinIR" or key != "num_classes"}
    torch.manual_seed(0)
    plain = build_network({"type": name, **options}).train()
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == blocks
    return plain, saving


def count_kept(run: Callable[[], Any]) -> tuple[Any, int]:
    """What a forward pass gives, and the bytes that autograd keeps for its backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        return run(), sum(kept.values())


def learn(net: nn.Module, x: Tensor) -> tuple[list[Tensor], int]:
    """Outputs, gradients and the state of random draws after a forward and a backward pass, and the bytes kept."""
    torch.manual_seed(1)
    net.zero_grad()
    out, kept = count_kept(lambda: net(x))
    outputs = list(out) if isinstance(out, tuple) else [out]
    torch.stack([output.square().sum() for output in outputs]).sum().backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    return [*outputs, *gradients, torch.get_rng_state()], kept


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_random_draws_keep_every_bit_while_less_is_kept(name: str) -> None:
    plain, saving = make_pair(name)
    x = torch.rand(2, 3, 16, 16)
    (expected, whole), (found, part) = learn(plain, x), learn(saving, x)
    assert len(expected) == len(found)
    assert all(map(torch.equal, expected, found))
    assert part < whole
    assert list(plain.state_dict()) == list(saving.state_dict())


def test_without_gradients_nothing_is_recomputed() -> None:
    plain, saving = make_pair("RRDBNet")
    calls: list[int] = []
    for block in find_blocks(saving):
        next(block.children()).register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        assert torch.equal(plain(torch.ones(1, 3, 8, 8)), saving(torch.ones(1, 3, 8, 8)))
    assert len(calls) == 2
    saving(torch.ones(1, 3, 8, 8)).sum().backward()
    assert len(calls) == 2 + 2 * 2


@pytest.mark.parametrize("name", ["SwinTransformer", "SpectralDiscriminator2D", "RRDBNet"])
def test_gradients_of_gradients_keep_every_bit(name: str) -> None:
    found = []
    for net in make_pair(name):
        torch.manual_seed(2)
        x = torch.linspace(0, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16).requires_grad_()
        out = net(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        (slope.square().sum() + out.sum()).backward()
        found.append([parameter.grad for parameter in net.parameters()])
    assert all(first is second or torch.equal(first, second) for first, second in zip(*found, strict=True))
    assert sum(grad is not None and bool(grad.any()) for grad in found[0]) > 10


def test_a_copy_has_blocks_of_its_own() -> None:
    _, saving = make_pair("RRDBNet")
    copied = copy.deepcopy(saving)
    nn.init.zeros_(copied.get_parameter("body.0.rdb1.conv1.weight"))
    (first, _), (second, _) = learn(saving, torch.ones(1, 3, 8, 8)), learn(copied, torch.ones(1, 3, 8, 8))
    assert not torch.equal(first[0], second[0])
    assert recompute_blocks(copied) == 2  # a second time, nothing changes
    assert all(map(torch.equal, learn(copied, torch.ones(1, 3, 8, 8))[0], second))


def test_the_published_argument_does_the_same() -> None:
    options, blocks = NETWORKS["SwinTransformer"]
    net = build_network({"type": "SwinTransformer", **options, "use_checkpoint": True})
    assert sum("forward" in vars(block) for block in find_blocks(net)) == blocks
    assert not any("forward" in vars(block) for block in find_blocks(build_network({"type": "MSRResNet"})))


def test_networks_without_blocks_stay_as_they_are() -> None:
    assert recompute_blocks(build_network({"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4})) == 0


@pytest.mark.slow
def test_recomputed_blocks_are_traced_without_a_break() -> None:
    _, saving = make_pair("RRDBNet")
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(torch.compile(saving, backend="eager", fullgraph=True)(x), saving(x))
