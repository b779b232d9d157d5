"""Published model types and keys, as presets and translations of today's blocks.

A published option file composes a run by its ``model_type`` and by keys that are spread over the file; today's form
states ``degradation``, ``objective``, ``critics`` and ``losses`` as blocks. Everything that the two differ in is in the
two tables of this module.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from basicsr.adversarial.critic import CriticOptions
from basicsr.utils.errors import Problem
from basicsr.utils.fields import suggest
from basicsr.utils.parts import Part, names_of
from basicsr.utils.registry import DEGRADATION_REGISTRY, OBJECTIVE_REGISTRY, Registry, is_own

Preset = Mapping[str, Any]
"""Blocks of today's form that a model type stands for."""

PAIRS_MADE_BEFOREHAND = "RealESRGANPairedDataset"
"""Data set of pairs that second-order models take as they are (Real-ESRGAN's fine-tuning)."""


def _compose(objective: str = "", *critics: str, degradation: str = "", hides_flat_regions: bool = False) -> Preset:
    views = {"grad_d": {"view": {"type": "GradientMap"}}}
    blocks: dict[str, Any] = {"degradation": {"type": degradation}} if degradation else {}
    if critics:
        blocks |= {"objective": {"type": objective}, "critics": {name: views.get(name, {}) for name in critics}}
    return blocks | ({"train": {"flat_regions": {}}} if hides_flat_regions else {})


_compose_beby = partial(_compose, "RelativisticAverage", hides_flat_regions=True)

PRESETS: dict[str, Preset] = {
    "SRModel": _compose(),
    "SwinIRModel": _compose(),
    "SRHardGatedDegradationModel": _compose(degradation="HardGated"),
    "SRSimpleGatedDegradationModel": _compose(degradation="SimpleGated"),
    "RealESRNetModel": _compose(degradation="SecondOrder"),
    "SRGANModel": _compose("Standard", "d"),
    "SRGANSpecModel": _compose("Standard", "d", "spectral_d"),
    "SRGANHardGatedDegradationModel": _compose("Standard", "d", degradation="HardGated"),
    "SRGANSimpleGatedDegradationModel": _compose("Standard", "d", degradation="SimpleGated"),
    "RealESRGANModel": _compose("Standard", "d", degradation="SecondOrder"),
    "ESRGANModel": _compose("RelativisticAverage", "d"),
    "ESRGANSpecModel": _compose("RelativisticAverage", "d", "spectral_d"),
    "ESRGANHardGatedDegradationModel": _compose("RelativisticAverage", "d", degradation="HardGated"),
    "ESRGANHardGatedDegradationSpecModel": _compose("RelativisticAverage", "d", "spectral_d", degradation="HardGated"),
    "ESRGANSimpleGatedDegradationWModel": _compose("Wasserstein", "d", degradation="SimpleGated"),
    "ESRGANSimpleGatedDegradationWSpecModel": _compose("Wasserstein", "d", "spectral_d", degradation="SimpleGated"),
    "BebyGANModel": _compose_beby("d"),
    "BebyGANSpecModel": _compose_beby("d", "spectral_d"),
    "BebyGANHardGatedDegradationModel": _compose_beby("d", degradation="HardGated"),
    "BebyGANHardGatedDegradationSpecModel": _compose_beby("d", "spectral_d", degradation="HardGated"),
    "SPSRModel": _compose("HalfRelativistic", "d", "grad_d"),
    "SPSRHardGatedDegradationModel": _compose("HalfRelativistic", "d", "grad_d", degradation="HardGated"),
}
"""What each name in ``model_type:`` is composed of; ``docs/recipes.md`` shows it as a table."""

CRITIC_NETWORKS = {"d": "network_d", "spectral_d": "net_spectral_d", "grad_d": "net_grad_d"}
"""Published key of each critic's network; its weights are ``net_{critic}_*.pth``."""

