"""Trained critics as judges of quality: loaded from a run, and told what to look at by the options of a command."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.adversarial.critic import Critic
from basicsr.adversarial.objective import Objective
from basicsr.analysis.arguments import resolve_device
from basicsr.analysis.critic_arguments import (
    SCORING_CRITICS,
    Preset,
    Protocol,
    canonical_name,
    default_ensemble,
    find_preset,
)
from basicsr.analysis.experiments import (
    describe_file,
    find_option_file,
    find_weights,
    read_option_file,
    resolve_experiment,
)
from basicsr.analysis.scorer import CropPlan, Judge
from basicsr.archs import build_network
from basicsr.archs.window_attention import keep_biases
from basicsr.evaluation.spectra import training_size
from basicsr.models.presets import CRITIC_NETWORKS, PRESETS, translate
from basicsr.utils.errors import UserError
from basicsr.utils.parts import PartOf, names_of
from basicsr.utils.placement import place
from basicsr.utils.registry import ARCH_REGISTRY, OBJECTIVE_REGISTRY, VIEW_REGISTRY
from basicsr.weights import load_weights, read_weights

logger = logging.getLogger("basicsr")

CLIVE = "LIVE-itW"

_CPU_PIXELS = 1 << 19
"""Pixels per forward pass on a CPU: beyond, activations leave the caches and larger batches get slower."""


@dataclass(frozen=True)
class QualityCritic:
    """A critic that scores images: the mean of its output map for each, as if the image were alone in its batch.

    Attributes:
        critic: The critic, its network in evaluation mode.
        input_size: Height and width of the images that it takes; None if it takes any.
        identity: Digest of weights and architecture.
        weights: Path and digest of the weights file.
        settable: Those of ``img_size``, ``window_size`` and ``fix_normalize`` that the architecture has.
        network: The architecture, as in an option file.
    """

    critic: Critic
    input_size: tuple[int, int] | None = None
    identity: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    settable: Set[str] = frozenset()
    network: Mapping[str, Any] = field(default_factory=dict)

    @property
    def net(self) -> nn.Module:
        """The critic's network."""
        return self.critic.bare_net

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores images (B, 3, H, W) float32 RGB in [0, 1]; returns (B,) float32."""
        parts = images.split(_CPU_PIXELS // images[0, 0].numel() or 1) if images.device.type == "cpu" else [images]
        with keep_biases(self.net):
            return torch.cat([self._judge(part).flatten(1).float().mean(dim=1) for part in parts])

    def _judge(self, images: Tensor) -> Tensor:
        # Views are cheap, and may mix images: a spectrum is scaled by the extremes of its batch.
        view = self.critic.view
        return score_alone(self.net, images if view is None else torch.cat([view(image[None]) for image in images]))


def score_alone(net: nn.Module, images: Tensor) -> Tensor:
    """The network's output for every image as if it were alone in its batch; still one pass through the layers.

    Only the transform in front of a spectral network with ``fix_normalize: false`` mixes images (its extremes run
    over the batch). It is cheap, so it runs image by image, and the layers behind it run on the batch.
    """
    if getattr(net, "fix_normalize", True) or len(images) == 1:
        return net(images)
    transform, layers = net.transform, net.net
    assert callable(transform) and callable(layers)
    return layers(torch.cat([transform(image[None]) for image in images]).float())


def load_critic(
    experiment: Path,
    load_name: str = "net_d",
    *,
    name: str | None = None,
    img_size: tuple[int, int] | None = None,
    window_size: int | None = None,
    fix_normalize: bool | None = None,
    option_file: Path | None = None,
    device: torch.device | str = "cpu",
) -> QualityCritic:
    """Builds a discriminator from a run's option file and loads its weights.

    Args:
        experiment: The run's folder.
        load_name: Weights: ``net_d``, ``net_spectral_d``, ``net_grad_d``, or one iteration of them (``net_d_5000``).
        name: Label; by default ``load_name``.
        img_size: Height and width of the images to be scored; by default those of training.
        window_size: Attention window for this size; by default that of training. Position tables are resized.
        fix_normalize: Overrides how a spectral discriminator scales spectra (``True``: patch by patch).
        option_file: Instead of the one in the run's folder.
        device: Where it runs.

    Raises:
        UserError: If the option file has no such network, or it cannot be built with these sizes.
        WeightsError: If the weights are missing or do not fit.
    """
    source = option_file or find_option_file(experiment)
    critics = read_critics(read_option_file(source))
    role = find_role(load_name, critics)
    if role not in critics:
        raise UserError(f"{source} describes no network {CRITIC_NETWORKS[role]!r}, which {load_name} needs")
    block, view_block = critics[role]["network"], critics[role].get("view")
    view = PartOf(VIEW_REGISTRY).validate(view_block).build() if view_block else None
    try:
        constructor, _ = ARCH_REGISTRY.resolve(block)
    except UserError as error:
        raise UserError(f"{load_name} of {source}: {error}") from error
    settable = names_of(constructor) & {"img_size", "window_size", "fix_normalize"}
    given: dict[str, object] = {"window_size": window_size, "fix_normalize": fix_normalize}
    input_size = None
    if "img_size" in settable and (img_size or "img_size" in block):
        rows, columns = img_size or np.broadcast_to(block["img_size"], 2).tolist()
        # The network takes what the view makes of the image: gradient maps are larger by their padding.
        margin = 0 if view is None else view(torch.zeros(1, 3, rows, columns)).shape[-1] - columns
        input_size = img_size or (rows - margin, columns - margin)
        rows, columns = (side + margin for side in input_size)
        # One number where one is enough: an architecture may not take pairs.
        given["img_size"] = rows if rows == columns else (rows, columns)
    block = {**block, **{key: value for key, value in given.items() if key in settable and value is not None}}
    weights = find_weights(experiment, load_name)
    try:
        net = build_network(block)
    except ValueError as error:
        # What the option file says is one matter, what the command line makes of it another.
        reason = "" if isinstance(error, UserError) else " cannot be built for these sizes"
        raise UserError(f"{load_name} of {source}{reason}: {error}") from error
    load_weights(net, read_weights(weights), source=str(weights))
    described = describe_file(weights)
    built = json.dumps(block, sort_keys=True, default=str) + described["digest"]
    identity = hashlib.blake2b(built.encode(), digest_size=16).hexdigest()
    logger.info("%s: %s from %s", name or load_name, block["type"], weights)
    critic = Critic(name or load_name, place(net, device).eval().requires_grad_(False), view=view)
    return QualityCritic(critic, input_size, identity, described, settable, block)


def read_critics(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The critics that an option file describes, in today's form or as published: entries of ``critics`` by name."""
    # Whatever the model type makes of them: a run's weights are scored, not trained.
    entries = translate(options, None).data.get("critics") or {}
    return {name: entry for name, entry in entries.items() if entry.get("network")}


