"""Critics and adversarial objectives."""

from basicsr.adversarial.critic import Critic, frozen
from basicsr.adversarial.objective import CriticTerms, Objective, normalize_weights
from basicsr.adversarial.relativistic import HalfRelativisticObjective, RelativisticAverageObjective
from basicsr.adversarial.standard import StandardObjective
from basicsr.adversarial.wasserstein import WassersteinObjective

__all__ = [
    "Critic",
    "CriticTerms",
    "HalfRelativisticObjective",
    "Objective",
    "RelativisticAverageObjective",
    "StandardObjective",
    "WassersteinObjective",
    "frozen",
    "normalize_weights",
]