DEGRADATION_KEYS = (
    *("gt_size", "queue_size", "resize_prob", "resize_range", "gaussian_noise_prob", "noise_range"),
    *("poisson_scale_range", "gray_noise_prob", "jpeg_range", "second_blur_prob", "resize_prob2", "resize_range2"),
    *("gaussian_noise_prob2", "noise_range2", "poisson_scale_range2", "gray_noise_prob2", "jpeg_range2"),
    *("gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm"),
)
"""Options of degradations that published files write at the top level."""
_REGISTRIES = {"objective": OBJECTIVE_REGISTRY, "degradation": DEGRADATION_REGISTRY}
_SHARPENING_KEYS = ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm")


def _list_critic_keys(name: str) -> Iterator[tuple[str, str]]:
    yield CRITIC_NETWORKS[name], f"critics.{name}.network"
    yield f"train.optim_{name}", f"critics.{name}.optimizer"
    yield f"train.scheduler_{name}", f"critics.{name}.scheduler"
    yield f"train.gan_opt.{name}_weight", f"critics.{name}.weight"
    yield f"path.pretrain_network_{name}", f"critics.{name}.pretrained"
    yield f"path.strict_load_{name}", f"critics.{name}.strict_load"
    yield f"path.param_key_{name}", f"critics.{name}.param_key"


PUBLISHED_KEYS: tuple[tuple[str, str], ...] = (
    *((key, f"degradation.{key}") for key in DEGRADATION_KEYS),
    *(row for name in CRITIC_NETWORKS for row in _list_critic_keys(name)),
    ("train.gan_opt.sync_mean", "objective.sync_mean"),
    ("train.gan_opt.adv_loss_version", "objective.adv_loss_version"),
    ("train.gan_opt.flat_ksize", "train.flat_regions.ksize"),
    ("train.gan_opt.flat_std", "train.flat_regions.std"),
    ("train.gan_opt.adaptive_weight", "train.adaptive_weight"),
    ("train.adv_loss_version", "objective.adv_loss_version"),
    ("train.gp_weight", "objective.gp_weight"),
    ("train.gan_opt", "objective.criterion"),
    # The order of the losses is that in which a step adds them up.
    ("train.pixel_opt", "losses.pix"),
    ("train.perceptual_opt", "losses.percep"),
    ("train.ldl_opt", "losses.ldl.criterion"),
    ("train.bp_opt", "losses.bp.criterion"),
    ("train.pix_grad_opt", "losses.pix_grad.criterion"),
    ("train.pix_branch_opt", "losses.pix_grad_branch.criterion"),
)
"""Published keys and the places in today's form that they stand for."""

_LOSS_TYPES = {
    "ldl": "ArtifactLoss",
    "bp": "BackProjectionLoss",
    "pix_grad": "GradientLoss",
    "pix_grad_branch": "GradientBranchLoss",
}
"""Losses around a criterion that published files name by their key alone."""


def list_published_keys(section: str) -> tuple[str, ...]:
    """Published keys that stand in a section of the file: ``""``, ``path``, ``train``."""
    keys = (key.rpartition(".") for key, _ in PUBLISHED_KEYS)
    return tuple(name for parent, _, name in keys if parent == section)


def locate_in(written: Mapping[str, Any], path: str) -> str:
    """Where an option file has a place in today's form: under the published key that it uses, if it uses one."""
    return _rename(path, {target: key for key, target in PUBLISHED_KEYS if find_at(written, key) is not None})


def _rename(path: str, known: Mapping[str, str]) -> str:
    """A dotted path with its longest beginning that is known put as ``known`` has it."""
    found = max((t for t in known if path == t or path.startswith(f"{t}.")), key=len, default=None)
    return path if found is None else f"{known[found]}{path[len(found) :]}".strip(".")


