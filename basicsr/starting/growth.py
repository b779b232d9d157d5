"""The shipped network as the start of another size or scale, which makes the same pictures before it has learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils.errors import ArgumentError

SCALE = 4
"""Of the shipped networks."""


@torch.no_grad()
def grow_compact(
    state: Mapping[str, Tensor], num_feat: int, num_conv: int, scale: int = SCALE, seed: int = 0
) -> dict[str, Tensor]:
    """A wider, deeper SRVGGNetCompact of the same function (Chen, Goodfellow and Shlens, "Net2Net", ICLR 2016).

    The first channels are those of the smaller network, and read nothing of the others, which begin at random. Added
    layers hand these channels on as they are. At scale 2 the output is the ×4 network's, averaged over 2×2 pixels.

    Args:
        state: The smaller network, ×4, with PReLU.
        num_feat: Width, at least that of the smaller network.
        num_conv: Convolutions between the first and the last, at least as many as it has.
        scale: 2 or 4.
        seed: Of the new channels.

    Returns:
        The state of ``SRVGGNetCompact(num_feat=num_feat, num_conv=num_conv, upscale=scale)``.

    Raises:
        ArgumentError: If the new network would be smaller, or of another scale.
    """
    width, old_last = state["body.0.weight"].shape[0], max(int(name.split(".")[1]) for name in state)
    if num_feat < width or num_conv < old_last // 2 - 1:
        raise ArgumentError("num_feat", f"cannot grow {width}x{old_last // 2 - 1} to {num_feat}x{num_conv}")
    if scale not in (2, SCALE):
        raise ArgumentError("scale", f"scale must be 2 or {SCALE}, got {scale}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grown = SRVGGNetCompact(num_feat=num_feat, num_conv=num_conv, upscale=scale).state_dict()
    last = 2 * (num_conv + 1)
    # The stack: convolutions stand at even places, rectifiers at odd ones.
    for place in range(0, last, 2):
        weight, bias = grown[f"body.{place}.weight"], grown[f"body.{place}.bias"]
        weight[:width], bias[:width] = 0, 0
        if place < old_last:
            old = state[f"body.{place}.weight"]
            weight[:width, : old.shape[1]], bias[:width] = old, state[f"body.{place}.bias"]
            grown[f"body.{place + 1}.weight"][:width] = state[f"body.{place + 1}.weight"]
        else:
            weight[range(width), range(width), 1, 1] = 1
            grown[f"body.{place + 1}.weight"][:width] = 1
    # The last convolution makes the sub-pixels.
    weight, bias = (_reduce_cells(state[f"body.{old_last}.{name}"], scale) for name in ("weight", "bias"))
    grown[f"body.{last}.weight"].zero_()[:, :width] = weight
    grown[f"body.{last}.bias"].copy_(bias)
    return grown


def _reduce_cells(cells: Tensor, scale: int) -> Tensor:
    """From what makes a pixel's 4×4 sub-pixels, (3 · 4², …), to what makes means of them, (3 · scale², …)."""
    means = cells.view(-1, scale, SCALE // scale, scale, SCALE // scale, *cells.shape[1:]).mean((2, 4))
    return means.reshape(-1, *cells.shape[1:])
