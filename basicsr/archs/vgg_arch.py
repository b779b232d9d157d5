"""Features of VGG networks (arXiv 1409.1556) trained on ImageNet, for perceptual losses."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import check_images
from basicsr.utils.errors import ArgumentError, WeightsError, check_choice, check_positive
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.weights import read_weights
from basicsr.weights.features import torchvision_weights
from basicsr.weights.obtaining import obtain

PATH_VARIABLE = "BASICSR_VGG_PATH"

CONVS_PER_STAGE = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def list_layers(vgg_type: str) -> list[str]:
    """Names of a network's feature layers in order: ``conv1_1``, (``bn1_1``,) ``relu1_1``, … ``pool5``.

    Raises:
        ArgumentError: If there is no such network.
    """
    check_choice("vgg_type", vgg_type, [base + norm for base in CONVS_PER_STAGE for norm in ("", "_bn")])
    base, _, norm = vgg_type.partition("_")
    kinds = ("conv", "bn", "relu") if norm else ("conv", "relu")
    names = []
    for stage, num_convs in enumerate(CONVS_PER_STAGE[base], start=1):
        names += [f"{kind}{stage}_{index}" for index in range(1, num_convs + 1) for kind in kinds]
        names.append(f"pool{stage}")
    return names


NAMES = {name: list_layers(name) for name in CONVS_PER_STAGE}
"""Layers of the networks without batch norm, in order."""


@ARCH_REGISTRY.register()
class VGGFeatureExtractor(nn.Module):
    """Returns features of the requested layers; later layers are not built.

    The weights come from the first of: ``pretrained_path``; the file (or a file of torchvision's name in the folder)
    that the environment variable ``BASICSR_VGG_PATH`` names; ``experiments/pretrained_models/``; torch hub's cache; the
    net. On the meta device nothing is loaded.

    Args:
        layer_name_list: Layers to return, e.g. ``[conv5_4]``. ``convX_Y`` is taken before norm and ReLU, ``reluX_Y``
            after them.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, or one of these with ``_bn``.
        use_input_norm: Normalise images in [0, 1] by the mean and deviation of ImageNet.
        range_norm: Images are in [-1, 1]: bring them to [0, 1] first.
        requires_grad: Train the weights. Otherwise they are frozen, and the network stays in evaluation mode.
        remove_pooling: Leave out the max pooling layers.
        pooling_stride: Stride of the max pooling layers.
        pretrained_path: A file with torchvision's weights for this network.
        pretrained: ``False`` keeps random weights, for tests and for weights that are loaded later.

    Raises:
        ArgumentError: If a layer or the network is unknown.
        WeightsError: If the weights cannot be had; the message names the file and where to put it.
    """

    @staticmethod
    def check_weights(arguments: Mapping[str, Any]) -> None:
        """Raises what building with such arguments would, if the weights are not on this machine; fetches nothing."""
        if arguments.get("pretrained", True):
            find_vgg_weights(arguments["vgg_type"], arguments["pretrained_path"], fetches=False)

    def __init__(
        self,
        layer_name_list: Sequence[str],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        requires_grad: bool = False,
        remove_pooling: bool = False,
        pooling_stride: int = 2,
        pretrained_path: str | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        check_positive(pooling_stride=pooling_stride)
        names = [name for name in list_layers(vgg_type) if not (remove_pooling and name.startswith("pool"))]
        if not layer_name_list:
            raise ArgumentError("layer_name_list", "layer_name_list must name at least one layer, e.g. conv5_4")
        unknown = [name for name in layer_name_list if name not in names]
        if unknown:
            message = f"{vgg_type} has no layer {', '.join(map(str, unknown))}; it has {', '.join(names)}"
            raise ArgumentError("layer_name_list", message)
        self.layer_name_list = list(layer_name_list)
        self.use_input_norm = use_input_norm
        self.range_norm = range_norm
        self.requires_grad = requires_grad

        # The layers up to the deepest one that is requested.
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = 3
        for name in names[: max(map(names.index, layer_name_list)) + 1]:
            made = WIDTHS[int(name.lstrip(ascii_lowercase)[0]) - 1]
            if name.startswith("conv"):
                layers[name] = nn.Conv2d(width, made, 3, 1, 1)
            elif name.startswith("bn"):
                layers[name] = nn.BatchNorm2d(made)
            elif name.startswith("relu"):
                # Features that are handed out must not be overwritten by the activation that follows.
                layers[name] = nn.ReLU(inplace=next(reversed(layers)) not in layer_name_list)
            else:
                layers[name] = nn.MaxPool2d(2, pooling_stride)
            width = made
        self.vgg_net = nn.Sequential(layers)
        if pretrained and next(self.vgg_net.parameters()).device.type != "meta":
            load_torchvision_weights(self.vgg_net, vgg_type, pretrained_path)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(requires_grad)
        self.train(requires_grad)

    def train(self, mode: bool = True) -> VGGFeatureExtractor:
        """Switches training mode; a frozen extractor stays in evaluation mode."""
        return super().train(mode and self.requires_grad)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features of RGB images ``(B, 3, H, W)``, by layer name.

        Raises:
            ValueError: If the shape is another.
        """
        check_images(x, 3, type(self).__name__)
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        found = {}
        for name, layer in self.vgg_net.named_children():
            x = layer(x)
            if name in self.layer_name_list:
                found[name] = x
        return found


def load_torchvision_weights(net: nn.Sequential, vgg_type: str, path: str | None = None) -> None:
    """Loads torchvision's ImageNet weights into named feature layers.

    Args:
        net: Layers named as by :func:`list_layers`, possibly truncated or without pooling.
        vgg_type: The network that the layers belong to.
        path: File to read; ``None`` searches, see :class:`VGGFeatureExtractor`.

    Raises:
        WeightsError: If the file is missing, unreadable or of another network.
    """
    file = find_vgg_weights(vgg_type, path)
    state = read_weights(file)
    number = {name: index for index, name in enumerate(list_layers(vgg_type))}
    adapted = {}
    for key in net.state_dict():
        layer, _, leaf = key.partition(".")
        for name in (key, f"vgg_net.{key}", f"features.{number[layer]}.{leaf}"):
            if name in state:
                adapted[key] = state[name]
    missing = [key for key in net.state_dict() if key not in adapted and not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"{file} does not hold the weights of {vgg_type}: {missing[0]} is missing")
    try:
        net.load_state_dict(adapted, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{file} does not hold the weights of {vgg_type}: {reason}") from error


def find_vgg_weights(vgg_type: str, path: str | None = None, *, fetches: bool = True) -> Path:
    """The file of a network's weights; looked for as :class:`VGGFeatureExtractor` says.

    Args:
        vgg_type: The network.
        path: The file; it is not looked for elsewhere then.
        fetches: Whether to fetch it.

    Raises:
        NotHereError: If it is not here and not to be fetched.
        WeightsError: If it cannot be had; says where to put it.
    """
    place = os.environ.get(PATH_VARIABLE)
    if path is not None:
        if not Path(path).is_file():
            raise WeightsError(f"VGG weights not found: {path} (pretrained_path); put the file of {vgg_type} there")
        return Path(path)
    if place and not Path(place).exists():
        raise WeightsError(f"{PATH_VARIABLE} names {place}, which does not exist; expected weights or their folder")
    hint = f", or name the file by pretrained_path or the environment variable {PATH_VARIABLE}"
    return obtain(torchvision_weights(vgg_type), Path(place) if place else None, fetches=fetches, hint=hint)