@dataclass
class Translation:
    """An option file in today's form.

    Attributes:
        data: The blocks; what the run has no use for is left out.
        origins: For each place in ``data`` that was written elsewhere, where that was.
        notices: Keys that have no effect on this run, by their written place.
        problems: Mistakes, by their written place.
        broken: Places that were taken out because they are wrong; what depends on them cannot be checked.
    """

    data: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    notices: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def is_broken(self, path: str) -> bool:
        """Whether a place in today's form, or what it is in or holds, is known to be wrong."""
        return any(path == b or path.startswith(f"{b}.") or b.startswith(f"{path}.") for b in self.broken)

    def locate(self, path: str) -> str:
        """Where in the file a place in today's form is, or would be."""
        unwritten = {target: key for key, target in PUBLISHED_KEYS if find_at(self.data, target) is None}
        return _rename(path, {**unwritten, **self.origins})


def translate(written: Mapping[str, Any], preset: Preset | None, *, is_closed: bool = True) -> Translation:
    """Puts published keys where today's form has them, on top of what the model type stands for.

    Args:
        written: Content of the option file.
        preset: The model type's row; ``None`` for classes of other packages, which may read anything.
        is_closed: Whether keys that the preset has no use for are noted; a foreign subclass may read them.
    """
    found = Translation(copy.deepcopy({key: value for key, value in written.items() if value is not None}))
    data = found.data
    kind = str(written.get("model_type"))
    if not isinstance(data.get("train"), dict):
        # Only training reads these, so a test passes over them.
        is_closed = False
        preset = {key: preset[key] for key in preset if key == "degradation"} if preset is not None else None
    _merge(data, _compose("Standard", *CRITIC_NETWORKS) if preset is None else preset)
    for key, target in PUBLISHED_KEYS:
        value = take_at(data, key)
        if value is None:
            continue
        reason = _find_reason(data, kind, target)
        if reason and preset is not None:
            if is_closed and value != default_of_key(target):
                found.notices.append(Problem(key, f"has no effect: {reason}"))
            continue
        present = find_at(data, target)
        if present is not None and present != value and target not in found.origins:
            message = f"is {present} here and {value} at the top level; keep one of them"
            found.problems.append(Problem(target, message))
            take_at(data, target)
            continue
        *parents, name = target.split(".")
        block = data
        for parent in parents:
            if not isinstance(block.get(parent), dict):
                block[parent] = {}
            block = block[parent]
        block[name] = value
        found.origins[target] = key
    # A block without effect is noted once, and not key by key.
    blocks = [notice.path for notice in found.notices]
    found.notices = [n for n in found.notices if not any(n.path.startswith(f"{block}.") for block in blocks)]
    _complete(written, found, preset)
    return found


def _find_reason(data: Mapping[str, Any], kind: str, target: str) -> str | None:
    """Why a run has no use for a place in today's form; ``None`` if it has."""
    head, _, rest = target.partition(".")
    name = rest.partition(".")[0]
    critics, block = data.get("critics") or {}, data.get(head)
    part = block.get("type") if isinstance(block, Mapping) else None
    if head == "critics":
        return None if name in critics else f"{kind} has no such critic"
    if target.startswith("train.flat_regions"):
        return None if find_at(data, "train.flat_regions") is not None else f"{kind} shows its critics the whole image"
    if head not in _REGISTRIES:
        return None
    if not critics and (head == "objective" or name == "gan_gt_usm"):
        return f"{kind} has no critic"
    if head == "degradation":
        if part is None:
            return f"{kind} reads its LQ images from the data set"
        if find_at(data, "datasets.train.type") == PAIRS_MADE_BEFOREHAND:
            # Real-ESRGAN sharpens GT of pairs too, Real-ESRNet only that which it degrades.
            is_sharpened = name in _SHARPENING_KEYS and critics
            return None if is_sharpened else f"{PAIRS_MADE_BEFOREHAND} supplies the LQ images"
    known = _names(_REGISTRIES[head], part)
    if not known or name in known:
        return None
    if head == "degradation":
        return f"{kind} draws no such thing"
    return f"the objective of {kind}, {part}, has no such option"


