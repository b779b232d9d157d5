"""All losses under the module name by which other projects import them."""

from __future__ import annotations

from basicsr.losses.basic_loss import (
    CharbonnierLoss,
    L1Loss,
    MSELoss,
    WeightedTVLoss,
    charbonnier_loss,
    l1_loss,
    mse_loss,
)
from basicsr.losses.best_buddy_loss import BBL
from basicsr.losses.gan_loss import GANFeatLoss, GANLoss, MultiScaleGANLoss, RankLoss
from basicsr.losses.gradient_penalty import (
    g_path_regularize,
    gradient_penalty_loss,
    gradient_penalty_wdiv,
    quadratic_potential_loss,
    r1_penalty,
    wgan_gp_penalty,
)
from basicsr.losses.loss_util import (
    get_local_weights,
    get_refined_artifact_map,
    reduce_loss,
    weight_reduce_loss,
    weighted_loss,
)
from basicsr.losses.perceptual_loss import PerceptualLoss

gradient_penalty_loss_2 = wgan_gp_penalty
"""The published name of :func:`~basicsr.losses.gradient_penalty.wgan_gp_penalty`."""

__all__ = [
    "BBL",
    "CharbonnierLoss",
    "GANFeatLoss",
    "GANLoss",
    "L1Loss",
    "MSELoss",
    "MultiScaleGANLoss",
    "PerceptualLoss",
    "RankLoss",
    "WeightedTVLoss",
    "charbonnier_loss",
    "g_path_regularize",
    "get_local_weights",
    "get_refined_artifact_map",
    "gradient_penalty_loss",
    "gradient_penalty_loss_2",
    "gradient_penalty_wdiv",
    "l1_loss",
    "mse_loss",
    "quadratic_potential_loss",
    "r1_penalty",
    "reduce_loss",
    "weight_reduce_loss",
    "weighted_loss",
    "wgan_gp_penalty",
]
