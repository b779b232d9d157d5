"""Constructor arguments of a generator, read from the names and shapes of its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def guess_architecture(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``network_g`` block of an RRDBNet or SwinIR; None if the weights are of something else."""
    return guess_rrdb(state) or guess_swinir(state)


def guess_rrdb(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``network_g`` block of an RRDBNet; None if the weights are of something else."""
    needed = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_up2.weight", "conv_last.weight")
    if any(name not in state for name in needed) or "conv_up3.weight" in state:
        return None
    num_feat, in_channels = state["conv_first.weight"].shape[:2]
    num_out = state["conv_last.weight"].shape[0]
    # Smaller factors start with a pixel-unshuffle.
    scales = {num_out: 4, 4 * num_out: 2, 16 * num_out: 1}
    if in_channels not in scales:
        return None
    return {
        "type": "RRDBNet",
        "num_in_ch": num_out,
        "num_out_ch": num_out,
        "scale": scales[in_channels],
        "num_feat": num_feat,
        "num_block": _count(state, r"body\.(\d+)\."),
        "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
    }


def guess_swinir(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``network_g`` block of a SwinIR with ``img_range`` 1; None if the weights are of something else."""
    block = "layers.0.residual_group.blocks.0."
    table = state.get(block + "attn.relative_position_bias_table")
    if table is None or "conv_first.weight" not in state:
        return None
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    window = (math.isqrt(table.shape[0]) + 1) // 2
    groups = [f"layers.{group}.residual_group.blocks." for group in range(_count(state, r"layers\.(\d+)\."))]
    mask = state.get("layers.0.residual_group.blocks.1.attn_mask")
    upsampler, scale = _guess_upsampler(state, in_chans)
    return {
        "type": "SwinIR",
        "img_size": window * (8 if mask is None else math.isqrt(mask.shape[0])),
        "in_chans": in_chans,
        "embed_dim": embed_dim,
        "depths": [_count(state, re.escape(group) + r"(\d+)\.") for group in groups],
        "num_heads": [state[group + "0.attn.relative_position_bias_table"].shape[1] for group in groups],
        "window_size": window,
        "mlp_ratio": state[block + "mlp.fc1.weight"].shape[0] / embed_dim,
        "qkv_bias": block + "attn.qkv.bias" in state,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
        "upscale": scale,
        "upsampler": upsampler,
        "resi_connection": "1conv" if "layers.0.conv.weight" in state else "3conv",
    }


def _guess_upsampler(state: Mapping[str, Tensor], channels: int) -> tuple[str, int]:
    if "conv_up1.weight" in state:
        return "nearest+conv", 4 if "conv_up2.weight" in state else 2
    stages = [value.shape for name, value in state.items() if re.fullmatch(r"upsample\.\d+\.weight", name)]
    if not stages:
        return "", 1
    if "conv_before_upsample.0.weight" not in state:
        return "pixelshuffledirect", math.isqrt(stages[0][0] // channels)
    return "pixelshuffle", math.prod(math.isqrt(shape[0] // shape[1]) for shape in stages)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(match.group(1)) for name in state if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1