def _complete(written: Mapping[str, Any], found: Translation, preset: Preset | None) -> None:
    """Fills in what published files say in other words."""
    data, kind = found.data, written.get("model_type")
    tile, losses, degradation = find_at(data, "val.tile"), data.get("losses"), data.get("degradation")
    if isinstance(tile, dict):
        for key in tile.keys() - {"size", "overlap"}:
            found.problems.append(Problem(f"val.tile.{key}", f"unknown key{suggest(key, ('size', 'overlap'))}"))
        data["val"]["tile"] = tile.get("size")
        data["val"] |= {"tile_overlap": tile["overlap"]} if tile.get("overlap") is not None else {}
    if isinstance(losses, dict):
        for name in _LOSS_TYPES.keys() & losses.keys():
            if isinstance(losses[name], dict):
                losses[name].setdefault("type", _LOSS_TYPES[name])
    if isinstance(degradation, dict):
        known = _names(DEGRADATION_REGISTRY, degradation.get("type"))
        for key in ("gt_size", "gt_usm"):
            value = find_at(data, f"datasets.train.{key}")
            if key in known and value is not None and key not in degradation:
                degradation[key] = value
                found.origins[f"degradation.{key}"] = f"datasets.train.{key}"
        # A section without `type` may hold keys that the preset's degradation does not have.
        is_typed = "type" in (written.get("degradation") or {})
        for key in [key for key in degradation if known and not is_typed and key not in {"type", *known}]:
            if degradation.pop(key) != default_of_key(f"degradation.{key}"):
                found.notices.append(Problem(f"degradation.{key}", f"has no effect: {kind} draws no such thing"))
        # A section of keys without effect, or a preset of other people's, leaves blocks that nobody filled.
        if "type" not in degradation:
            reason = f"{kind} reads its LQ images from the data set"
            for key in degradation if preset is not None else ():
                found.notices.append(Problem(f"degradation.{key}", f"has no effect: {reason}"))
            del data["degradation"]
    if preset is None:
        critics = data["critics"] if isinstance(data["critics"], dict) else {}
        data["critics"] = {name: block for name, block in critics.items() if set(block) - {"view"}}
        if "criterion" not in data["objective"]:
            del data["objective"]


def _names(registry: Registry, kind: object) -> set[str]:
    return names_of(registry.get(kind)) if isinstance(kind, str) and kind in registry else set()


def default_of_key(target: str) -> Any:
    """The default of an option wherever it is declared; writing it out asks for nothing."""
    head, *_, name = target.split(".")
    if head == "critics":
        return CriticOptions.model_fields[name].default
    if head == "degradation" and name != "gate" and name not in _SHARPENING_KEYS:
        return None  # published files carry the draws of other degradations, which is worth a notice
    for _, constructor in _REGISTRIES.get(head, ()):
        if is_own(constructor) and name in names_of(constructor):
            return Part("", constructor, {}).get(name)
    return None


# --- places in nested blocks ------------------------------------------------------------------------------------------


def find_at(data: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; ``None`` if nothing does."""
    value: Any = data
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def take_at(data: dict[str, Any], path: str) -> Any:
    """Takes out what stands at a dotted path; ``None`` if nothing does."""
    *parents, key = path.split(".")
    holder = find_at(data, ".".join(parents)) if parents else data
    return holder.pop(key, None) if isinstance(holder, dict) else None


def _merge(data: dict[str, Any], blocks: Mapping[str, Any]) -> None:
    """Adds blocks where the file has none, key by key; what the file says wins."""
    for key, value in blocks.items():
        if isinstance(value, Mapping) and isinstance(data.get(key, {}), dict):
            _merge(data.setdefault(key, {}), value)
        elif data.get(key) is None:
            data[key] = copy.deepcopy(value)
