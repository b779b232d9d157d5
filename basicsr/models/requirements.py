"""What a recipe needs of an option file, and what it would ignore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.adversarial.diffaugment import parse_policy
from basicsr.losses.gan_loss import GANLoss
from basicsr.models.critics import weigh_critics
from basicsr.models.degradation import build_degradation
from basicsr.models.settings import StepSettings
from basicsr.models.table import NETWORK_OPTION, TABLE, Recipe
from basicsr.options.leftovers import PAIRS_MADE_BEFOREHAND
from basicsr.options.signature import is_own
from basicsr.utils.errors import Problem
from basicsr.utils.registry import LOSS_REGISTRY

_TRAIN_SETS = {
    "paired": ("PairedImageDataset", PAIRS_MADE_BEFOREHAND),
    "hard_gated": ("GatedDegradationDataset",),
    "simple_gated": ("GatedDegradationDataset",),
    "second_order": ("RealESRGANDataset", PAIRS_MADE_BEFOREHAND),
}
"""Which of our data sets have what a degradation needs; those of other packages may have anything."""
_OWN_SETS = {name for names in _TRAIN_SETS.values() for name in names} | {"SingleImageDataset"}


def check_model_options(recipe: Recipe, opt: Mapping[str, Any]) -> list[Problem]:
    """Finds options that the recipe needs and does not have, and combinations that cannot work.

    Args:
        recipe: The model type's table row.
        opt: All options of the file, with ``is_train``.
    """
    if not opt.get("is_train", True):
        if (opt.get("path") or {}).get("pretrain_network_g"):
            return []
        message = "is not set: name the weights to test, or a network that nobody has trained is measured"
        return [Problem("path.pretrain_network_g", message)]
    train = opt.get("train") or {}
    kind = opt.get("model_type")
    needed = [("train.optim_g", train), ("train.scheduler", train)]
    for name in recipe.critics:
        needed += [(NETWORK_OPTION[name], opt), (f"train.optim_{name}", train)]
    if recipe.critics:
        needed.append(("train.gan_opt", train))
    problems = [
        Problem(path, f"missing; {kind} needs it") for path, block in needed if not block.get(path.rsplit(".", 1)[-1])
    ]
    if not any(name.endswith("_opt") and train[name] and name != "gan_opt" for name in train) and not recipe.critics:
        problems.append(Problem("train.pixel_opt", f"missing; {kind} would have no loss to minimise"))
    if train.get("ldl_opt") and not train.get("ema_decay"):
        problems.append(Problem("train.ema_decay", "is off, but train.ldl_opt compares with the averaged generator"))
    if train.get("pix_branch_opt") and not recipe.trains_branch_first:
        problems.append(Problem("train.pix_branch_opt", f"needs a generator with a gradient branch, not {kind}"))
    problems += _check_gan_type(recipe, train)
    problems += _check_critics(recipe, train) if recipe.critics else []
    problems += _check_train_set(recipe, opt)
    problems += _check_batches(recipe, opt, train)
    if recipe.degradation != "paired":
        try:
            build_degradation(recipe.degradation, opt)
        except (TypeError, ValueError) as error:
            problems.append(Problem("degradation", str(error)))
    try:
        StepSettings.from_options({"train": train})
    except (TypeError, ValueError) as error:
        problems.append(Problem("train", str(error)))
    return problems


def _check_gan_type(recipe: Recipe, train: Mapping[str, Any]) -> list[Problem]:
    gan = train.get("gan_opt") or {}
    loss = LOSS_REGISTRY.get(gan["type"]) if gan.get("type") in LOSS_REGISTRY else None
    if recipe.critics and isinstance(loss, type) and is_own(loss) and not issubclass(loss, GANLoss):
        return [Problem("train.gan_opt.type", f"{gan['type']} does not score critics' logits; use GANLoss")]
    kind = gan.get("gan_type")
    wasserstein = recipe.objective == "wasserstein"
    if kind and wasserstein and kind not in ("wgan", "wgan_softplus"):
        return [Problem("train.gan_opt.gan_type", f"{kind!r}, but a Wasserstein model needs wgan or wgan_softplus")]
    if kind and recipe.objective in ("relativistic", "spsr") and kind in ("wgan", "wgan_softplus", "hinge"):
        return [Problem("train.gan_opt.gan_type", f"{kind!r}, but a relativistic model needs vanilla or lsgan")]
    return []


def _check_critics(recipe: Recipe, train: Mapping[str, Any]) -> list[Problem]:
    problems = []
    try:
        weigh_critics(recipe, train.get("gan_opt") or {})
    except ValueError as error:
        problems.append(Problem(f"train.gan_opt.{recipe.critics[0]}_weight", f"{error}; set one above 0"))
    try:
        parse_policy(train.get("aug_policy") or "")
    except ValueError as error:
        problems.append(Problem("train.aug_policy", str(error)))
    return problems


def _check_train_set(recipe: Recipe, opt: Mapping[str, Any]) -> list[Problem]:
    """Finds a train set that does not have what the degradation needs, or has LQ images where they are to be made."""
    kind = ((opt.get("datasets") or {}).get("train") or {}).get("type")
    fitting = _TRAIN_SETS[recipe.degradation]
    if kind not in _OWN_SETS or kind in fitting:
        return []
    wants = "pairs" if recipe.degradation == "paired" else f"GT images to degrade ({recipe.degradation})"
    message = f"{kind} does not fit {opt.get('model_type')}, which trains on {wants}; use {' or '.join(fitting)}"
    if kind in _TRAIN_SETS["paired"]:
        twins = [name for name, row in TABLE.items() if row == recipe.on("paired")]
        message += f", or model_type {twins[0]} to train on pairs" if twins else ""
    return [Problem("datasets.train.type", message)]


def _check_batches(recipe: Recipe, opt: Mapping[str, Any], train: Mapping[str, Any]) -> list[Problem]:
    data = (opt.get("datasets") or {}).get("train") or {}
    batch = data.get("batch_size_per_gpu")
    if not isinstance(batch, int) or batch < 1:
        return []
    problems = []
    steps = train.get("accumulate_steps") or 1
    if isinstance(steps, int) and steps > 0 and batch % steps:
        problems.append(Problem("train.accumulate_steps", f"{steps} does not divide batch_size_per_gpu {batch}"))
    queue = opt.get("queue_size")
    gated_by_batch = (opt.get("degradation") or {}).get("gate", "batch") == "batch"
    if recipe.degradation != "paired" and queue and gated_by_batch and queue % batch:
        near = max(batch, round(queue / batch) * batch)
        problems.append(
            Problem("queue_size", f"{queue} is not divisible by batch_size_per_gpu {batch}; {near} would be")
        )
    return problems
