"""What attention adds to its logits is made once within ``keep_biases``, and never outlives it."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.window_attention import WindowAttention, keep_biases

SWIN = {"type": "SwinTransformer", "patch_size": 2, "num_classes": 1, "embed_dim": 8, "window_size": 4}


@pytest.fixture
def net() -> torch.nn.Module:
    """A network whose second block is shifted, with position tables that matter."""
    torch.manual_seed(0)
    net = build_network({**SWIN, "img_size": 16, "depths": [2], "num_heads": [2]}).eval()
    for module in net.modules():
        if isinstance(module, WindowAttention):
            torch.nn.init.normal_(module.relative_position_bias_table)
    return net


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each bias that is made."""
    calls: list[int] = []
    make = WindowAttention.relative_position_bias

    def counted(self: WindowAttention) -> torch.Tensor:
        calls.append(1)
        return make(self)

    monkeypatch.setattr(WindowAttention, "relative_position_bias", counted)
    return calls


def test_biases_are_made_once_and_results_are_the_same_bits(net: torch.nn.Module, made: list[int]) -> None:
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected = net(images)
        made.clear()
        with keep_biases(net):
            torch.testing.assert_close(net(images), expected, rtol=0, atol=0)
            with keep_biases(net):
                torch.testing.assert_close(net(images), expected, rtol=0, atol=0)
            torch.testing.assert_close(net(images), expected, rtol=0, atol=0)
    assert len(made) == 2


def test_nothing_outlives_the_block() -> None:
    attention = WindowAttention(8, 2, 2).eval()
    torch.nn.init.normal_(attention.relative_position_bias_table)
    torch.nn.init.normal_(attention.qkv.weight)
    x = torch.randn(1, 4, 4, 8)
    with torch.inference_mode(), pytest.raises(KeyError), keep_biases(attention):
        before = attention(x)
        raise KeyError
    # A write that leaves no trace in the parameter's version.
    attention.relative_position_bias_table.data.mul_(-3)
    with torch.no_grad():
        after = attention(x)
        assert (after - before).abs().max() > 0.01
        with keep_biases(attention):
            torch.testing.assert_close(attention(x), after, rtol=0, atol=0)


def test_gradients_reach_the_tables_within_the_block(net: torch.nn.Module) -> None:
    images = torch.rand(1, 3, 16, 16)
    with keep_biases(net):
        with torch.no_grad():
            net(images)
        net(images).sum().backward()
    for module in net.modules():
        if isinstance(module, WindowAttention):
            assert module.relative_position_bias_table.grad is not None
            assert module.relative_position_bias_table.grad.abs().sum() > 0


def test_masks_and_types_are_told_apart() -> None:
    attention = WindowAttention(8, 2, 2).eval()
    torch.nn.init.normal_(attention.relative_position_bias_table)
    x = torch.randn(1, 4, 4, 8)
    masks = [None, torch.randn(4, 4, 4), torch.randn(4, 4, 4)]
    with torch.no_grad():
        expected = [attention(x, mask) for mask in masks]
        with keep_biases(attention):
            for mask, result in [*zip(masks, expected), *zip(masks, expected)]:
                torch.testing.assert_close(attention(x, mask), result, rtol=0, atol=0)
            doubled = attention.double()(x.double(), masks[1])
    assert doubled.dtype == torch.float64
