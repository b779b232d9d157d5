"""The relativistic average objective (ESRGAN, arXiv 1809.00219, section 3.2)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from basicsr.adversarial.critic import Critic
from basicsr.adversarial.objective import Criterion, CriticTerms, Objective
from basicsr.adversarial.standard import StandardObjective
from basicsr.utils.registry import OBJECTIVE_REGISTRY


@OBJECTIVE_REGISTRY.register(name="RelativisticAverage")
class RelativisticAverageObjective(Objective):
    """Asks whether an image looks more real than the average image of the other kind.

    Generator: ``[gan(D(gt) - mean D(sr), fake) + gan(D(sr) - mean D(gt), real)] / 2``. Critic: half the sum with the
    roles swapped, each mean a constant. The mean is over the local batch, or over all ranks with ``sync_mean``.

    Args:
        criterion: See :class:`Objective`; ``gan_type`` is ``vanilla`` or ``lsgan``.
        adv_loss_version: See :class:`Objective`.
        sync_mean: Take relativistic means over the batches of all ranks instead of over the local batch.
    """

    needs_real_for_generator = True
    supports = (
        "no ranking: a relativistic objective compares images with the mean of the other kind, and never scores one by "
        "itself; noise can come out best"
    )
    gan_types = ("vanilla", "lsgan")

    def __init__(
        self, criterion: Criterion, *, adv_loss_version: Literal["v1", "v2"] = "v1", sync_mean: bool = False
    ) -> None:
        super().__init__(criterion, adv_loss_version=adv_loss_version)
        self.sync_mean = sync_mean

    def score_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        assert real is not None, "needs_real_for_generator asks for them"
        real_loss = self.gan(real - self.batch_mean(fake), False, is_disc=False)
        fake_loss = self.gan(fake - self.batch_mean(real), True, is_disc=False)
        return (real_loss + fake_loss) / 2

    def critic_terms(
        self, critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
    ) -> CriticTerms:
        if critic.changes_with_forward:
            # Published order of the passes: each advances the network's running state.
            with torch.no_grad():
                fake_mean = self.batch_mean(critic.judge_again(fake))
            # Weights that autocast has rounded without a graph would be taken again, and not train.
            torch.clear_autocast_cache()
        real_logits, fake_logits = critic.judge(real, fake)
        if not critic.changes_with_forward:
            fake_mean = self.batch_mean(fake_logits.detach())
        real_mean = self.batch_mean(real_logits.detach())
        real_loss = 0.5 * self.gan(real_logits - fake_mean, True, is_disc=True)
        fake_loss = 0.5 * self.gan(fake_logits - real_mean, False, is_disc=True)
        return CriticTerms.of(critic, (real_loss, fake_loss), (real_logits, fake_logits))

    def batch_mean(self, logits: Tensor) -> Tensor:
        """Mean of logits, over all ranks if ``sync_mean``; differentiable either way."""
        is_synced = self.sync_mean and dist.is_available() and dist.is_initialized()
        return _MeanOverRanks.apply(logits.mean()) if is_synced else logits.mean()

    def judge_accuracy(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Objective.judge_accuracy`, each logit relative to the mean logit of the other kind."""
        return super().judge_accuracy(real - fake.mean(), fake - real.mean())


@OBJECTIVE_REGISTRY.register(name="HalfRelativistic")
class HalfRelativisticObjective(RelativisticAverageObjective):
    """SPSR's objective (arXiv 2003.13081): relativistic for the generator, standard for the critics.

    The critics' weights are used as they are.
    """

    normalizes_weights: ClassVar[bool] = False
    supports = StandardObjective.supports
    critic_terms = StandardObjective.critic_terms
    judge_accuracy = StandardObjective.judge_accuracy


class _MeanOverRanks(torch.autograd.Function):
    """Mean over ranks; backward is the same mean, of what every rank's loss sends back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _MeanOverRanks.apply(grads[0])
