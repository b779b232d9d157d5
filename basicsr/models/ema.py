"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class EMA:
    """Keeps a frozen copy of ``net`` that follows it as ``ema = decay * ema + (1 - decay) * net``.

    Args:
        net: The network to follow (bare, not wrapped); the copy starts from its present weights.
        decay: In [0, 1); larger is slower.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Moves the average one step towards ``net``; buffers (running statistics) are copied."""
        averages: list[Tensor] = list(self.net.parameters())
        weights: list[Tensor] = [parameter.detach() for parameter in net.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - self.decay)
        for average, buffer in zip(self.net.buffers(), net.buffers(), strict=True):
            average.copy_(buffer)
