"""Forward passes of RRDBNet and the Swin critics, written the plain way on the weights of the library's networks.

As the method's papers describe them: windows are cut out and put back around each attention, position biases are
looked up by index, logits are a matrix that gets bias and mask added and goes through softmax, spectra come from full
complex FFTs; dense blocks join the list of all features before each convolution. Linear layers, norms and convolutions
are PyTorch's own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.spectral_discriminator_arch import SpectralDiscriminator2D
from basicsr.archs.swin_blocks import SwinBlock
from basicsr.archs.swin_transformer_arch import SwinTransformer
from basicsr.archs.window_attention import WindowAttention
from basicsr.spectral.transforms import RANGE_EPS


def restore_plainly(net: RRDBNet, images: Tensor) -> Tensor:
    """RRDBNet of scale 4: (B, 3, H, W) to (B, 3, 4·H, 4·W)."""
    shallow = features = net.conv_first(images)
    for blocks in net.body:
        x = features
        for block in cast(Any, blocks):
            seen = [x]
            for conv in (block.conv1, block.conv2, block.conv3, block.conv4):
                seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
            x = block.conv5(torch.cat(seen, 1)) * 0.2 + x
        features = x * 0.2 + features
    features = shallow + net.conv_body(features)
    for conv in (net.conv_up1, net.conv_up2):
        features = F.leaky_relu(conv(F.interpolate(features, scale_factor=2, mode="nearest")), 0.2)
    return net.conv_last(F.leaky_relu(net.conv_hr(features), 0.2))


@torch.inference_mode()
def score_plainly(net: nn.Module, images: Tensor) -> Tensor:
    """The score of one image (1, 3, H, W); (1,)."""
    return judge_plainly(net, images)


def judge_plainly(net: nn.Module, images: Tensor) -> Tensor:
    """The scores (B,) of images (B, 3, H, W)."""
    if isinstance(net, SpectralDiscriminator2D):
        images, net = transform_patches(net, images), net.net
    assert isinstance(net, SwinTransformer)
    x = net.patch_embed.norm(net.patch_embed.proj(images).permute(0, 2, 3, 1))
    for stage in net.layers:
        for block in stage.blocks:
            assert isinstance(block, SwinBlock)
            x = run_block(block, x)
        x = stage[1:](x)  # patch merging, except in the last stage
    x = net.norm(x).flatten(1, 2).transpose(1, 2)
    return net.head(x.mean(2, keepdim=True)).flatten()


def run_block(block: SwinBlock, x: Tensor) -> Tensor:
    batch, height, width, dim = x.shape
    w, shift = block.window_size, block.shift_size
    y = block.norm1(x)
    if shift:
        y = torch.roll(y, (-shift, -shift), (1, 2))
    windows = y.view(batch, height // w, w, width // w, w, dim).transpose(2, 3).reshape(-1, w * w, dim)
    windows = attend(block.attn, windows, block.attn_mask)
    y = windows.view(batch, height // w, width // w, w, w, dim).transpose(2, 3).reshape(x.shape)
    if shift:
        y = torch.roll(y, (shift, shift), (1, 2))
    x = x + y
    return x + block.mlp(block.norm2(x))


def attend(layer: WindowAttention, windows: Tensor, mask: Tensor | None) -> Tensor:
    count, tokens, dim = windows.shape
    heads = layer.num_heads
    query, key, value = layer.qkv(windows).view(count, tokens, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
    logits = query * (dim // heads) ** -0.5 @ key.transpose(-2, -1)
    biases = layer.relative_position_bias_table[layer.relative_position_index.flatten()]
    logits = logits + biases.view(tokens, tokens, heads).permute(2, 0, 1).contiguous()
    if mask is not None:
        logits = logits.view(-1, len(mask), heads, tokens, tokens) + mask[:, None]
    weights = logits.view(count, heads, tokens, tokens).softmax(-1)
    return layer.proj((weights @ value).transpose(1, 2).reshape(count, tokens, dim))


def transform_patches(net: SpectralDiscriminator2D, images: Tensor) -> Tensor:
    """What a spectral critic's Transformer sees."""
    size, reduction, window, fix_normalize, spec_type, scale, after_mean = net.transform_options
    assert spec_type == "power" and scale == "linear" and window is None and not after_mean
    return transform_plainly(images, size, reduction, fix_normalize)


def transform_plainly(images: Tensor, size: int, reduction: str, fix_normalize: bool) -> Tensor:
    """Each patch's centred power spectrum, scaled to [0, 1] by its own extremes or by those of the image."""
    patches = images.unfold(2, size, size).unfold(3, size, size)
    power = torch.fft.fftshift(torch.fft.fft2(patches), dim=(-2, -1)).abs() ** 2
    if reduction == "mean":
        power = power.mean(1, keepdim=True)
    dims = (1, 4, 5) if fix_normalize else (1, 2, 3, 4, 5)
    low, high = power.amin(dims, keepdim=True), power.amax(dims, keepdim=True)
    scaled = (power - low) / (high - low + RANGE_EPS)
    return scaled.transpose(3, 4).reshape(len(images), -1, *images.shape[2:])
