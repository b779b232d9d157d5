"""Builds the critics and the objective that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from basicsr.adversarial import (
    Critic,
    HalfRelativisticObjective,
    Objective,
    RelativisticAverageObjective,
    StandardObjective,
    WassersteinObjective,
    normalize_weights,
)
from basicsr.adversarial.critic import View
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.settings import read_option
from basicsr.models.table import NETWORK_OPTION, Recipe
from basicsr.options.schema_train import CriticOptions, Train
from basicsr.utils.gradients import gradient_map

if TYPE_CHECKING:
    from basicsr.models.base_model import BaseModel

CRITIC_OPTIONS = frozenset({"d_weight", "spectral_d_weight", "grad_d_weight", "flat_ksize", "flat_std", "sync_mean"})
"""Keys of ``train.gan_opt`` that configure critics and objective rather than the GAN criterion."""

_OBJECTIVES: dict[str, type[Objective]] = {
    "standard": StandardObjective,
    "relativistic": RelativisticAverageObjective,
    "spsr": HalfRelativisticObjective,
    "wasserstein": WassersteinObjective,
}
_VIEWS: dict[str, View] = {"grad_d": partial(gradient_map, padding=2)}


def build_critics(model: BaseModel, recipe: Recipe) -> list[Critic]:
    """Builds the recipe's critics on the model's device, loads their pretrained weights, and adds them to its nets."""
    if not recipe.critics:
        return []
    weights = weigh_critics(recipe, model.opt["train"].get("gan_opt") or {})
    critics = []
    for name in recipe.critics:
        net = model.model_to_device(build_network(model.opt[NETWORK_OPTION[name]]))
        model.load_pretrained(net, name)
        model.print_network(net)
        net.train()
        model.nets[name] = net
        setattr(model, f"net_{name}", net)
        critics.append(Critic(name, net, weights[name], _VIEWS.get(name)))
    return critics


def weigh_critics(recipe: Recipe, gan: Mapping[str, Any]) -> dict[str, float]:
    """The critics' weights from ``train.gan_opt``, divided by their sum where the objective does so.

    Raises:
        ValueError: If they are to be divided and are all 0.
    """
    weights = {name: float(read_option(gan, CriticOptions, f"{name}_weight")) for name in recipe.critics}
    return normalize_weights(weights) if _OBJECTIVES[recipe.objective].normalizes_weights else weights


def build_objective(recipe: Recipe, opt: Mapping[str, Any]) -> Objective:
    """Builds the adversarial objective of a recipe with critics around ``train.gan_opt``."""
    train = opt["train"]
    gan = build_loss({key: value for key, value in train["gan_opt"].items() if key not in CRITIC_OPTIONS})
    shared = {
        "fuse_logits": read_option(train, Train, "adv_loss_version") == "v2",
        "sync_mean": bool(read_option(train["gan_opt"], CriticOptions, "sync_mean")),
    }
    if recipe.objective == "wasserstein":
        return WassersteinObjective(gan, gp_weight=float(read_option(train, Train, "gp_weight")), **shared)
    return _OBJECTIVES[recipe.objective](gan, **shared)
