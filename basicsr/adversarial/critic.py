"""A critic: a view of the image, a network that judges it, its optimizer and its weight in the generator's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from basicsr.utils.dist_util import bare
from basicsr.utils.fields import Section, Weight
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import ARCH_REGISTRY, OPTIMIZER_REGISTRY, SCHEDULER_REGISTRY, VIEW_REGISTRY


class CriticOptions(Section):
    """One entry of ``critics``: a discriminator, what it looks at, how it is trained and how much it counts."""

    network: Annotated[Part, PartOf(ARCH_REGISTRY)] | None = None
    """The discriminator; required."""
    view: Annotated[Part, PartOf(VIEW_REGISTRY)] | None = None
    """What it looks at instead of the image: a map that is made of the image."""
    optimizer: Annotated[Part, PartOf(OPTIMIZER_REGISTRY, ("params",))] | None = None
    """Its optimizer; required for training."""
    scheduler: Annotated[Part, PartOf(SCHEDULER_REGISTRY, ("optimizer",))] | None = None
    """Its learning-rate schedule; absent: `train.scheduler`."""
    weight: Weight = 1.0
    """Its weight in the generator's loss; see the objective for how weights combine."""
    pretrained: str | None = None
    """Weights to start from."""
    strict_load: bool = True
    """Whether names and shapes of these weights must all fit."""
    param_key: str | None = None
    """`params` or `params_ema` in the weights file."""


@dataclass(eq=False)
class Critic:
    """One discriminator as an objective sees it.

    Attributes:
        name: ``d`` (spatial), ``spectral_d`` or ``grad_d``; log keys are made from it (``l_{name}_real`` …).
        net: Network from (B, C, H, W) to logits of any shape that starts with B; bare or DistributedDataParallel.
        weight: Factor of this critic's term in the generator's loss.
        view: What the network looks at, as a function of the image batch; ``None`` for the image itself. (The
            patch-wise spectrum is part of the spectral discriminators, which take images.)
        optimizer: Steps ``net``; ``None`` for a critic that only scores.
        is_only: Whether there is no other critic.
    """

    name: str
    net: nn.Module
    weight: float = 1.0
    view: Callable[[Tensor], Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None
    is_only: bool = False
    _frozen: bool = field(default=False, init=False)
    _real_logits: Tensor | None = field(default=None, init=False)

    @cached_property
    def changes_with_forward(self) -> bool:
        """Whether a forward pass in training mode changes the network (batch statistics, power iterations)."""
        return any(
            isinstance(part, (_BatchNorm, _SpectralNorm, SpectralNorm))
            for module in self.net.modules()
            for part in (module, *module._forward_pre_hooks.values())
        )

    @property
    def bare_net(self) -> nn.Module:
        """The network without its DistributedDataParallel wrapper."""
        return bare(self.net)

    def __call__(self, images: Tensor) -> Tensor:
        """Judges images (B, C, H, W); returns float32 logits (B, n), whatever shape the network gives them."""
        return self._judge(self.net if torch.is_grad_enabled() and not self._frozen else self.bare_net, images)

    def judge_unwrapped(self, images: Tensor) -> Tensor:
        """As a call, but past any wrapper: for gradients with respect to the images (gradient penalty)."""
        return self._judge(self.bare_net, images)

    def _judge(self, net: nn.Module, images: Tensor) -> Tensor:
        seen = images if self.view is None else self.view(images)
        return net(seen).flatten(1).float()

    def judge_real(self, real: Tensor) -> Tensor:
        """Judges the batch of real images, once per iteration where a second pass would give the same logits.

        The generator's terms need these logits as constants and the critic's own need them with their graph; they are
        computed with it and kept until :meth:`forget`. A network whose state advances with every forward pass (batch
        norm, spectral norm) is run again each time, as published.
        """
        if self.changes_with_forward:
            return self(real)
        if self._real_logits is None:
            # Their graph must reach the parameters, even while these are frozen for the generator's terms.
            was_frozen = self._frozen
            self.freeze(False)
            with torch.enable_grad():
                self._real_logits = self(real)
            self.freeze(was_frozen)
        return self._real_logits

    def forget(self) -> None:
        """Drops the logits that :meth:`judge_real` kept."""
        self._real_logits = None

    def freeze(self, frozen: bool) -> None:
        """Switches gradients with respect to the critic's parameters off or on."""
        for parameter in self.net.parameters():
            parameter.requires_grad_(not frozen)
        self._frozen = frozen


@contextmanager
def frozen(critics: Sequence[Critic]) -> Iterator[None]:
    """Within the block gradients flow through the critics to the images, but not into the critics."""
    for critic in critics:
        critic.freeze(True)
    try:
        yield
    finally:
        for critic in critics:
            critic.freeze(False)