def describe_support(args: argparse.Namespace) -> str:
    """What scores of the run's critics can be taken for, by the objective that they were trained with.

    Args:
        args: The options of a scoring command.
    """
    options = read_option_file(args.opt or find_option_file(resolve_experiment(args.experiment_name)))
    block = translate(options, PRESETS.get(str(options.get("model_type")))).data.get("objective") or {}
    kind = str(block.get("type"))
    known = OBJECTIVE_REGISTRY.get(kind) if kind in OBJECTIVE_REGISTRY else Objective
    return str(getattr(known, "supports", Objective.supports))


def find_role(load_name: str, critics: Collection[str] = ()) -> str:
    """The critic that a weights file belongs to: ``d`` for ``net_d`` and ``net_d_5000``, ``spectral_d`` and so on.

    Args:
        load_name: Name of the weights.
        critics: Names of a run's critics, beside those of published files.

    Raises:
        UserError: If weights of that name are no critic's.
    """
    names = list(dict.fromkeys((*CRITIC_NETWORKS, *critics)))
    found = [name for name in names if f"{load_name.removesuffix('.pth')}_".startswith(f"net_{name}_")]
    if not found:
        expected = " or ".join(f"net_{name}" for name in names)
        raise UserError(f"weights must be called {expected}, or one with _<iteration>; got {load_name!r}")
    return max(found, key=len)


