"""A critic: a view of the image, a network that judges it, its optimizer and its weight in the generator's loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from basicsr.archs.arch_util import single_backward
from basicsr.utils.dist_util import bare, is_compiled
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
    """Weights to start from: a file, or the name of published ones."""
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
        may_join: Whether the objective lets one pass judge real and generated images together.
    """

    name: str
    net: nn.Module
    weight: float = 1.0
    view: Callable[[Tensor], Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None
    is_only: bool = False
    may_join: bool = True
    _real: Tensor | None = field(default=None, init=False)
    _joint: tuple[Tensor, Tensor, Tensor, Tensor] | None = field(default=None, init=False)

    @cached_property
    def changes_with_forward(self) -> bool:
        """Whether a forward pass in training mode changes the network (batch statistics, power iterations)."""
        return any(
            isinstance(part, (_BatchNorm, _SpectralNorm, SpectralNorm))
            for module in self.net.modules()
            for part in (module, *module._forward_pre_hooks.values())
        )

    @cached_property
    def judges_jointly(self) -> bool:
        """Whether one pass judges real and generated images together.

        It does if the objective allows it, no pass changes the network, and the network says that it
        ``judges_images_alone``: an image's logits do not depend on the rest of its batch, or on that of its kind only,
        which ``forward`` then takes as ``groups``.
        """
        is_alone = getattr(self.bare_net, "judges_images_alone", False)
        return self.may_join and is_alone and not self.changes_with_forward

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained of the network."""
        return [parameter for parameter in self.net.parameters() if parameter.requires_grad]

    @property
    def bare_net(self) -> nn.Module:
        """The network without its DistributedDataParallel wrapper."""
        return bare(self.net)

    def __call__(self, *kinds: Tensor) -> Tensor:
        """Judges images (B, C, H, W), or several kinds of them in one pass.

        Returns:
            Float32 logits (B, n), whatever shape the network gives them.
        """
        with single_backward():
            return self._judge(self.net if torch.is_grad_enabled() else self.bare_net, *kinds)

    def judge_unwrapped(self, images: Tensor) -> Tensor:
        """As a call, but past any wrapper: for gradients with respect to the images (gradient penalty)."""
        return self._judge(self.bare_net, images)

    def look_at(self, images: Tensor) -> Tensor:
        """What the network sees of images (B, C, H, W)."""
        return images if self.view is None else self.view(images)

    def _judge(self, net: nn.Module, *kinds: Tensor) -> Tensor:
        seen = tuple(map(self.look_at, kinds))
        grouped = {"groups": len(kinds)} if self._takes_groups and len(kinds) > 1 else {}
        return net(seen[0] if len(seen) == 1 else torch.cat(seen), **grouped).flatten(1).float()

    @cached_property
    def _takes_groups(self) -> bool:
        return "groups" in inspect.signature(self.bare_net.forward).parameters

    def judge_real(self, real: Tensor) -> Tensor:
        """Judges the batch of real images, once per iteration where a second pass would give the same logits.

        The generator's terms need these logits as constants and the critic's own need them with their graph; they are
        computed with it and kept until :meth:`forget`. A network whose state advances with every forward pass (batch
        norm, spectral norm) is run again each time, as published.
        """
        if self.changes_with_forward:
            return self(real)
        if self._real is None:
            with torch.enable_grad():
                self._real = self(real)
        return self._real

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n) of real and of generated images, with their graph.

        Where one pass can judge both, the critic's own terms share it with the generator's, and so the random draws in
        it (stochastic depth), until :meth:`forget`.
        """
        if not self.judges_jointly:
            return self.judge_real(real), self(fake)
        if self._joint is None or self._joint[0] is not real or self._joint[1] is not fake:
            real_logits, fake_logits = self(real, fake).split((len(real), len(fake)))
            self._joint = (real, fake, real_logits, fake_logits)
        return self._joint[2:]

    def judge_for_generator(self, real: Tensor, fake: Tensor, needs_real: bool) -> tuple[Tensor | None, Tensor]:
        """The same for the generator's terms: logits of real images are constants, and absent if they are not needed.

        The graph of the others is for the gradient with respect to ``fake`` alone.
        """
        known = None
        if self.judges_jointly:
            real_logits, fake_logits = self.judge(real, fake)
            known = real_logits.detach()
            if not is_compiled(self.net):
                return known, fake_logits
        elif needs_real:
            with torch.no_grad():
                known = self.judge_real(real).detach()
        # Past any wrapper, whose reducer would wait for gradients of the parameters.
        with single_backward(), self._frozen():
            return known, self._judge(self.bare_net, fake)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Within the block no parameter of a compiled network requires a gradient.

        A compiled backward pass makes every gradient that its graph has, whichever are asked for.
        """
        frozen = self.parameters if is_compiled(self.net) else []
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_()

    def forget(self) -> None:
        """Drops the logits that were kept."""
        self._real = self._joint = None
