"""Parts that several architectures share: initialisation, residual and upsampling blocks, attention kernels, flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.init import trunc_normal_ as trunc_normal_
from torch.nn.modules.batchnorm import _BatchNorm

from basicsr.utils.errors import ArgumentError, check_positive

NEGATIVE_SLOPE = 0.2
"""Of leaky ReLU in ESRGAN's networks and SwinIR's upsampling."""

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Means of R, G, B over DIV2K."""


# --- what a user may pass ---------------------------------------------------------------------------------------------


def check_images(
    x: Tensor, channels: int, owner: str, *, size: tuple[int, int] | None = None, multiple_of: int = 1, minimum: int = 1
) -> None:
    """Raises ValueError unless ``x`` is a batch of images that a network can take.

    Args:
        x: What the network was given.
        channels: Expected number of channels.
        owner: Name of the network, for the message.
        size: Expected height and width in pixels, if the network is built for one size.
        multiple_of: Number that height and width must be divisible by.
        minimum: Smallest height and width in pixels.
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"{owner} expects images of shape (B, {channels}, H, W), got {tuple(x.shape)}")
    height, width = x.shape[-2:]
    if size is not None and (height, width) != size:
        advice = "crop the images, or build the network with another img_size"
        raise ValueError(f"{owner} expects images of {size[0]}x{size[1]} pixels, got {height}x{width}; {advice}")
    if height < minimum or width < minimum or height % multiple_of or width % multiple_of:
        rule = f"at least {max(minimum, multiple_of)} pixels"
        rule += f" and divisible by {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(f"{owner} expects height and width of {rule}, got {height}x{width}")


def to_2tuple(value: Any, argument: str = "value") -> tuple[int, int]:
    """``(n, n)`` of an integer; a pair passes through.

    Raises:
        ArgumentError: If the value, given for ``argument``, is neither an integer nor a pair of them.
    """
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, int) for number in pair):
        raise ArgumentError(argument, f"expected an integer or a pair of integers, got {value!r}")
    return pair


def channel_mean(rgb_mean: Sequence[float], channels: int) -> Tensor:
    """``rgb_mean`` as (1, 3, 1, 1), to be subtracted from images; zeros (1, C, 1, 1) for other than three channels.

    Raises:
        ArgumentError: If there are not three means.
    """
    if len(rgb_mean) != 3:
        raise ArgumentError("rgb_mean", f"rgb_mean must be three numbers, got {list(rgb_mean)}")
    mean = torch.tensor(rgb_mean) if channels == 3 else torch.zeros(channels)
    return mean.view(1, -1, 1, 1)


# --- initialisation and stacking --------------------------------------------------------------------------------------


@torch.no_grad()
def default_init_weights(
    module_list: nn.Module | list[nn.Module], scale: float = 1, bias_fill: float = 0, **kwargs: Any
) -> None:
    """Initialises convolutions and linear layers by Kaiming's normal rule, damped; norms become the identity.

    Args:
        module_list: Modules whose sub-modules are initialised.
        scale: Factor on the weights; residual branches use 0.1 (ESRGAN, arXiv 1809.00219, section 3.1).
        bias_fill: Value of the biases.
        **kwargs: ``a``, ``mode`` and ``nonlinearity`` of ``torch.nn.init.kaiming_normal_``.
    """
    roots = module_list if isinstance(module_list, list) else [module_list]
    for module in (inner for root in roots for inner in root.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, **kwargs)
            module.weight.mul_(scale)
        elif isinstance(module, _BatchNorm):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.constant_(module.bias, bias_fill)


def make_layer(basic_block: Callable[..., nn.Module], num_basic_block: int, **kwarg: Any) -> nn.Sequential:
    """``num_basic_block`` blocks in a row, each built as ``basic_block(**kwarg)``."""
    return nn.Sequential(*(basic_block(**kwarg) for _ in range(num_basic_block)))


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of :data:`NEGATIVE_SLOPE`, in place."""
    return F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True)


