"""The standard objective: each critic tells real from generated images, the generator wants to pass for real."""

from __future__ import annotations

import torch
from torch import Tensor

from basicsr.adversarial.critic import Critic
from basicsr.adversarial.objective import CriticTerms, Objective
from basicsr.utils.registry import OBJECTIVE_REGISTRY


@OBJECTIVE_REGISTRY.register(name="Standard")
class StandardObjective(Objective):
    """Generator: ``gan(D(sr), real)``. Critic: ``gan(D(gt), real) + gan(D(sr), fake)``."""

    supports = (
        "photograph or this run's output, not a grade of quality; damage that its outputs do not have, such as noise, "
        "can come out best"
    )

    def score_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return self.gan(fake, True, is_disc=False)

    def critic_terms(
        self, critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
    ) -> CriticTerms:
        real_logits, fake_logits = critic.judge(real, fake)
        losses = self.gan(real_logits, True, is_disc=True), self.gan(fake_logits, False, is_disc=True)
        return CriticTerms.of(critic, losses, (real_logits, fake_logits))
