"""Notes options that are right in themselves, but that the chosen model type does not read."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from basicsr.options.findings import Findings
from basicsr.options.schema import NETWORKS, Degradation, Frame
from basicsr.options.schema_train import CriticOptions, Train
from basicsr.utils.errors import Problem
from basicsr.utils.fields import default_of

PAIRS_MADE_BEFOREHAND = "RealESRGANPairedDataset"
"""Data set of pairs that second-order models take as they are (Real-ESRGAN's fine-tuning)."""

_BRANCH_KEYS = ("branch_pretrain", "branch_init_iters")
_SHARPENING_KEYS = ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm")
_FLAT_KEYS = ("flat_ksize", "flat_std")
_ADVERSARIAL_KEYS = (
    "gan_opt",
    "net_d_iters",
    "net_d_init_iters",
    "adv_loss_version",
    "gp_weight",
    "diffaug",
    "aug_policy",
)
_FIELDS = Frame.model_fields | Degradation.model_fields | Train.model_fields | CriticOptions.model_fields


def drop_leftovers(options: dict[str, Any], model: Any, findings: Findings, given: Mapping[str, Any]) -> None:
    """Takes out what a model type does not read, with a notice each; published files carry such keys.

    What is written out as its default asks for nothing, and gets no notice.

    Args:
        options: The frame's options, changed in place.
        model: The registered model. One without a ``recipe`` (other packages') may read anything.
        findings: Where to report.
        given: The file's content, which tells where a degradation key stands.
    """
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        return
    _drop_critics(options, recipe, findings)
    _drop_degradation(options, recipe, findings, given)
    train = options.get("train") or {}
    if not recipe.trains_branch_first:
        _drop(train, "train", _BRANCH_KEYS, f"{options['model_type']} has no gradient branch", findings)
    elif not train.get("branch_pretrain"):
        _drop(train, "train", ["branch_init_iters"], "train.branch_pretrain is off", findings)
    elif not train.get("branch_init_iters"):
        _drop(train, "train", ["branch_pretrain"], "train.branch_init_iters says for how long, and is absent", findings)


def _drop_critics(options: dict[str, Any], recipe: Any, findings: Findings) -> None:
    kind = options["model_type"]
    train = options.get("train") or {}
    if not recipe.critics:
        _drop(train, "train", _ADVERSARIAL_KEYS, f"{kind} has no critic", findings)
        _drop(options, "", ["gan_gt_usm"], f"{kind} has no critic", findings)
    gan = train.get("gan_opt") or {}
    for name in ("d", "spectral_d", "grad_d"):
        if name not in recipe.critics:
            reason = f"{kind} has no such critic"
            _drop(options, "", [NETWORKS[name]], reason, findings)
            _drop(train, "train", [f"optim_{name}", f"scheduler_{name}"], reason, findings)
            _drop(gan, "train.gan_opt", [f"{name}_weight"], reason, findings)
    if not recipe.masks_flat_regions:
        _drop(gan, "train.gan_opt", _FLAT_KEYS, f"{kind} shows its critics the whole image", findings)
    if recipe.objective not in ("relativistic", "spsr"):
        _drop(gan, "train.gan_opt", ["sync_mean"], f"{kind} is not relativistic", findings)
    if recipe.objective != "wasserstein":
        _drop(train, "train", ["gp_weight"], f"{kind} has no gradient penalty", findings)
    if not train.get("diffaug"):
        _drop(train, "train", ["aug_policy"], "train.diffaug is off", findings)


def _drop_degradation(options: dict[str, Any], recipe: Any, findings: Findings, given: Mapping[str, Any]) -> None:
    kind = options["model_type"]
    train_set = (options.get("datasets") or {}).get("train") or {}
    reason = ""
    if recipe.degradation == "paired":
        reason = f"{kind} reads its LQ images from the data set"
    elif recipe.degradation == "second_order" and train_set.get("type") == PAIRS_MADE_BEFOREHAND:
        reason = f"{PAIRS_MADE_BEFOREHAND} supplies the LQ images"
    if reason:
        _drop_in_both(options, Degradation.model_fields, reason, findings, given)
    else:
        foreign = _find_foreign_keys(recipe.degradation)
        _drop_in_both(options, foreign, f"{kind} draws no such thing", findings, given)
    # Real-ESRGAN sharpens GT of pairs too, Real-ESRNet only that which it degrades.
    if recipe.degradation != "second_order" or (reason and not recipe.critics):
        _drop(options, "", _SHARPENING_KEYS, reason or f"{kind} does not sharpen GT", findings)


def _find_foreign_keys(degradation: str) -> list[str]:
    """Degradation keys that are options of other degradations."""
    from basicsr.degradation import DEGRADATIONS

    known = {"queue_size", *inspect.signature(DEGRADATIONS[degradation]).parameters}
    return [key for key in Degradation.model_fields if key not in known]


def _drop_in_both(
    options: dict[str, Any], keys: Iterable[str], reason: str, findings: Findings, given: Mapping[str, Any]
) -> None:
    """Drops degradation keys, which can be read at the top level and in ``degradation``, and notes them once."""
    section = options.get("degradation") or {}
    written = given.get("degradation")
    written = written if isinstance(written, Mapping) else {}
    for key in keys:
        options.pop(key, None)
        _drop(section, "degradation" if key in written else "", [key], reason, findings)
    if not section:
        options.pop("degradation", None)


def _drop(block: dict[str, Any], path: str, keys: Iterable[str], reason: str, findings: Findings) -> None:
    for key in keys:
        field, value = _FIELDS[key], block.get(key)
        if value in (None, field.default):
            continue  # as it is without the key
        del block[key]
        if value != default_of(field):
            findings.notices.append(Problem(f"{path}.{key}" if path else key, f"has no effect: {reason}"))