def convolve_enlarged(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``conv`` of ``x`` after nearest-neighbour enlargement by 2: ``(B, C, H, W)`` to ``(B, C', 2·H, 2·W)``.

    A convolution of repeated pixels is a transposed one of stride 2, whose kernel sums the weights that meet the same
    pixel. It takes 4/9 of the multiplications for kernels of 3, and never makes the enlarged map.

    Args:
        x: Features.
        conv: A convolution of odd kernel size with stride 1 that keeps the size. One that others have replaced, wrapped
            or hooked is called as it is.
    """
    if type(conv) is not nn.Conv2d or conv._forward_hooks or conv._forward_pre_hooks:
        return cast(Tensor, conv(F.interpolate(x, scale_factor=2, mode="nearest")))
    # Sums of the weights in every window of 2x2, with zeros around.
    kernel = 4 * F.avg_pool2d(conv.weight.transpose(0, 1).flip(2, 3), 2, 1, padding=1)
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=conv.kernel_size[0] // 2)


# --- blocks -----------------------------------------------------------------------------------------------------------


class ResidualBlockNoBN(nn.Module):
    """``x + res_scale · conv(relu(conv(x)))`` (EDSR, arXiv 1707.02921).

    Args:
        num_feat: Number of channels.
        res_scale: Factor of the residual branch.
        pytorch_init: Keep PyTorch's initialisation instead of the damped Kaiming one.
    """

    def __init__(self, num_feat: int = 64, res_scale: float = 1, pytorch_init: bool = False) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True)
        if not pytorch_init:
            default_init_weights([self.conv1, self.conv2], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.conv2(self.relu(self.conv1(x))), alpha=self.res_scale)


class Upsample(nn.Sequential):
    """Convolutions and pixel shuffles that enlarge features by 3 or a power of 2.

    Args:
        scale: Factor.
        num_feat: Number of channels, before and after.

    Raises:
        ArgumentError: If the scale is neither 3 nor a power of 2.
    """

    def __init__(self, scale: int, num_feat: int) -> None:
        layers: list[nn.Module] = []
        for factor in split_scale("scale", scale):
            layers += [nn.Conv2d(num_feat, factor * factor * num_feat, 3, 1, 1), nn.PixelShuffle(factor)]
        super().__init__(*layers)


def split_scale(argument: str, scale: int) -> list[int]:
    """The steps by which a network enlarges: one of 3, or as many of 2 as the scale has.

    Raises:
        ArgumentError: If the scale, given for ``argument``, is neither 3 nor a power of 2.
    """
    check_positive(**{argument: scale})
    if scale == 3:
        return [3]
    if scale & (scale - 1):
        raise ArgumentError(argument, f"{argument} must be 3 or a power of 2, got {scale}")
    return [2] * (scale.bit_length() - 1)


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    """Moves each ``scale`` x ``scale`` square of pixels into channels: ``(B, C, sH, sW) -> (B, C·s², H, W)``.

    Raises:
        ValueError: If height or width is not divisible by ``scale``.
    """
    if x.shape[-2] % scale or x.shape[-1] % scale:
        raise ValueError(f"height and width must be divisible by {scale}, got {x.shape[-2]}x{x.shape[-1]}")
    return F.pixel_unshuffle(x, scale)


# --- precision and kernels --------------------------------------------------------------------------------------------


def double_backward() -> AbstractContextManager[None]:
    """Within the block, attention is computed by operations that can be differentiated twice.

    The fused kernels behind ``scaled_dot_product_attention`` have a first derivative only; a loss on gradients
    (gradient penalty, R1) needs the plain matrix products. The forward pass must lie within the block. Networks of this
    package enter it by themselves where image and parameters both require gradients; the block is for cases that this
    misses, such as a loss on gradients through a network whose parameters are frozen.
    """
    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def single_backward() -> Iterator[None]:
    """Within the block no loss on gradients is computed, although image and parameters both require gradients.

    Networks of this package keep the fused attention kernels then.
    """
    global _is_single_backward
    outer, _is_single_backward = _is_single_backward, True
    try:
        yield
    finally:
        _is_single_backward = outer


_is_single_backward = False


def needs_double_backward(x: Tensor, parameter: Tensor) -> bool:
    """Whether a pass over images ``x`` may be differentiated twice: both require gradients, as for a penalty."""
    both = x.requires_grad and parameter.requires_grad and torch.is_grad_enabled()
    return both and not _is_single_backward


# --- optical flow -----------------------------------------------------------------------------------------------------


def flow_warp(
    x: Tensor, flow: Tensor, interp_mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = True
) -> Tensor:
    """Fetches every pixel from where the flow points to.

    Args:
        x: (B, C, H, W), an image or features.
        flow: (B, H, W, 2): how far to the right and how far down, in pixels.
        interp_mode: ``nearest``, ``bilinear`` or ``bicubic``.
        padding_mode: What lies outside the image: ``zeros``, ``border`` or ``reflection``.
        align_corners: Where the image ends for ``padding_mode``: at the centres of its outer pixels, or at their edges.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: If the sizes differ.
    """
    expected = (x.shape[0], *x.shape[2:], 2)
    if flow.shape != expected:
        raise ValueError(f"flow_warp: images {tuple(x.shape)} need a flow of {expected}, got {tuple(flow.shape)}")
    scaled = []
    # The sampling grid runs from -1 to 1, from left to right and from top to bottom.
    for axis, side in enumerate((x.shape[3], x.shape[2])):
        start = torch.arange(side, device=flow.device, dtype=flow.dtype)
        place = flow[..., axis] + (start if axis == 0 else start[:, None])
        scaled.append(place * (2 / max(side - 1, 1)) - 1 if align_corners else (2 * place + 1) / side - 1)
    return F.grid_sample(x, torch.stack(scaled, -1).to(x.dtype), interp_mode, padding_mode, align_corners)


def resize_flow(
    flow: Tensor, size_type: str, sizes: Sequence[float], interp_mode: str = "bilinear", align_corners: bool = False
) -> Tensor:
    """Resizes a flow, and its displacements with it.

    Args:
        flow: (B, 2, H, W): how far to the right and how far down, in pixels.
        size_type: What ``sizes`` means: ``ratio`` or ``shape``.
        sizes: Factors for height and width, or the new height and width.
        interp_mode: A mode of ``torch.nn.functional.interpolate``.
        align_corners: As there.

    Returns:
        (B, 2, new height, new width).

    Raises:
        ValueError: If ``size_type`` is neither.
    """
    if size_type not in ("ratio", "shape"):
        raise ValueError(f"size_type must be 'ratio' or 'shape', got {size_type!r}")
    height, width = flow.shape[-2:]
    units = (height, width) if size_type == "ratio" else (1, 1)
    new_height, new_width = (int(unit * size) for unit, size in zip(units, sizes))
    factors = flow.new_tensor([new_width / width, new_height / height]).view(1, 2, 1, 1)
    return F.interpolate(flow * factors, (new_height, new_width), mode=interp_mode, align_corners=align_corners)
