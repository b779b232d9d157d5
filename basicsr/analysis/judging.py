"""From options to judges: which critics score, and what they are shown of an image."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from basicsr.analysis.arguments import list_given, resolve_device
from basicsr.analysis.experiments import find_option_file, read_option_file, resolve_experiment
from basicsr.analysis.presets import Preset, canonical_name, default_ensemble, find_preset
from basicsr.analysis.protocols import CropPlan, Protocol
from basicsr.analysis.quality_critic import OPTION_BLOCKS, Critic, find_option_block, load_critic
from basicsr.analysis.scorer import Judge
from basicsr.utils.errors import UserError

logger = logging.getLogger("basicsr")

CRITIC_NAMES = {"spatial": "net_d", "spectral": "net_spectral_d"}
"""Weights of each critic; the defaults of ``--load_name`` and ``--load_name2``."""

CLIVE = "LIVE-itW"


def prepare_judges(
    args: argparse.Namespace, experiment_name: str, test_set: str, protocol: Protocol
) -> tuple[dict[str, Judge], dict[str, Any]]:
    """Loads the critics and decides what they see: given on the command line, else the preset's, else the default.

    Options that change nothing here are named in the log.

    Args:
        args: The scoring options.
        experiment_name: Name or path of a run.
        test_set: Name of the set.
        protocol: That of both critics where neither option nor preset names one.

    Returns:
        The judges by critic, and what they depend on, for the record.
    """
    experiment = resolve_experiment(experiment_name)
    source = Path(args.opt) if args.opt else find_option_file(experiment)
    options = read_option_file(source)
    preset = find_preset(args.preset) if args.preset else None
    size = tuple(args.img_size) if args.img_size else preset.img_size if preset else None
    critics = _load_critics(args, experiment, source, options, preset, size)
    trained = [critic.input_size for critic in critics.values() if critic.input_size]
    fallback = size or (trained[0] if trained else _training_size(options))
    fallback_protocol = preset.protocol if preset else protocol
    protocols = {name: getattr(args, f"test_protocol_{name}") or fallback_protocol for name in CRITIC_NAMES}
    if getattr(args, "CLIVE_crop_spatial", False) and canonical_name(test_set) == CLIVE:
        protocols["spatial"] = "random"
    stride, n_ensemble = (preset.stride, preset.n_ensemble) if preset else (64, default_ensemble(test_set))
    plans = {}
    for name, critic in critics.items():
        window = critic.input_size if protocols[name] == "default" else critic.input_size or fallback
        plans[name] = CropPlan(
            protocols[name],
            window,
            stride if args.stride is None else args.stride,
            n_ensemble if args.n_ensemble is None else args.n_ensemble,
            args.seed,
        )
    for sentence in find_unused_options(args, test_set, critics, plans):
        logger.warning("%s", sentence)
    recorded = {
        "experiment": str(experiment.resolve()),
        "fix_normalize": args.fix_normalize,
        "critics": {
            name: {"identity": critic.identity, "weights": dict(critic.weights), **asdict(plans[name])}
            for name, critic in critics.items()
        },
    }
    return {name: Judge(critic, plans[name]) for name, critic in critics.items()}, recorded


def find_unused_options(
    args: argparse.Namespace, test_set: str, critics: Mapping[str, Critic], plans: Mapping[str, CropPlan]
) -> list[str]:
    """One sentence for each scoring option that was given and changes nothing."""
    used = {plan.protocol for plan in plans.values()}
    scales = any("fix_normalize" in critic.settable for critic in critics.values())
    is_clive = canonical_name(test_set) == CLIVE and "spatial" in critics
    crops_clive = getattr(args, "CLIVE_crop_spatial", False)
    found = [
        ("--n_ensemble", args.n_ensemble is not None and "random" not in used, "no critic sees random windows"),
        ("--stride", args.stride is not None and "patchify" not in used, "no critic sees a grid of windows (patchify)"),
        ("--fix_normalize", args.fix_normalize and not scales, "no critic scales spectra"),
        ("--CLIVE_crop_spatial", crops_clive and not is_clive, f"it is for the spatial critic on {CLIVE}"),
    ]
    unused = [f"{flag} changes nothing here: {reason}" for flag, is_unused, reason in found if is_unused]
    return unused + [line for name in CRITIC_NAMES for line in _find_unused_of(name, args, critics, plans)]


def _find_unused_of(
    name: str, args: argparse.Namespace, critics: Mapping[str, Critic], plans: Mapping[str, CropPlan]
) -> list[str]:
    window = f"{name}_window_size"
    if name not in critics:
        flag, load_name = _load_option(args, name)
        given = list_given(args, (window, f"test_protocol_{name}"))
        given += [flag] if load_name != CRITIC_NAMES[name] else []
        return [f"{flag} changes nothing here: the {name} critic does not judge" for flag in given]
    critic, kind, unused = critics[name], type(critics[name].net).__name__, []
    if getattr(args, window) is not None and "window_size" not in critic.settable:
        unused.append(f"--{window} changes nothing here: {kind} has no attention windows")
    if args.img_size and critic.input_size is None and plans[name].protocol == "default":
        unused.append(
            f"--img_size changes nothing for the {name} critic: {kind} takes any size and sees whole images (default)"
        )
    return unused


def _load_critics(
    args: argparse.Namespace,
    experiment: Path,
    source: Path,
    options: Mapping[str, Any],
    preset: Preset | None,
    size: tuple[int, ...] | None,
) -> dict[str, Critic]:
    described = [name for name, prefix in CRITIC_NAMES.items() if options.get(OPTION_BLOCKS[prefix])]
    wanted = args.critics or described
    if not wanted:
        raise UserError(f"{source} describes no critic: neither {' nor '.join(OPTION_BLOCKS.values())}")
    windows = {
        "spatial": args.spatial_window_size or (preset.spatial_window if preset else None),
        "spectral": args.spectral_window_size or (preset.spectral_window if preset else None),
    }
    device: torch.device = resolve_device(args.device)
    return {
        name: load_critic(
            experiment,
            _checked_load_name(args, name),
            name=name,
            img_size=None if size is None else (size[0], size[1]),
            window_size=windows[name],
            fix_normalize=True if args.fix_normalize else None,
            option_file=source,
            device=device,
        )
        for name in wanted
    }


def _checked_load_name(args: argparse.Namespace, name: str) -> str:
    flag, load_name = _load_option(args, name)
    own = CRITIC_NAMES[name]
    if find_option_block(load_name) != OPTION_BLOCKS[own]:
        other = next(critic for critic in CRITIC_NAMES if critic != name)
        raise UserError(
            f"{flag} {load_name}: these are weights of the {other} critic; the {name} critic's are called {own} or "
            f"{own}_<iteration>. --critics {other} asks the {other} critic alone"
        )
    return load_name


def _load_option(args: argparse.Namespace, name: str) -> tuple[str, str]:
    return ("--load_name", args.load_name) if name == "spatial" else ("--load_name2", args.load_name2)


def _training_size(options: Mapping[str, Any]) -> tuple[int, int] | None:
    size = options.get("gt_size") or (options.get("datasets") or {}).get("train", {}).get("gt_size")
    return (int(size), int(size)) if size else None
