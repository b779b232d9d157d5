"""Critics and adversarial objectives."""

from basicsr.adversarial.critic import Critic as Critic
from basicsr.adversarial.critic import CriticOptions as CriticOptions
from basicsr.adversarial.diffaugment import DiffAugment as DiffAugment
from basicsr.adversarial.objective import CriticTerms as CriticTerms
from basicsr.adversarial.objective import Objective as Objective
from basicsr.adversarial.objective import normalize_weights as normalize_weights
from basicsr.adversarial.relativistic import HalfRelativisticObjective as HalfRelativisticObjective
from basicsr.adversarial.relativistic import RelativisticAverageObjective as RelativisticAverageObjective
from basicsr.adversarial.standard import StandardObjective as StandardObjective
from basicsr.adversarial.views import GradientMap as GradientMap
from basicsr.adversarial.views import PatchwiseSpectrum as PatchwiseSpectrum
from basicsr.adversarial.wasserstein import WassersteinObjective as WassersteinObjective
