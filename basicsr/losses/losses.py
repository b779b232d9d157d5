"""All losses under the module name by which other projects import them; names nothing else."""

from __future__ import annotations

from basicsr.losses.basic_loss import CharbonnierLoss as CharbonnierLoss
from basicsr.losses.basic_loss import L1Loss as L1Loss
from basicsr.losses.basic_loss import MSELoss as MSELoss
from basicsr.losses.basic_loss import PerceptualLoss as PerceptualLoss
from basicsr.losses.basic_loss import WeightedTVLoss as WeightedTVLoss
from basicsr.losses.basic_loss import charbonnier_loss as charbonnier_loss
from basicsr.losses.basic_loss import l1_loss as l1_loss
from basicsr.losses.basic_loss import mse_loss as mse_loss
from basicsr.losses.best_buddy_loss import BBL as BBL
from basicsr.losses.gan_loss import GANFeatLoss as GANFeatLoss
from basicsr.losses.gan_loss import GANLoss as GANLoss
from basicsr.losses.gan_loss import MultiScaleGANLoss as MultiScaleGANLoss
from basicsr.losses.gan_loss import RankLoss as RankLoss
from basicsr.losses.gradient_penalty import g_path_regularize as g_path_regularize
from basicsr.losses.gradient_penalty import gradient_penalty_loss as gradient_penalty_loss
from basicsr.losses.gradient_penalty import gradient_penalty_wdiv as gradient_penalty_wdiv
from basicsr.losses.gradient_penalty import quadratic_potential_loss as quadratic_potential_loss
from basicsr.losses.gradient_penalty import r1_penalty as r1_penalty
from basicsr.losses.gradient_penalty import wgan_gp_penalty as wgan_gp_penalty
from basicsr.losses.loss_util import get_local_weights as get_local_weights
from basicsr.losses.loss_util import get_refined_artifact_map as get_refined_artifact_map
from basicsr.losses.loss_util import reduce_loss as reduce_loss
from basicsr.losses.loss_util import weight_reduce_loss as weight_reduce_loss
from basicsr.losses.loss_util import weighted_loss as weighted_loss

gradient_penalty_loss_2 = wgan_gp_penalty
"""The published name of :func:`~basicsr.losses.gradient_penalty.wgan_gp_penalty`."""
