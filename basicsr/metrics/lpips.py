"""LPIPS by torchmetrics' implementation, its network built once per process, network type and device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.metrics.metric import register_metric
from basicsr.metrics.metric_util import check_pair, check_size, describe_crop, measure_arrays, prepare_batch
from basicsr.utils.errors import WeightsError, check_choice
from basicsr.utils.fields import Count
from basicsr.utils.placement import place
from basicsr.weights import read_weights
from basicsr.weights.features import torchvision_weights
from basicsr.weights.obtaining import obtain

LpipsNet = Literal["alex", "vgg", "squeeze"]


# torchvision's name of each backbone, and the smallest image that its pooling layers leave anything of.
_BACKBONES = {"alex": ("alexnet", 31), "vgg": ("vgg16", 16), "squeeze": ("squeezenet1_1", 17)}


@torch.no_grad()
def batch_lpips(sr: Tensor, gt: Tensor, crop_border: int = 0, net_type: LpipsNet = "alex") -> Tensor:
    """Learned perceptual image patch similarity of each image, on the tensors' device.

    Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.

    Args:
        sr: RGB or gray levels in [0, 255] (clamped), ``(B, C, H, W)``; gray is repeated.
        gt: The references, same shape.
        crop_border: Pixels cut off each side.
        net_type: Backbone: ``alex``, ``vgg`` or ``squeeze``.

    Returns:
        ``(B,)`` float32, 0 for equal images.

    Raises:
        ValueError: If shapes differ, an option has an unknown value, or too little remains after the crop.
        WeightsError: If the backbone's weights are not on this machine and cannot be fetched; says where to put them.
    """
    check_choice("net_type", net_type, _BACKBONES)
    check_pair(sr, gt)
    x, y = (prepare_batch(batch, crop_border, dtype=torch.float32).clamp(0, 1) for batch in (sr, gt))
    if x.shape[1] not in (1, 3):
        raise ValueError(f"LPIPS needs images with 1 or 3 channels, (B, C, H, W); got shape {tuple(sr.shape)}")
    check_size(x, _BACKBONES[net_type][1], f"LPIPS with {net_type!r}")
    with torch.autocast(sr.device.type, enabled=False):
        net = build_lpips(net_type, sr.device)
        return net(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1), normalize=True).flatten()


def _describe(options: Mapping[str, Any]) -> str:
    backbone = _BACKBONES[options["net_type"]][0]
    return f"LPIPS ({backbone}, torchmetrics), RGB of 8-bit images scaled to [-1, 1], {describe_crop(options)}"


def _check_weights(options: Mapping[str, Any]) -> None:
    obtain(torchvision_weights(_BACKBONES[options["net_type"]][0]), fetches=False)


@register_metric("lower", _describe, batch_lpips, _check_weights)
def calculate_lpips(
    img: np.ndarray, img2: np.ndarray, crop_border: Count = 0, input_order: str = "HWC", net_type: LpipsNet = "alex"
) -> float:
    """:func:`batch_lpips` of two images in [0, 255]; runs on the current GPU if there is one.

    Args:
        img: (H, W), (H, W, C) or (C, H, W); three channels are B, G, R; gray is repeated.
        img2: The reference, same shape.
        crop_border: Pixels cut off each side.
        input_order: ``HWC`` or ``CHW``.
        net_type: Backbone: ``alex``, ``vgg`` or ``squeeze``.

    Returns:
        The distance, 0 for equal images.

    Raises:
        ValueError: If shapes differ, an option has an unknown value, or too little remains after the crop.
        WeightsError: If the backbone's weights are not on this machine and cannot be fetched; says where to put them.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def measure(x: Tensor, y: Tensor) -> Tensor:
        return batch_lpips(x.to(device), y.to(device), crop_border, net_type)

    return measure_arrays(measure, img, img2, input_order)


@lru_cache(maxsize=8)
def build_lpips(net_type: str, device: torch.device) -> nn.Module:
    """The LPIPS network with its weights, frozen, on a device; the same object at every call.

    Raises:
        WeightsError: If the backbone's weights cannot be had.
    """
    # torchmetrics' public classes always download through torchvision; the network itself can be given a local file.
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    name, _ = _BACKBONES[net_type]
    file = obtain(torchvision_weights(name))
    with torch.inference_mode(False):
        net = _NoTrainLpips(net=net_type, pnet_rand=True)  # type: ignore[arg-type]
        stored = read_weights(file)
        try:
            # Layers keep their position in torchvision's ``features``, whatever torchmetrics calls the slices:
            # "slice2.3.weight" and "slices.1.3.weight" are "features.3.weight".
            places = {key: re.sub(r"^slices?\.?\d+", "features", key) for key in net.net.state_dict()}
            net.net.load_state_dict({key: stored[place] for key, place in places.items()})
        except Exception as error:
            raise WeightsError(
                f"{file} does not hold the weights of {name} ({type(error).__name__}: {error}); fetch it again"
            ) from error
        return place(net, device).requires_grad_(False)
