"""Notes options that are right in themselves, but that the chosen model type does not read."""

from __future__ import annotations

from typing import Any

from basicsr.options.findings import Findings
from basicsr.options.schema import NETWORKS, DegradationKeys
from basicsr.utils.errors import Problem

_BRANCH_KEYS = ("branch_pretrain", "branch_init_iters")
_SHARPENING_KEYS = ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm")
_FLAT_KEYS = ("flat_ksize", "flat_std")


def drop_leftovers(options: dict[str, Any], model: Any, findings: Findings) -> None:
    """Takes out what a model type does not read, with a notice each; published files carry such keys.

    Args:
        options: The frame's options, changed in place.
        model: The registered model. One without a ``recipe`` (other packages') may read anything.
        findings: Where to report.
    """
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        return
    kind = options["model_type"]
    train = options.get("train") or {}
    gan = train.get("gan_opt") or {}
    for name in ("d", "spectral_d", "grad_d"):
        if name not in recipe.critics:
            reason = f"{kind} has no such critic"
            _drop(options, "", [NETWORKS[name]], reason, findings)
            _drop(train, "train", [f"optim_{name}", f"scheduler_{name}"], reason, findings)
            _drop(gan, "train.gan_opt", [f"{name}_weight"], reason, findings)
    if not recipe.critics:
        _drop(train, "train", ["gan_opt"], f"{kind} has no critic", findings)
    if not recipe.trains_branch_first:
        _drop(train, "train", _BRANCH_KEYS, f"{kind} has no gradient branch", findings)
    if not recipe.masks_flat_regions:
        _drop(gan, "train.gan_opt", _FLAT_KEYS, f"{kind} shows its critics the whole image", findings)
    if recipe.degradation == "paired":
        reason = f"{kind} reads its LQ images from the data set"
        _drop(options, "", list(DegradationKeys.model_fields), reason, findings)
        options.pop("degradation", None)
    if recipe.degradation != "second_order":
        _drop(options, "", _SHARPENING_KEYS, f"{kind} does not sharpen GT", findings)


def _drop(block: dict[str, Any], path: str, keys: Any, reason: str, findings: Findings) -> None:
    for key in keys:
        if block.pop(key, None) is not None:
            findings.notices.append(Problem(f"{path}.{key}" if path else key, f"has no effect: {reason}"))
