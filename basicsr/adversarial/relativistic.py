"""The relativistic average objective (ESRGAN, arXiv 1809.00219, section 3.2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from basicsr.adversarial.critic import Critic
from basicsr.adversarial.objective import CriticTerms, Objective, mean_logits
from basicsr.adversarial.standard import StandardObjective


class RelativisticAverageObjective(Objective):
    """Asks whether an image looks more real than the average image of the other kind.

    Generator: ``[gan(D(gt) - mean D(sr), fake) + gan(D(sr) - mean D(gt), real)] / 2``. Critic: half the sum with the
    roles swapped, each mean a constant. The mean is over the local batch, or over all ranks with ``sync_mean``.
    """

    needs_real_for_generator = True

    def score_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        if real is None:
            raise ValueError("the relativistic objective needs the logits of real images")
        real_loss = self.gan(real - self.batch_mean(fake), False, is_disc=False)
        fake_loss = self.gan(fake - self.batch_mean(real), True, is_disc=False)
        return (real_loss + fake_loss) / 2

    def critic_terms(
        self, critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
    ) -> CriticTerms:
        if critic.changes_with_forward:
            # Published order of the passes: each advances the network's running state.
            with torch.no_grad():
                fake_mean = self.batch_mean(critic(fake))
            real_logits = critic.judge_real(real)
            fake_logits = critic(fake)
        else:
            real_logits = critic.judge_real(real)
            fake_logits = critic(fake)
            fake_mean = self.batch_mean(fake_logits.detach())
        real_mean = self.batch_mean(real_logits.detach())
        return CriticTerms(
            {
                f"l_{critic.name}_real": 0.5 * self.gan(real_logits - fake_mean, True, is_disc=True),
                f"l_{critic.name}_fake": 0.5 * self.gan(fake_logits - real_mean, False, is_disc=True),
            },
            mean_logits(critic, real_logits, fake_logits),
        )

    def judge_accuracy(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Objective.judge_accuracy`, each logit relative to the mean logit of the other kind."""
        return super().judge_accuracy(real - fake.mean(), fake - real.mean())


class HalfRelativisticObjective(RelativisticAverageObjective):
    """SPSR's objective (arXiv 2003.13081): relativistic for the generator, standard for the critics.

    The critics' weights are used as they are.
    """

    normalizes_weights: ClassVar[bool] = False
    critic_terms = StandardObjective.critic_terms
    judge_accuracy = StandardObjective.judge_accuracy
