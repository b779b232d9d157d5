"""Trained discriminators as judges: loaded from a run's folder, scoring every image as if it were alone."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.analysis.experiments import describe_file, find_option_file, find_weights, read_option_file
from basicsr.archs import build_network
from basicsr.archs.window_attention import keep_biases
from basicsr.models.network_io import load_weights, read_weights
from basicsr.utils.errors import UserError
from basicsr.utils.registry import ARCH_REGISTRY

logger = logging.getLogger("basicsr")

OPTION_BLOCKS = {"net_d": "network_d", "net_spectral_d": "net_spectral_d"}
"""Which block of the option file describes a weights file."""

_CPU_PIXELS = 1 << 19
"""Pixels per forward pass on a CPU: beyond, activations leave the caches and larger batches get slower."""


@dataclass(frozen=True)
class Critic:
    """A discriminator that scores images.

    Attributes:
        name: For tables and legends.
        net: The network, in evaluation mode.
        input_size: Height and width that it takes; None if it takes any.
        identity: Digest of weights and architecture.
        weights: Path and digest of the weights file.
        settable: Those of ``img_size``, ``window_size`` and ``fix_normalize`` that the architecture has.
    """

    name: str
    net: nn.Module
    input_size: tuple[int, int] | None
    identity: str
    weights: Mapping[str, str] = field(default_factory=dict)
    settable: frozenset[str] = frozenset()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores images: the mean of the network's output for each.

        An image's score does not depend on its batch, even where the network was built to scale spectra over whole
        batches: that scaling is done image by image.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].

        Returns:
            (B,) float32.
        """
        parts = images.split(_CPU_PIXELS // images[0, 0].numel() or 1) if images.device.type == "cpu" else [images]
        with keep_biases(self.net):
            return torch.cat([score_alone(self.net, part).flatten(1).float().mean(dim=1) for part in parts])


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
) -> Critic:
    """Builds a discriminator from a run's option file and loads its weights.

    Args:
        experiment: The run's folder.
        load_name: Weights: ``net_d``, ``net_spectral_d``, or one iteration of them (``net_d_5000``).
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
    block = _find_block(read_option_file(source), load_name, source)
    overrides = {"img_size": img_size, "window_size": window_size, "fix_normalize": fix_normalize}
    settable = frozenset(overrides).intersection(_parameters(block))
    block = {**block, **{key: _simplify(overrides[key]) for key in settable if overrides[key] is not None}}
    weights = find_weights(experiment, load_name)
    try:
        net = build_network(block)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{load_name} of {source} cannot be built for these sizes: {error}") from error
    load_weights(net, read_weights(weights), source=str(weights))
    if img_size is None and "img_size" in block:
        size = block["img_size"]
        img_size = (size, size) if isinstance(size, int) else (size[0], size[1])
    described = describe_file(weights)
    identity = hashlib.blake2b(json.dumps(block, sort_keys=True, default=str).encode(), digest_size=16)
    identity.update(described["digest"].encode())
    net = net.to(device).eval().requires_grad_(False)
    logger.info("%s: %s from %s", name or load_name, block["type"], weights)
    input_size = img_size if "img_size" in settable else None
    return Critic(name or load_name, net, input_size, identity.hexdigest(), described, settable)


def find_option_block(load_name: str) -> str:
    """The block of an option file that describes a weights file: ``network_d`` for ``net_d`` and ``net_d_5000``.

    Raises:
        UserError: If weights of that name are no critic's.
    """
    for prefix, key in OPTION_BLOCKS.items():
        if load_name.startswith(prefix):
            return key
    raise UserError(f"weights must be called {' or '.join(OPTION_BLOCKS)}, or one with _<iteration>; got {load_name!r}")


def _find_block(options: Mapping[str, Any], load_name: str, source: Path) -> dict[str, Any]:
    key = find_option_block(load_name)
    block = options.get(key)
    if not isinstance(block, Mapping) or "type" not in block:
        raise UserError(f"{source} describes no network {key!r}, which {load_name} needs")
    return dict(block)


def _parameters(block: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(ARCH_REGISTRY.get(block["type"])).parameters


def _simplify(value: Any) -> Any:
    # One number where one is enough: an architecture may not take pairs.
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value
