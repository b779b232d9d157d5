"""Features of Inception v3 (arXiv 1512.00567), by default of the form, and with the weights, of FID."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception as torchvision_inception

from basicsr.archs.arch_util import check_images
from basicsr.utils.errors import ArgumentError
from basicsr.weights import load_weights, read_weights
from basicsr.weights.features import FID_INCEPTION, torchvision_weights
from basicsr.weights.obtaining import obtain

FID_WEIGHTS_URL = FID_INCEPTION.url

_INPUT_SIZE = (299, 299)
_STAGES = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool"),
)
"""Layers of each block by torchvision's names."""


class InceptionV3(nn.Module):
    """The four blocks of the network, whose features have 64, 192, 768 and 2048 channels.

    Args:
        output_blocks: Indices from 0 of the blocks whose features are returned; later blocks are not built.
        resize_input: Resize images to 299x299, bilinearly.
        normalize_input: Bring images from [0, 1] to [-1, 1], which the network expects.
        requires_grad: Train the weights.
        use_fid_inception: The network of TensorFlow's FID (Heusel et al., NeurIPS 2017), whose pooling differs;
            otherwise torchvision's, trained on ImageNet.

    Raises:
        ArgumentError: If there is no such block.
        WeightsError: If the weights cannot be had; the message names the file and where to put it.
    """

    DEFAULT_BLOCK_INDEX = 3
    BLOCK_INDEX_BY_DIM: ClassVar[dict[int, int]] = {64: 0, 192: 1, 768: 2, 2048: 3}

    def __init__(
        self,
        output_blocks: Sequence[int] = (DEFAULT_BLOCK_INDEX,),
        resize_input: bool = True,
        normalize_input: bool = True,
        requires_grad: bool = False,
        use_fid_inception: bool = True,
    ) -> None:
        super().__init__()
        if not output_blocks or not set(output_blocks) <= set(range(len(_STAGES))):
            message = f"output_blocks must be some of 0 to {len(_STAGES) - 1}, got {list(output_blocks)}"
            raise ArgumentError("output_blocks", message)
        self.output_blocks = sorted(output_blocks)
        self.last_needed_block = self.output_blocks[-1]
        self.resize_input = resize_input
        self.normalize_input = normalize_input
        net = fid_inception_v3() if use_fid_inception else _build_imagenet_inception()
        stages = _STAGES[: self.last_needed_block + 1]
        self.blocks = nn.ModuleList(nn.Sequential(*(getattr(net, name) for name in stage)) for stage in stages)
        self.requires_grad_(requires_grad)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of RGB images (B, 3, H, W), one (B, C, h, w) per output block, in order; the last has h = w = 1."""
        check_images(x, 3, type(self).__name__)
        if self.resize_input:
            x = F.interpolate(x, _INPUT_SIZE, mode="bilinear", align_corners=False)
        if self.normalize_input:
            x = 2 * x - 1
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.output_blocks:
                found.append(x)
        return found


def fid_inception_v3() -> nn.Module:
    """Inception v3 as TensorFlow's FID has it, with its weights and 1008 classes.

    Raises:
        WeightsError: If the weights cannot be had.
    """
    tv = torchvision_inception
    blocks = [tv.BasicConv2d, _FIDInceptionA, tv.InceptionB, _FIDInceptionC, tv.InceptionD, _FIDInceptionE]
    net = tv.Inception3(1008, aux_logits=False, inception_blocks=[*blocks, tv.InceptionAux], init_weights=False)
    # The last block takes the maximum: a slip of that network, which all published distances share.
    net.Mixed_7c.pool = F.max_pool2d
    file = obtain(FID_INCEPTION)
    load_weights(net, read_weights(file), source=str(file))
    return net


def _build_imagenet_inception() -> nn.Module:
    net = torchvision_inception.Inception3(init_weights=False)
    file = obtain(torchvision_weights("inception_v3"))
    load_weights(net, read_weights(file), source=str(file))
    return net


class _FIDPooling(nn.Module):
    """Replaces the pooling in the last branch of a block by one whose means leave the padding out."""

    pool = staticmethod(partial(F.avg_pool2d, count_include_pad=False))
    branch_pool: nn.Module

    def _forward(self, x: Tensor) -> list[Tensor]:
        *branches, _ = super()._forward(x)  # type: ignore[misc]
        return [*branches, self.branch_pool(self.pool(x, kernel_size=3, stride=1, padding=1))]


class _FIDInceptionA(_FIDPooling, torchvision_inception.InceptionA): ...


class _FIDInceptionC(_FIDPooling, torchvision_inception.InceptionC): ...


class _FIDInceptionE(_FIDPooling, torchvision_inception.InceptionE): ...
