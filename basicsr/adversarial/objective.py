"""The interface of adversarial objectives to the training step."""

from __future__ import annotations

import functools
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

    @classmethod
    def of(cls, critic: Critic, losses: tuple[Tensor, Tensor], logits: tuple[Tensor, Tensor]) -> CriticTerms:
        """A critic's losses on real and on generated images, ``l_{critic}_real`` and ``l_{critic}_fake``.

        Its mean logits on the two are logged as ``out_{critic}_real`` and ``out_{critic}_fake``.
        """
        kinds = ("real", "fake")
        return cls(
            {f"l_{critic.name}_{kind}": loss for kind, loss in zip(kinds, losses)},
            {f"out_{critic.name}_{kind}": judged.detach().mean() for kind, judged in zip(kinds, logits)},
        )


class Objective(ABC):
    """Scores the generator against all critics, and each critic on real and generated images.

    Args:
        criterion: The GAN loss, called as ``criterion(logits, target_is_real, is_disc=…)``.
        adv_loss_version: ``v1`` scores each critic by itself; ``v2`` adds their weighted logits and scores the sum.

    Attributes:
        normalizes_weights: Whether the critics' weights are divided by their sum.
        needs_real_for_generator: Whether the generator's terms need logits of real images.
        may_join: Whether one pass may judge real and generated images together.
        supports: What a critic's score of a single image means, in words for those who rank images by it.
        gan_types: Values of the criterion's ``gan_type`` that make sense here; ``None``: all.
        host_work: What the host does in every step, so that ``train.cuda_graph`` cannot capture it; empty: nothing.
    """

    normalizes_weights: ClassVar[bool] = True
    needs_real_for_generator: ClassVar[bool] = False
    may_join: ClassVar[bool] = True
    supports: ClassVar[str] = "the objective does not say what a score of a single image means"
    gan_types: ClassVar[tuple[str, ...] | None] = None
    host_work: ClassVar[str] = ""

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
        """The losses of one critic on image batches (B, C, H, W), of which only its parameters are to learn.

        ``generator`` supplies what the objective draws (the interpolation of a gradient penalty).
        """

    def generator_terms(self, critics: Sequence[Critic], real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The generator's weighted adversarial terms by log key: ``l_g_gan`` alone, or ``l_g_gan_{critic}`` each."""
        judged = [critic.judge_for_generator(real, fake, self.needs_real_for_generator) for critic in critics]
        if self.fuse_logits:
            known = [logits for logits, _ in judged if logits is not None]
            fused_real = _fuse(critics, known) if self.needs_real_for_generator else None
            return {"l_g_gan": self.score_generator(fused_real, _fuse(critics, [logits for _, logits in judged]))}
        terms = {}
        for critic, (judged_real, judged_fake) in zip(critics, judged, strict=True):
            key = "l_g_gan" if len(critics) == 1 else f"l_g_gan_{critic.name}"
            terms[key] = critic.weight * self.score_generator(judged_real, judged_fake)
        return terms

    def judge_accuracy(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """How often a critic is right: the shares of logits (any shape) of real and of generated images on their side.

        A logit of a real image is right above the criterion's threshold, one of a generated image below it. Every
        output of a critic that judges patches counts. A criterion without a threshold has it at 0.
        """
        threshold = float(getattr(self.gan, "threshold", 0.0))
        return (real > threshold).double().mean(), (fake < threshold).double().mean()


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


def _fuse(critics: Sequence[Critic], logits: Sequence[Tensor]) -> Tensor:
    """The weighted sum of every critic's logits (B, n) or (B, 1)."""
    if len({judged.shape[1] for judged in logits} - {1}) > 1:
        shapes = ", ".join(f"{critic.name} {tuple(judged.shape)}" for critic, judged in zip(critics, logits))
        raise ValueError(f"adv_loss_version v2 adds the critics' logits, but their shapes differ: {shapes}; use v1")
    return functools.reduce(torch.add, (critic.weight * judged for critic, judged in zip(critics, logits)))
