"""The Wasserstein objective with gradient penalty (WGAN-GP, arXiv 1704.00028)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from basicsr.adversarial.critic import Critic
from basicsr.adversarial.objective import Criterion, CriticTerms
from basicsr.adversarial.standard import StandardObjective
from basicsr.losses.gradient_penalty import wgan_gp_penalty
from basicsr.utils.batch import send_tensor
from basicsr.utils.fields import Weight
from basicsr.utils.registry import OBJECTIVE_REGISTRY


@OBJECTIVE_REGISTRY.register(name="Wasserstein")
class WassersteinObjective(StandardObjective):
    """Generator: ``-mean D(sr)``. Critic: ``mean D(sr) - mean D(gt)`` plus the gradient penalty.

    Args:
        criterion: See :class:`Objective`; ``gan_type`` is ``wgan`` or ``wgan_softplus``.
        adv_loss_version: See :class:`Objective`.
        gp_weight: Factor of the penalty on the norm of each sample's gradient.
    """

    normalizes_weights: ClassVar[bool] = False
    # What shifts all logits cancels in the critic's loss, to the bit if both kinds are judged alike. Of one pass over
    # both a rounding error remains, which Adam takes for a gradient.
    may_join: ClassVar[bool] = False
    supports = (
        "a ranking of quality, as published; critics of short trainings took noise for detail and ranked it best "
        "(docs/study.md)"
    )
    gan_types = ("wgan", "wgan_softplus")
    host_work = "draws the points of its gradient penalty on the host"

    def __init__(
        self, criterion: Criterion, *, adv_loss_version: Literal["v1", "v2"] = "v1", gp_weight: Weight = 10.0
    ) -> None:
        super().__init__(criterion, adv_loss_version=adv_loss_version)
        self.gp_weight = gp_weight

    def critic_terms(
        self, critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
    ) -> CriticTerms:
        terms = super().critic_terms(critic, real, fake)
        # Penalize the gradient at random points between real and generated images, in float32.
        prefix = critic.name.removesuffix("d")
        alpha = self.draw_alpha(real, generator)
        with torch.autocast(real.device.type, enabled=False):
            terms.losses[f"l_{prefix}gp"] = wgan_gp_penalty(
                critic.judge_unwrapped, real.float(), fake.float(), self.gp_weight, alpha=alpha
            )
        # What the critic estimates of the distance between the two distributions.
        mean_real, mean_fake = (terms.logs[f"out_{critic.name}_{kind}"] for kind in ("real", "fake"))
        terms.logs["w_distance" if critic.is_only else f"{prefix}d_w_distance"] = mean_real - mean_fake
        return terms

    def judge_accuracy(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Only differences of logits mean something here: each counts relative to the mean logit of the other kind."""
        return super().judge_accuracy(real - fake.mean(), fake - real.mean())

    @staticmethod
    def draw_alpha(real: Tensor, generator: torch.Generator | None) -> Tensor:
        """One interpolation factor in [0, 1) per sample, (B, 1, 1, 1)."""
        return send_tensor(torch.rand(len(real), 1, 1, 1, generator=generator), real.device, real.dtype)
