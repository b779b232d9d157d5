"""A critic: a view of the image, a network that judges it, its optimizer and its weight in the generator's loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, cast

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


class MovingAverages:
    """Running statistics of a network's batch norms, which can take the step of one forward pass again.

    Args:
        net: The network, before the pass.
    """

    def __init__(self, net: nn.Module) -> None:
        self.norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.training]
        # Not by way of autograd, which keeps them for the backward pass although that does not read them in training.
        self.values = [value.data for m in self.norms for value in (m.running_mean, m.running_var) if value is not None]
        self.shares = [1 - cast(float, m.momentum) for m in self.norms for _ in range(2)]
        self.steps = list(torch._foreach_mul(self.values, self.shares)) if self.values else []

    def take_step(self) -> None:
        """Learns, after the pass, what it added."""
        if self.values:
            self.steps = list(torch._foreach_sub(self.values, self.steps))

    def move_again(self) -> None:
        """Moves the statistics as one more pass over the same batch would."""
        if self.values:
            torch._foreach_mul_(self.values, self.shares)
            torch._foreach_add_(self.values, self.steps)
        for norm in self.norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1


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
    _kept: list[tuple[Tensor, Tensor, MovingAverages]] = field(default_factory=list, init=False)
    _joint: tuple[Tensor, Tensor, Tensor, Tensor] | None = field(default=None, init=False)

    @cached_property
    def changes_with_forward(self) -> bool:
        """Whether a forward pass in training mode changes the network (batch statistics, power iterations)."""
        return self._iterates or any(isinstance(module, _BatchNorm) for module in self.net.modules())

    @cached_property
    def _iterates(self) -> bool:
        """Whether a forward pass advances a power iteration."""
        return any(
            isinstance(part, (_SpectralNorm, SpectralNorm))
            for module in self.net.modules()
            for part in (module, *module._forward_pre_hooks.values())
        )

    @cached_property
    def repeats_itself(self) -> bool:
        """Whether a second forward pass over the same images gives the same logits.

        Batch norm does, whose running statistics are not what it normalises by; power iterations do not.
        """
        norms = [m for m in self.net.modules() if isinstance(m, _BatchNorm)]
        is_known = all(norm.momentum is not None and norm.track_running_stats for norm in norms)
        return not self.changes_with_forward or (is_known and not self._iterates)

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

    def judge_again(self, images: Tensor) -> Tensor:
        """Judges images of one kind, by one pass per iteration where a second would give the same logits.

        The generator's terms need logits as constants, or their gradient with respect to the images, and the critic's
        own terms need them with their graph; they are computed with it and kept until :meth:`forget`. Running
        statistics of batch norm move with each call, as published. A network with spectral norm, which advances with
        every forward pass, is run again each time.
        """
        if not self.repeats_itself:
            return self(images)
        for known, logits, averages in self._kept:
            if known is images:
                averages.move_again()
                return logits
        averages = MovingAverages(self.bare_net)
        with torch.enable_grad():
            logits = self(images)
        averages.take_step()
        self._kept.append((images, logits, averages))
        return logits

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n) of real and of generated images, with their graph.

        Where one pass can judge both, the critic's own terms share it with the generator's, and so the random draws in
        it (stochastic depth), until :meth:`forget`.
        """
        if not self.judges_jointly:
            return self.judge_again(real), self.judge_again(fake)
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
                known = self.judge_again(real).detach()
        if self.repeats_itself and not is_compiled(self.net):
            return known, self.judge_again(fake)
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
        self._joint = None
        self._kept.clear()
