"""Losses, one family a file. Importing this package fills ``LOSS_REGISTRY``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, MSELoss, WeightedTVLoss
from basicsr.losses.best_buddy_loss import BBL
from basicsr.losses.content import ArtifactLoss, BackProjectionLoss, ContentLoss, GradientBranchLoss, GradientLoss
from basicsr.losses.gan_loss import GANFeatLoss, GANLoss, MultiScaleGANLoss, RankLoss
from basicsr.losses.gradient_penalty import (
    g_path_regularize,
    gradient_penalty_loss,
    gradient_penalty_wdiv,
    quadratic_potential_loss,
    r1_penalty,
    wgan_gp_penalty,
)
from basicsr.losses.ldl_loss import LDLLoss
from basicsr.losses.perceptual_loss import PerceptualLoss
from basicsr.utils.errors import UserError
from basicsr.utils.registry import LOSS_REGISTRY

__all__ = [
    "BBL",
    "ArtifactLoss",
    "BackProjectionLoss",
    "CharbonnierLoss",
    "ContentLoss",
    "GANFeatLoss",
    "GANLoss",
    "GradientBranchLoss",
    "GradientLoss",
    "L1Loss",
    "LDLLoss",
    "MSELoss",
    "MultiScaleGANLoss",
    "PerceptualLoss",
    "RankLoss",
    "WeightedTVLoss",
    "build_loss",
    "g_path_regularize",
    "gradient_penalty_loss",
    "gradient_penalty_wdiv",
    "quadratic_potential_loss",
    "r1_penalty",
    "wgan_gp_penalty",
]


def build_loss(opt: Mapping[str, Any]) -> nn.Module:
    """Builds a registered loss.

    Args:
        opt: ``type``, a registered name, and the constructor's arguments; it is not modified.

    Raises:
        UserError: If ``type`` is missing or unknown.
        ValueError: If an argument has an impossible value.
        TypeError: If an argument is unknown.
    """
    if "type" not in opt:
        raise UserError(f"a loss needs a 'type'; known: {', '.join(sorted(LOSS_REGISTRY.keys()))}")
    arguments = {name: value for name, value in opt.items() if name != "type"}
    return LOSS_REGISTRY.get(opt["type"])(**arguments)
