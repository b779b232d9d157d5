"""Critics and adversarial objectives."""

from basicsr.adversarial.critic import Critic, CriticOptions, frozen
from basicsr.adversarial.diffaugment import DiffAugment
from basicsr.adversarial.objective import CriticTerms, Objective, normalize_weights
from basicsr.adversarial.relativistic import HalfRelativisticObjective, RelativisticAverageObjective
from basicsr.adversarial.standard import StandardObjective
from basicsr.adversarial.views import GradientMap, PatchwiseSpectrum
from basicsr.adversarial.wasserstein import WassersteinObjective

__all__ = [
    "Critic",
    "CriticOptions",
    "CriticTerms",
    "DiffAugment",
    "GradientMap",
    "HalfRelativisticObjective",
    "Objective",
    "PatchwiseSpectrum",
    "RelativisticAverageObjective",
    "StandardObjective",
    "WassersteinObjective",
    "frozen",
    "normalize_weights",
]
