"""What every adversarial objective offers to the training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from basicsr.adversarial.critic import Critic
from basicsr.utils.parts import PartOf
from basicsr.utils.registry import LOSS_REGISTRY

_PUBLISHED = (
    "d_weight",
    "spectral_d_weight",
    "grad_d_weight",
    "flat_ksize",
    "flat_std",
    "sync_mean",
    "adv_loss_version",
)
Criterion = Annotated[nn.Module, PartOf(LOSS_REGISTRY, also_known=_PUBLISHED)]
"""A GAN loss: built, or in an option file its block."""


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
        criterion: The GAN loss, called as ``criterion(logits, target_is_real, is_disc=…)``.
        adv_loss_version: ``v1`` scores each critic by itself; ``v2`` adds their weighted logits and scores the sum.

    Attributes:
        normalizes_weights: Whether the critics' weights are divided by their sum.
        needs_real_for_generator: Whether the generator's terms need logits of real images.
        gan_types: Values of the criterion's ``gan_type`` that make sense here; ``None``: all.
    """

    normalizes_weights: ClassVar[bool] = True
    needs_real_for_generator: ClassVar[bool] = False
    gan_types: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, criterion: Criterion, *, adv_loss_version: Literal["v1", "v2"] = "v1") -> None:
        self.gan = criterion
        self.fuse_logits = adv_loss_version == "v2"

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
