"""Where a network lies: its device, and the order in which memory holds the weights of its convolutions."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from basicsr.utils.registry import is_own

Net = TypeVar("Net", bound=nn.Module)

_FAMILIAR = ("torch", "torchvision", "torchmetrics")


def place(net: Net, device: torch.device | str, channels_last: bool | None = None) -> Net:
    """Moves a network to a device, and puts its weights in the order that suits convolutions there.

    Channels last makes convolutions on a CPU faster, by 6 to 25% (``benchmarks/bench_layout.py``): images follow the
    weights. Values, shapes, names and files stay; sums are rounded in another order.

    Args:
        net: The network, which is changed.
        device: Where it goes.
        channels_last: Whether elements get this order; ``None``: on a CPU, if the code is familiar, as code of other
            people may look at images by ``view``, which depends on the order.

    Returns:
        The network.
    """
    net = net.to(device)
    if channels_last is None:
        suits = torch.device(device).type == "cpu" and torch.backends.mkldnn.is_available()
        channels_last = suits and is_familiar(net)
    if channels_last:
        order_channels_last(net)
    return net


@torch.no_grad()
def order_channels_last(net: nn.Module) -> None:
    """Puts the elements of four-dimensional parameters in the order of channels last; values and shapes stay."""
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def is_familiar(net: nn.Module) -> bool:
    """Whether the classes of all of a network's modules are this package's, or those of PyTorch and its companions."""
    kinds = set(map(type, net.modules()))
    return all(is_own(kind) or kind.__module__.split(".")[0] in _FAMILIAR for kind in kinds)
