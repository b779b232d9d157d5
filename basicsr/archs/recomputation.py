"""Activation checkpointing: blocks keep their inputs alone, and compute the rest again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from basicsr.archs.arch_util import double_backward


def find_blocks(net: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a network, outermost first found: instances of ``block_types``.

    A network, or one inside it, names the classes of its blocks in this attribute; others have no blocks.
    """
    kinds = tuple({kind for part in net.modules() for kind in getattr(part, "block_types", ())})
    return list(_search(net, kinds)) if kinds else []


def _search(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, kinds):
            yield child
        else:
            yield from _search(child, kinds)


def recompute_blocks(net: nn.Module, is_on: bool = True) -> int:
    """Has every block of a network drop what it computes in between, wherever gradients are recorded.

    Losses and gradients keep every bit: random numbers are drawn again from the state that they were drawn from, and
    precision and attention kernels are those of the first pass. Gradients of gradients work, too. Names in the state
    dict stay as they are, and a deep copy has blocks of its own that do the same.

    Args:
        net: The network.
        is_on: ``False`` undoes it.

    Returns:
        How many blocks there are; each costs a second forward pass in every backward pass.
    """
    blocks = find_blocks(net)
    for block in blocks:
        vars(block).pop("forward", None)
        if is_on:
            vars(block)["forward"] = partial(_run, block.forward)
    return len(blocks)


def _run(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    # Within `double_backward` the second pass, which comes after that has ended, needs the same kernels.
    is_plain = not torch.compiler.is_compiling() and not torch.backends.cuda.flash_sdp_enabled()
    run = partial(_run_plain, forward) if is_plain else forward
    return checkpoint(run, *args, use_reentrant=False, **kwargs)


def _run_plain(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with double_backward():
        return forward(*args, **kwargs)
