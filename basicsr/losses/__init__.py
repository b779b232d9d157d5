"""Losses, one family a file. Importing this package fills ``LOSS_REGISTRY``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from basicsr.losses.basic_loss import CharbonnierLoss as CharbonnierLoss
from basicsr.losses.basic_loss import L1Loss as L1Loss
from basicsr.losses.basic_loss import MSELoss as MSELoss
from basicsr.losses.basic_loss import PerceptualLoss as PerceptualLoss
from basicsr.losses.basic_loss import WeightedTVLoss as WeightedTVLoss
from basicsr.losses.best_buddy_loss import BBL as BBL
from basicsr.losses.content import ArtifactLoss as ArtifactLoss
from basicsr.losses.content import BackProjectionLoss as BackProjectionLoss
from basicsr.losses.content import ContentLoss as ContentLoss
from basicsr.losses.content import GradientBranchLoss as GradientBranchLoss
from basicsr.losses.content import GradientLoss as GradientLoss
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
from basicsr.utils.registry import LOSS_REGISTRY


def build_loss(opt: Mapping[str, Any]) -> nn.Module:
    """Builds a registered loss.

    Args:
        opt: ``type``, a registered name, and the constructor's arguments; it is not modified.

    Raises:
        UserError: If ``type`` is missing or unknown.
        ValueError: If an argument has an impossible value.
        TypeError: If an argument is unknown.
    """
    constructor, arguments = LOSS_REGISTRY.resolve(opt)
    return constructor(**arguments)