def prepare_judges(args: argparse.Namespace, test_set: str) -> tuple[dict[str, Judge], dict[str, object]]:
    """Loads the critics and decides what they see: given on the command line, else the preset's, else the default.

    Options that change nothing here are named in the log.

    Args:
        args: The options of a scoring command, and its ``protocol`` where neither option nor preset names one.
        test_set: Name of the set.

    Returns:
        The judges by critic, and what they depend on, for the record.
    """
    experiment = resolve_experiment(args.experiment_name)
    source = Path(args.opt) if args.opt else find_option_file(experiment)
    options = read_option_file(source)
    described = read_critics(options)
    preset = find_preset(args.preset) if args.preset else Preset(args.protocol, n_ensemble=default_ensemble(test_set))
    size = (args.img_size[0], args.img_size[1]) if args.img_size else preset.img_size

    # Load the critics that are asked for, else those of the usual ones that the run has.
    owners = {find_role(weights): name for name, (weights, _) in SCORING_CRITICS.items()}
    names = args.critics or [name for role, name in owners.items() if role in described]
    if not names:
        expected = " nor ".join(CRITIC_NETWORKS[role] for role in owners)
        raise UserError(f"{source} describes no critic: neither {expected}")
    shared: dict[str, Any] = {"option_file": source, "img_size": size, "device": resolve_device(args.device)}
    shared["fix_normalize"] = args.fix_normalize or None
    critics = {}
    for name in names:
        own, option = SCORING_CRITICS.get(name, (f"net_{name}", "critics"))
        load_name = (getattr(args, option) if name in SCORING_CRITICS else None) or own
        role = find_role(load_name, described)
        other = owners.get(role, role)
        if other != name:
            called = f"the {name} critic's are called {own} or {own}_<iteration>"
            remedy = f"--critics {other} asks the {other} critic alone"
            raise UserError(f"--{option} {load_name}: these are weights of the {other} critic; {called}. {remedy}")
        window = getattr(args, f"{name}_window_size", None) or getattr(preset, f"{name}_window", None)
        critics[name] = load_critic(experiment, load_name, name=name, window_size=window, **shared)

    # Choose what each is shown of an image; a network that takes any size is shown what the others are.
    trained = [critic.input_size for critic in critics.values() if critic.input_size]
    side = training_size(options)
    fallback = size or next(iter(trained), (side, side) if side else None)
    plans, shown = {}, {}
    for name, critic in critics.items():
        protocol: Protocol = getattr(args, f"test_protocol_{name}", None) or preset.protocol
        if name == "spatial" and args.CLIVE_crop_spatial and canonical_name(test_set) == CLIVE:
            protocol = "random"
        window = critic.input_size if protocol == "default" else critic.input_size or fallback
        stride, n_ensemble = args.stride or preset.stride, args.n_ensemble or preset.n_ensemble
        plans[name] = CropPlan(protocol, window, stride, n_ensemble, args.seed)
        shown[name] = {"identity": critic.identity, "weights": critic.weights, **asdict(plans[name])}
    warn_of_unused_options(args, test_set, critics, plans)
    recorded = {"experiment": str(experiment.resolve()), "fix_normalize": args.fix_normalize, "critics": shown}
    return {name: Judge(critic, plans[name]) for name, critic in critics.items()}, recorded


def warn_of_unused_options(
    args: argparse.Namespace, test_set: str, critics: Mapping[str, QualityCritic], plans: Mapping[str, CropPlan]
) -> None:
    """Logs one sentence for each scoring option that was given and changes nothing."""
    protocols = {plan.protocol for plan in plans.values()}
    scales_spectra = any("fix_normalize" in critic.settable for critic in critics.values())
    is_clive = canonical_name(test_set) == CLIVE and "spatial" in critics
    reasons = {
        "n_ensemble": "" if "random" in protocols else "no critic sees random windows",
        "stride": "" if "patchify" in protocols else "no critic sees a grid of windows (patchify)",
        "fix_normalize": "" if scales_spectra else "no critic scales spectra",
        "CLIVE_crop_spatial": "" if is_clive else f"it is for the spatial critic on {CLIVE}",
    }
    for name, (_, load_name) in SCORING_CRITICS.items():
        window = f"{name}_window_size"
        if name not in critics:
            absent = (window, f"test_protocol_{name}", load_name)
            reasons |= dict.fromkeys(absent, f"the {name} critic does not judge")
            continue
        kind = type(critics[name].net).__name__
        if "window_size" not in critics[name].settable:
            reasons[window] = f"{kind} has no attention windows"
        if args.img_size and critics[name].input_size is None and plans[name].protocol == "default":
            reason = f"{kind} takes any size and sees whole images (default)"
            logger.warning("--img_size changes nothing for the %s critic: %s", name, reason)
    for option, reason in reasons.items():
        if getattr(args, option) and reason:
            logger.warning("--%s changes nothing here: %s", option, reason)
