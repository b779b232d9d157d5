"""What a value depends on, told by its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor


class Reach(Enum):
    """How the gradient of a value reaches tensors; the value of a member completes ``its gradient …``."""

    NONE = "does not reach them: it is computed without them, or detached"
    ZERO = "is zero everywhere"
    INFINITE = "is not finite"
    FULL = "reaches them"


def reach(root: Tensor, leaves: Sequence[Tensor]) -> Reach:
    """How the gradient of a tensor, of which it is the sum, reaches others; the graph is kept."""
    grads = list_gradients(root, leaves)
    known = [grad for grad in grads if grad is not None]
    if not known:
        return Reach.NONE
    if not all(grad.isfinite().all() for grad in known):
        return Reach.INFINITE
    return Reach.FULL if any(grad.any() for grad in known) else Reach.ZERO


def list_gradients(root: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradients of a tensor's sum; ``None`` for those that it does not depend on. The graph is kept."""
    if not root.requires_grad or not leaves:
        return [None] * len(leaves)
    return torch.autograd.grad(root.sum(), leaves, retain_graph=True, allow_unused=True)


def project(*outputs: Tensor) -> Tensor:
    """A random weighted sum of outputs, (): what they all depend on is unlikely to cancel in it."""
    return torch.stack([(output.float() * torch.randn_like(output.float())).sum() for output in outputs]).sum()
