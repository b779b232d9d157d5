"""Parts that several architectures share: initialisation, residual and upsampling blocks, checks, attention kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.init import trunc_normal_
from torch.nn.modules.batchnorm import _BatchNorm

from basicsr.archs.flow import flow_warp, resize_flow

__all__ = [
    "DropPath",
    "ResidualBlockNoBN",
    "Upsample",
    "check_choice",
    "check_images",
    "check_positive",
    "check_rate",
    "default_init_weights",
    "double_backward",
    "flow_warp",
    "full_precision",
    "make_layer",
    "pixel_unshuffle",
    "resize_flow",
    "to_2tuple",
    "trunc_normal_",
    "wants_double_backward",
]

Module = TypeVar("Module", bound=nn.Module)


# --- what a user may pass ---------------------------------------------------------------------------------------------


def check_positive(**values: int) -> None:
    """Raises ValueError unless every keyword is an integer of at least 1; the keyword is the name in the message."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


def check_rate(**values: float) -> None:
    """Raises ValueError unless every keyword is a probability ``0 <= p < 1``."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and less than 1, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raises ValueError unless ``value`` is one of ``choices``."""
    known = tuple(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")


def check_images(
    x: Tensor,
    channels: int,
    owner: str,
    *,
    size: tuple[int, int] | None = None,
    multiple_of: int = 1,
    minimum: int = 1,
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
    if size is not None and (height != size[0] or width != size[1]):
        raise ValueError(
            f"{owner} expects images of {size[0]}x{size[1]} pixels, got {height}x{width}; "
            "crop the images, or build the network with another img_size"
        )
    if height < minimum or width < minimum or height % multiple_of or width % multiple_of:
        raise ValueError(
            f"{owner} expects height and width of at least {max(minimum, multiple_of)} pixels"
            + (f" and divisible by {multiple_of}" if multiple_of > 1 else "")
            + f", got {height}x{width}"
        )


def to_2tuple(value: Any) -> tuple[int, int]:
    """``(n, n)`` of an integer; a pair passes through.

    Raises:
        ValueError: If the value is neither an integer nor a pair of them.
    """
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, int) for number in pair):
        raise ValueError(f"expected an integer or a pair of integers, got {value!r}")
    return pair


# --- initialisation and stacking --------------------------------------------------------------------------------------


@torch.no_grad()
def default_init_weights(
    module_list: nn.Module | list[nn.Module],
    scale: float = 1,
    bias_fill: float = 0,
    *,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
) -> None:
    """Initialises convolutions and linear layers by Kaiming's normal rule, damped; norms become the identity.

    Args:
        module_list: Modules whose sub-modules are initialised.
        scale: Factor on the weights; residual branches use 0.1 (ESRGAN, arXiv 1809.00219, section 3.1).
        bias_fill: Value of the biases.
        a: Negative slope, see ``torch.nn.init.kaiming_normal_``, as ``mode`` and ``nonlinearity``.
        mode: ``fan_in`` or ``fan_out``.
        nonlinearity: Name of the activation.
    """
    roots = module_list if isinstance(module_list, list) else [module_list]
    for module in (inner for root in roots for inner in root.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, a=a, mode=mode, nonlinearity=nonlinearity)  # type: ignore[arg-type]
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
        ValueError: If the scale is neither 3 nor a power of 2.
    """

    def __init__(self, scale: int, num_feat: int) -> None:
        check_positive(scale=scale, num_feat=num_feat)
        if scale & (scale - 1) and scale != 3:
            raise ValueError(f"scale must be 3 or a power of 2, got {scale}")
        factors = [3] if scale == 3 else [2] * int(math.log2(scale))
        layers: list[nn.Module] = []
        for factor in factors:
            layers += [nn.Conv2d(num_feat, factor * factor * num_feat, 3, 1, 1), nn.PixelShuffle(factor)]
        super().__init__(*layers)


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    """Moves each ``scale`` x ``scale`` square of pixels into channels: ``(B, C, sH, sW) -> (B, C·s², H, W)``.

    Raises:
        ValueError: If height or width is not divisible by ``scale``.
    """
    if x.shape[-2] % scale or x.shape[-1] % scale:
        raise ValueError(f"height and width must be divisible by {scale}, got {x.shape[-2]}x{x.shape[-1]}")
    return F.pixel_unshuffle(x, scale)


class DropPath(nn.Module):
    """Stochastic depth: in training, drops the residual branch of each sample with probability ``drop_prob``.

    Kept branches are divided by ``1 - drop_prob`` (arXiv 1603.09382). Draws from the global generator of the input's
    device, so ``torch.manual_seed`` fixes the result.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        check_rate(drop_prob=drop_prob)
        self.drop_prob = float(drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob:.3f}"


# --- precision and kernels --------------------------------------------------------------------------------------------


@contextmanager
def full_precision(x: Tensor) -> Iterator[None]:
    """Switches autocast off for the device of ``x``."""
    if not torch.amp.is_autocast_available(x.device.type):
        yield
        return
    with torch.autocast(x.device.type, enabled=False):
        yield


@contextmanager
def double_backward() -> Iterator[None]:
    """Within the block, attention is computed by operations that can be differentiated twice.

    The fused kernels behind ``scaled_dot_product_attention`` have a first derivative only; a loss on gradients
    (gradient penalty, R1) needs the plain matrix products. The forward pass must lie within the block. Networks of this
    package enter it by themselves where :func:`wants_double_backward` says so; the block is for cases that it misses,
    such as a loss on gradients through a network whose parameters are frozen.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield


def wants_double_backward(x: Tensor, parameter: Tensor) -> bool:
    """Whether a forward pass looks like that of a gradient penalty: image and parameters both require gradients.

    An ordinary step of a critic differentiates by the parameters alone, and a generator's step, with its critics
    frozen, by the image alone; both then keep the fused kernels.
    """
    return torch.is_grad_enabled() and x.requires_grad and parameter.requires_grad
