"""Windows, second derivatives, stochastic depth and dependence on the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_cases import load_case
from small_swin import SMALL, build
from torch import Tensor, nn

from basicsr.archs import SpectralDiscriminator, SpectralDiscriminator2D, build_network
from basicsr.archs import window_attention as windows
from basicsr.archs.arch_util import double_backward, single_backward
from basicsr.archs.swin_blocks import BlockStack, SwinBlock


class PlainAttention(nn.Module):
    """Window attention written out: partition, look up biases by index, softmax, reverse."""

    def __init__(self, attention: windows.WindowAttention) -> None:
        super().__init__()
        self.inner = attention

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        net, (batch, height, width, dim) = self.inner, x.shape
        w, heads = net.window_size, net.num_heads
        tokens = x.view(batch, height // w, w, width // w, w, dim).transpose(2, 3).reshape(-1, w * w, dim)
        q, k, v = net.qkv(tokens).view(-1, w * w, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        bias = net.relative_position_bias_table[net.relative_position_index].permute(2, 0, 1)
        logits = q @ k.transpose(-2, -1) * (dim // heads) ** -0.5 + bias
        if mask is not None:
            logits = logits + mask.repeat(batch, 1, 1)[:, None]
        out = net.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(-1, w * w, dim))
        return out.view(batch, height // w, width // w, w, w, dim).transpose(2, 3).reshape(x.shape)


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("chunk", [65_000, 5])
def test_attention_equals_the_written_out_form(monkeypatch: pytest.MonkeyPatch, shift: int, chunk: int) -> None:
    monkeypatch.setitem(windows._MAX_GRID, "cpu", chunk)
    attention = windows.WindowAttention(8, 3, 2)
    nn.init.normal_(attention.relative_position_bias_table)
    x = torch.randn(2, 6, 9, 8)
    mask = windows.build_shift_mask(6, 9, 3, shift) if shift else None
    torch.testing.assert_close(attention(x, mask), PlainAttention(attention)(x, mask), rtol=1e-4, atol=1e-5)


def test_shift_mask_separates_what_the_roll_brought_together() -> None:
    size, w, shift = 8, 4, 2
    mask = windows.build_shift_mask(size, size, w, shift)
    assert mask.shape == (4, 16, 16)
    position = torch.arange(size * size).view(size, size)
    rolled = torch.roll(position, (-shift, -shift), (0, 1))
    for window in range(4):
        rows, cols = slice((window // 2) * w, (window // 2 + 1) * w), slice((window % 2) * w, (window % 2 + 1) * w)
        token = rolled[rows, cols].flatten()
        row, col = token // size, token % size
        near = ((row[:, None] - row[None, :]).abs() < w) & ((col[:, None] - col[None, :]).abs() < w)
        assert torch.equal(mask[window] == 0, near)


def test_window_that_covers_the_map_shrinks_and_is_not_shifted() -> None:
    net = build(window_size=8)
    assert [block.window_size for stage in net.layers for block in stage.blocks] == [8, 8, 4]
    assert all(block.shift_size == 0 for stage in net.layers for block in stage.blocks)
    assert not any(name.endswith("attn_mask") for name in net.state_dict())
    assert build(window_size=4).layers[0].blocks[1].attn_mask.shape == (4, 16, 16)


# --- second derivatives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss_gp2_swin", "loss_gp2_spectral", "loss_gp_unet"])
def test_gradient_penalty_and_its_gradients_are_golden(name: str) -> None:
    case = load_case(name)
    net = build_network(case.config["network"])
    net.load_state_dict(case.state_dict("param.d/"))
    alpha = case.tensor("in.alpha")
    x = (alpha * case.tensor("in.real") + (1 - alpha) * case.tensor("in.fake")).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    if name == "loss_gp_unet":
        value = ((gradient.square().sum(1) + 1e-5).sqrt() - 1).square().mean()
    else:
        value = 10 * ((gradient.flatten(1).square().sum(1) + 1e-5).sqrt() - 1).square().mean()
    case.check(value, "out.value")
    value.backward()
    for key, parameter in net.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        case.check(found, f"out.grad.{key}")


def test_second_derivatives_of_attention_are_right() -> None:
    attention = windows.WindowAttention(4, 2, 2).double()
    mask = windows.build_shift_mask(4, 4, 2, 1).double() / 50
    table = attention.relative_position_bias_table.detach().clone().requires_grad_()

    def attend(x: Tensor, table: Tensor) -> Tensor:
        with double_backward():
            return torch.func.functional_call(attention, {"relative_position_bias_table": table}, (x, mask))

    x = torch.randn(1, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attend, (x, table))
    assert torch.autograd.gradgradcheck(attend, (x, table))


@pytest.mark.parametrize("make", [build, lambda: SpectralDiscriminator2D(**SMALL)])
def test_frozen_networks_are_twice_differentiable_on_request(make: Any) -> None:
    net = make().requires_grad_(False)
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    with double_backward():
        y = net(x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert torch.isfinite(second).all() and second.abs().sum() > 0


def test_fused_kernels_are_used_where_one_derivative_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[bool] = []
    attend = F.scaled_dot_product_attention

    def spy(*args: Any, **kwargs: Any) -> Tensor:
        allowed.append(torch.backends.cuda.flash_sdp_enabled() or torch.backends.cuda.mem_efficient_sdp_enabled())
        return attend(*args, **kwargs)

    monkeypatch.setattr(windows.F, "scaled_dot_product_attention", spy)
    net = build()

    def run(image_needs_gradient: bool) -> bool:
        allowed.clear()
        net(torch.rand(1, 3, 16, 16, requires_grad=image_needs_gradient))
        assert len(set(allowed)) == 1
        return allowed[0]

    assert run(image_needs_gradient=False)
    assert not run(image_needs_gradient=True)
    with single_backward():
        assert run(image_needs_gradient=True)
    assert not run(image_needs_gradient=True)
    net.requires_grad_(False)
    assert run(image_needs_gradient=True)


# --- stochastic depth -------------------------------------------------------------------------------------------------


def test_stochastic_depth_follows_the_seed() -> None:
    net, x = build(drop_path_rate=0.5).train(), torch.rand(8, 3, 16, 16)

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return net(x)

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert torch.equal(net.eval()(x), net(x))


def test_rates_grow_linearly_over_all_blocks() -> None:
    net = build(depths=[3, 2], drop_path_rate=0.2)
    rates = [block.drop_path for stage in net.layers for block in stage.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_stochastic_depth_drops_whole_residuals_of_a_sample_and_keeps_their_mean() -> None:
    blocks = [SwinBlock(4, (2, 2), 2, False, rate, windows.DEFAULTS) for rate in (0.0, 0.125, 0.25)]
    stack = BlockStack(blocks).train()
    x, seen = torch.rand(1, 2, 2, 4).expand(4000, -1, -1, -1), []
    for block in blocks:
        block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[2]))
    with torch.no_grad():
        stack(x)
    assert all(keep.shape == (2, 4000, 1, 1, 1) for keep in seen)
    assert seen[0].unique().tolist() == [1]
    for kept in seen[2]:
        assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
        assert kept.mean() == pytest.approx(1, abs=0.05)
    # Attention and MLP, samples and blocks are dropped independently of each other.
    assert torch.corrcoef(seen[2].flatten(1))[0, 1].abs() < 0.05
    with torch.no_grad():
        dropped = SwinBlock(4, (2, 2), 2, False, 0.25, windows.DEFAULTS)(x[:1], keep=torch.zeros(2, 1, 1, 1, 1))
    assert torch.equal(dropped, x[:1])


def test_joined_position_biases_are_those_of_each_attention() -> None:
    layers = [windows.WindowAttention(8, 4, heads) for heads in (2, 4)]
    joined = windows.join_position_biases(layers)
    for layer, bias in zip(layers, joined, strict=True):
        assert bias is not None
        expected = layer.relative_position_bias()
        assert torch.equal(bias, expected)
        slope = torch.randn_like(expected)
        table = layer.relative_position_bias_table
        found, known = (torch.autograd.grad(b, table, slope, retain_graph=True)[0] for b in (bias, expected))
        torch.testing.assert_close(found, known)
    with torch.no_grad():
        assert windows.join_position_biases(layers) == [None, None]
    assert windows.join_position_biases([windows.WindowAttention(4, 9, 2)]) == [None]


def test_checkpointing_gives_the_same_gradients() -> None:
    x, gradients = torch.rand(2, 3, 16, 16), []
    plain = build(drop_path_rate=0.3).train()
    saving = build(drop_path_rate=0.3, use_checkpoint=True).train()
    saving.load_state_dict(plain.state_dict())
    for net in (plain, saving):
        torch.manual_seed(5)
        net(x).sum().backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    for first, second in zip(*gradients):
        torch.testing.assert_close(first, second)


# --- dependence on the batch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fix_normalize", [False, True])
def test_score_depends_on_the_batch_only_where_documented(fix_normalize: bool) -> None:
    net = SpectralDiscriminator2D(**SMALL, fix_normalize=fix_normalize, scale="log").eval()
    nn.init.normal_(net.net.head.weight)
    x = torch.rand(2, 3, 16, 16) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    same = torch.allclose(net(x)[1], net(x[1:])[0], rtol=1e-4, atol=1e-6)
    assert same == fix_normalize


@pytest.mark.parametrize("reduction", ["none", "mean", "gray"])
@pytest.mark.parametrize("spec_type", ["power", "magnitude", "full"])
@pytest.mark.parametrize("after_mean", [False, True])
def test_transformer_takes_as_many_channels_as_the_transform_makes(
    reduction: str, spec_type: str, after_mean: bool
) -> None:
    options = {"reduction": reduction, "spec_type": spec_type, "after_mean": after_mean}
    net = SpectralDiscriminator2D(**SMALL | {"depths": [1], "num_heads": [2]}, **options).eval()
    assert net.transform(torch.rand(1, 3, 16, 16)).shape[1] == net.net.patch_embed.proj.in_channels
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 1, 1)


@pytest.mark.parametrize("size", [(16, 16), (15, 17), (9, 30)])
def test_number_of_rings_is_that_of_the_transform(size: tuple[int, int]) -> None:
    net = SpectralDiscriminator(img_size=size)
    assert net.transform(torch.rand(1, 3, *size)).shape[1] == net.net[0].in_features


def test_bfloat16_images_give_float32_spectra() -> None:
    net = SpectralDiscriminator2D(**SMALL).eval()
    x = torch.rand(1, 3, 16, 16).bfloat16()
    assert net.transform(x).dtype == torch.float32
    assert torch.isfinite(net(x)).all()
