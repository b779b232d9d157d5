"""What every adversarial objective offers to the training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from basicsr.adversarial.critic import Critic


@dataclass
class CriticTerms:
    """One critic's side of an objective.

    Attributes:
        losses: Scalar tensors whose sum is minimised, by log key.
        logs: Further scalar tensors worth logging (mean logits, Wasserstein distance), detached.
    """

    losses: dict[str, Tensor]
    logs: dict[str, Tensor] = field(default_factory=dict)


class Objective(ABC):
    """Scores the generator against all critics, and each critic on real and generated images.

    Args:
        gan: The GAN criterion, called as ``gan(logits, target_is_real, is_disc=…)``.
        fuse_logits: ``adv_loss_version: v2``: add the critics' weighted logits first and score the sum once.
        sync_mean: Take means over the batches of all ranks rather than over the local batch.
    """

    normalizes_weights: ClassVar[bool] = True
    needs_real_for_generator: ClassVar[bool] = False

    def __init__(self, gan: nn.Module, *, fuse_logits: bool = False, sync_mean: bool = False) -> None:
        self.gan = gan
        self.fuse_logits = fuse_logits
        self.sync_mean = sync_mean

    @abstractmethod
    def score_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss for logits (B, n) of real (constant; ``None`` if not needed) and generated images."""

    @abstractmethod
    def critic_terms(
        self, critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
    ) -> CriticTerms:
        """The losses of one critic on image batches (B, C, H, W); ``fake`` is detached.

        ``generator`` supplies what the objective draws (the interpolation of a gradient penalty).
        """

    def generator_terms(self, critics: Sequence[Critic], real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The generator's weighted adversarial terms by log key: ``l_g_gan`` alone, or ``l_g_gan_{critic}`` each."""
        judged: list[tuple[Critic, Tensor | None, Tensor]] = []
        for critic in critics:
            real_logits = self._constant_real_logits(critic, real) if self.needs_real_for_generator else None
            judged.append((critic, real_logits, critic(fake)))
        if self.fuse_logits:
            fused_real = (
                _fuse([(c, r) for c, r, _ in judged if r is not None]) if self.needs_real_for_generator else None
            )
            return {"l_g_gan": self.score_generator(fused_real, _fuse([(c, f) for c, _, f in judged]))}
        if len(judged) == 1:
            critic, real_logits, fake_logits = judged[0]
            return {"l_g_gan": critic.weight * self.score_generator(real_logits, fake_logits)}
        return {f"l_g_gan_{c.name}": c.weight * self.score_generator(r, f) for c, r, f in judged}

    def judge_accuracy(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """How often a critic is right: the shares of logits (any shape) of real and of generated images on their side.

        A logit of a real image is right above the criterion's threshold, one of a generated image below it. Every
        output of a critic that judges patches counts.
        """
        threshold = self.threshold
        return (real > threshold).double().mean(), (fake < threshold).double().mean()

    @property
    def threshold(self) -> float:
        """The logit between real and generated, as the criterion has it; 0 where it says nothing."""
        return float(getattr(self.gan, "threshold", 0.0))

    def batch_mean(self, logits: Tensor) -> Tensor:
        """Mean of logits, over all ranks if ``sync_mean``; differentiable either way."""
        mean = logits.mean()
        if self.sync_mean and dist.is_available() and dist.is_initialized():
            mean = _AllReduceMean.apply(mean)
        return mean

    @staticmethod
    def _constant_real_logits(critic: Critic, real: Tensor) -> Tensor:
        if critic.changes_with_forward:
            with torch.no_grad():
                return critic(real)
        return critic.judge_real(real).detach()


def normalize_weights(weights: dict[str, float]) -> dict[str, float]:
    """Divides critic weights by their sum.

    Raises:
        ValueError: If a weight is negative or all are zero.
    """
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        shown = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        raise ValueError(
            f"critic weights are divided by their sum, so they must be non-negative with a positive sum, got {shown}"
        )
    return {name: weight / total for name, weight in weights.items()}


def mean_logits(critic: Critic, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """The logged means ``out_{critic}_real`` and ``out_{critic}_fake``."""
    return {f"out_{critic.name}_real": real.detach().mean(), f"out_{critic.name}_fake": fake.detach().mean()}


def _fuse(judged: list[tuple[Critic, Tensor]]) -> Tensor:
    widths = {logits.shape[1] for _, logits in judged} - {1}
    if len(widths) > 1:
        shapes = ", ".join(f"{critic.name} {tuple(logits.shape)}" for critic, logits in judged)
        raise ValueError(f"adv_loss_version v2 adds the critics' logits, but their shapes differ: {shapes}; use v1")
    fused = judged[0][0].weight * judged[0][1]
    for critic, logits in judged[1:]:
        fused = fused + critic.weight * logits
    return fused


class _AllReduceMean(torch.autograd.Function):
    """Mean over ranks whose backward adds what every rank's loss sends back, divided by their number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _mean_over_ranks(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _mean_over_ranks(grads[0])


def _mean_over_ranks(value: Tensor) -> Tensor:
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
