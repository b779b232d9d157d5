"""Architectures told by the names and shapes of weights: the ``network_g`` block that they were trained with.

What leaves no trace in the weights, such as SwinIR's ``img_range``, has its default in the block.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from basicsr.weights.layouts import list_namings

State = Mapping[str, Tensor]
Block = dict[str, Any]


def recognise(state: State) -> Block | None:
    """The ``network_g`` block of weights in any layout that can be read; None if they are of something else."""
    for naming in list_namings(state):
        for look in _ARCHITECTURES:
            if (block := look(naming.state)) is not None:
                return block
    return None


def ask_spandrel(state: State) -> Block | None:
    """A block with the type alone, by spandrel's name, of weights that it knows; None without spandrel, too."""
    try:
        from spandrel import MAIN_REGISTRY
    except ImportError:
        return None
    known = (entry.architecture for entry in MAIN_REGISTRY.architectures("detection") if entry.detect(dict(state)))
    return next(({"type": architecture.name} for architecture in known), None)


def describe_block(block: Mapping[str, Any]) -> str:
    """A block in a line: ``SRVGGNetCompact (num_in_ch 3, num_out_ch 3, …)``."""
    sizes = ", ".join(f"{key} {value}" for key, value in block.items() if key != "type")
    return f"{block['type']} ({sizes})" if sizes else str(block["type"])


def compare_architectures(
    found: Mapping[str, Any] | None, own: Mapping[str, Any] | None, places: tuple[str, str]
) -> str:
    """How two architectures differ, as far as both are known; else empty.

    Args:
        found: A block.
        own: Another.
        places: Where they are: ``("in the file", "in the options")``.
    """
    if found is None or own is None:
        return ""
    pairs: list[tuple[str, Any, Any]]
    if found["type"] != own["type"]:
        pairs = [("it looks like", describe_block(found), describe_block(own))]
    else:
        keys = [key for key in dict.fromkeys((*found, *own)) if found.get(key) != own.get(key)]
        pairs = [(f"{key} is", found.get(key), own.get(key)) for key in keys]
    return "; ".join(f"{what} {one} {places[0]}, {other} {places[1]}" for what, one, other in pairs)


def _look_for_rrdb(state: State) -> Block | None:
    if not _has(state, "conv_first", "body.0.rdb1.conv1", "conv_up2", "conv_last"):
        return None
    num_feat, in_channels = state["conv_first.weight"].shape[:2]
    num_out = state["conv_last.weight"].shape[0]
    ups = _count(state, r"conv_up(\d+)\.") - 1
    # Smaller factors start with a pixel-unshuffle.
    scales = {num_out: 2**ups} if ups > 2 else {num_out: 4, 4 * num_out: 2, 16 * num_out: 1}
    if in_channels not in scales:
        return None
    last = {"last_kernel_size": state["conv_up3.weight"].shape[-1]} if ups > 2 else {}
    return {
        "type": "RRDBNetS" if ups > 2 else "RRDBNet",
        "num_in_ch": num_out,
        "num_out_ch": num_out,
        "scale": scales[in_channels],
        "num_feat": num_feat,
        "num_block": _count(state, r"body\.(\d+)\."),
        "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
        **last,
    }


def _look_for_swinir(state: State) -> Block | None:
    block = "layers.0.residual_group.blocks.0."
    table = state.get(block + "attn.relative_position_bias_table")
    if table is None or not _has(state, "conv_first"):
        return None
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    window = (math.isqrt(table.shape[0]) + 1) // 2
    groups = [f"layers.{group}.residual_group.blocks." for group in range(_count(state, r"layers\.(\d+)\."))]
    mask = state.get("layers.0.residual_group.blocks.1.attn_mask")
    stages = [value.shape for name, value in state.items() if re.fullmatch(r"upsample\.\d+\.weight", name)]
    if _has(state, "conv_up1"):
        upsampler, scale = "nearest+conv", 4 if _has(state, "conv_up2") else 2
    elif not stages:
        upsampler, scale = "", 1
    elif not _has(state, "conv_before_upsample.0"):
        upsampler, scale = "pixelshuffledirect", math.isqrt(stages[0][0] // in_chans)
    else:
        upsampler, scale = "pixelshuffle", math.prod(math.isqrt(shape[0] // shape[1]) for shape in stages)
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
        "patch_norm": _has(state, "patch_embed.norm"),
        "upscale": scale,
        "upsampler": upsampler,
        "resi_connection": "1conv" if _has(state, "layers.0.conv") else "3conv",
    }


def _look_for_compact(state: State) -> Block | None:
    if not _has(state, "body.0") or not all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in state):
        return None
    last = _count(state, r"body\.(\d+)\.") - 1
    num_feat, num_in = state["body.0.weight"].shape[:2]
    # One channel is added to any number of output channels; it is taken for gray.
    factor = state[f"body.{last}.weight"].shape[0] / num_in
    if state["body.0.weight"].dim() != 4 or last % 2 or math.isqrt(int(factor)) ** 2 != factor:
        return None
    return {
        "type": "SRVGGNetCompact",
        "num_in_ch": num_in,
        "num_out_ch": num_in,
        "num_feat": num_feat,
        "num_conv": last // 2 - 1,
        "upscale": math.isqrt(int(factor)),
        # `relu` and `leakyrelu` have no weights to tell them apart.
        "act_type": "prelu" if _has(state, "body.1") else "relu",
    }


def _look_for_msrresnet(state: State) -> Block | None:
    if not _has(state, "conv_first", "body.0.conv1", "upconv1", "conv_hr", "conv_last"):
        return None
    num_feat, num_in = state["conv_first.weight"].shape[:2]
    factor = math.isqrt(state["upconv1.weight"].shape[0] // num_feat)
    return {
        "type": "MSRResNet",
        "num_in_ch": num_in,
        "num_out_ch": state["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "num_block": _count(state, r"body\.(\d+)\."),
        "upscale": 4 if _has(state, "upconv2") else factor,
    }


def _look_for_residual(state: State) -> Block | None:
    """EDSR or RCAN."""
    if not _has(state, "conv_first", "conv_after_body", "upsample.0", "conv_last"):
        return None
    num_feat, num_in = state["conv_first.weight"].shape[:2]
    stages = [value.shape for name, value in state.items() if re.fullmatch(r"upsample\.\d+\.weight", name)]
    common = {
        "num_in_ch": num_in,
        "num_out_ch": state["conv_last.weight"].shape[0],
        "num_feat": num_feat,
        "upscale": math.prod(math.isqrt(shape[0] // shape[1]) for shape in stages),
    }
    blocks = _count(state, r"body\.(\d+)\.")
    if _has(state, "body.0.conv1"):
        # As in both published sizes.
        return {"type": "EDSR", **common, "num_block": blocks, "res_scale": 0.1 if num_feat >= 256 else 1.0}
    narrowed = state.get("body.0.residual_group.0.rcab.3.attention.1.weight")
    if narrowed is None:
        return None
    sizes = {"num_group": blocks, "num_block": _count(state, r"body\.0\.residual_group\.(\d+)\.")}
    return {"type": "RCAN", **common, **sizes, "squeeze_factor": num_feat // narrowed.shape[0]}


def _look_for_spsr(state: State) -> Block | None:
    if not _has(state, "model.0", "model.1.sub.0.RDB1.conv1.0", "b_fea_conv.0", "f_HR_conv1.0"):
        return None
    num_feat, num_in = state["model.0.weight"].shape[:2]
    # Upsampling by 3 is one step, as is that by 2, and leaves no other trace: 3 is seldom used.
    steps = sum(1 for name in state if re.fullmatch(r"b_module\.\d+\.weight", name)) - 2
    return {
        "type": "SPSRNet",
        "in_nc": num_in,
        "out_nc": state["f_HR_conv1.0.weight"].shape[0],
        "nf": num_feat,
        "nb": _count(state, r"model\.1\.sub\.(\d+)\.RDB"),
        "gc": state["model.1.sub.0.RDB1.conv1.0.weight"].shape[0],
        "upscale": 2**steps,
    }


_ARCHITECTURES: tuple[Callable[[State], Block | None], ...] = (
    _look_for_rrdb,
    _look_for_swinir,
    _look_for_compact,
    _look_for_msrresnet,
    _look_for_spsr,
    _look_for_residual,
)


def _has(state: State, *layers: str) -> bool:
    return all(f"{layer}.weight" in state for layer in layers)


def _count(state: State, pattern: str) -> int:
    """How many things are numbered, from 0, in the names that match a pattern."""
    return max((int(found[1]) for name in state if (found := re.match(pattern, name))), default=-1) + 1
