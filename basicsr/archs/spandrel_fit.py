"""What a network of the package ``spandrel`` needs to be a generator, found out by running it once.

Its class gains :class:`Fitted`, so that parameters keep their names and images may have any size.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.errors import UserError

logger = logging.getLogger("basicsr")


class Fitted(nn.Module):
    """A network of spandrel's that takes images of any size, and what is known about it.

    Images that it does not take are extended at the bottom and on the right, and the result is cropped.

    Attributes:
        architecture: Its name after ``spandrel/``.
        least: Least side of an image that it takes.
        size_multiple: What sides must be divisible by.
        needs_square: Whether images must be square.
        in_channels: Channels of its input, as far as spandrel can tell.
        output_scale: Factor by which it enlarges.
        smallest_batch: Images that a training batch must have.
        has_idle_parameters: Whether it has parameters that training does not reach.
        hyperparameters: Its arguments, defaults included.
        titles: What spandrel calls its architecture, of a network that it has recognised in a file.
    """

    architecture: str
    titles: tuple[str, ...] = ()
    least: int
    size_multiple: int
    needs_square: bool
    in_channels: int
    output_scale: int
    smallest_batch: int
    has_idle_parameters: bool
    hyperparameters: dict[str, Any]

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges (B, C, H, W) to (B, C, H * output_scale, W * output_scale)."""
        height, width = (side * self.output_scale for side in x.shape[-2:])
        extended = self.extend(x)
        # Some networks write into their input.
        return self.run(extended.clone() if extended is x else extended)[..., :height, :width]

    def extend(self, x: Tensor) -> Tensor:
        """Extends (B, C, H, W) to a size that the network takes, as spandrel does.

        It reflects the image, and where more than its own side is missing repeats the last line of the reflection.
        """
        sides = [max(self.least, side + -side % self.size_multiple) for side in x.shape[-2:]]
        if self.needs_square:
            sides = [max(sides)] * 2
        for axis, side in zip((-2, -1), sides, strict=True):
            length = x.shape[axis]
            if side > length:
                position = torch.arange(side, device=x.device)
                reflected = (2 * (length - 1) - position).clamp(min=0)
                x = x.index_select(axis, torch.where(position < length, position, reflected))
        return x

    def run(self, x: Tensor) -> Tensor:
        """Applies the network to an image of a size that it takes, and gives an image in [0, 1]."""
        run = super().forward
        adapt = _ADAPTERS.get(self.architecture)
        output = run(x) if adapt is None else adapt(self, run, x)
        # Beside the image, some give what they found out about it.
        return output if isinstance(output, Tensor) else output[0]


def _add_noise_level(net: Any, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """For denoisers that are told the noise level: a standard deviation of 15 in 255, as spandrel tells them."""
    if getattr(net, "mode", "FDnCNN") != "FDnCNN":
        return run(x)
    return run(torch.cat([x, x.new_full((len(x), 1, *x.shape[-2:]), 15 / 255)], dim=1))


def _run_patches(net: Any, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """For IPT, which takes patches of one size: larger images are put together of overlapping ones."""
    task = net.scale.index(max(net.scale))
    net.set_scale(task)
    if tuple(x.shape[-2:]) == (net.patch_size, net.patch_size):
        return run(x * net.rgb_range) / net.rgb_range
    split = sys.modules["spandrel.architectures.IPT"].Model(net)
    return torch.cat([split.forward(image, task) for image in x.split(1)])


_ADAPTERS: Mapping[str, Callable[[Any, Callable[[Tensor], Tensor], Tensor], Any]] = {
    "DnCNN": _add_noise_level,
    "DRUNet": _add_noise_level,
    "IPT": _run_patches,
    "MixDehazeNet": lambda net, run, x: run(x) * 0.5 + 0.5,
    # In evaluation mode it chooses the experts of a whole batch by its first image.
    "SeemoRe": lambda net, run, x: run(x) if net.training else torch.cat([run(image) for image in x.split(1)]),
}
"""How architectures are run whose own input is not the image, output not in [0, 1], or batch not of any size."""


_LARGE_SCALE = 64
"""Stands for a scale that is not known yet; results are not cropped by it."""


def fit(net: nn.Module, architecture: str, label: str, descriptor: Any = None) -> Fitted:
    """Makes a network of spandrel's a generator: measures it, and has it take images of any size.

    Args:
        net: The network, on the CPU; it becomes a subclass of its class and of :class:`Fitted`.
        architecture: Its name after ``spandrel/``.
        label: What messages call it.
        descriptor: What spandrel says about it; absent: what it would make of the network's weights.

    Raises:
        Exception: Whatever the network raises on an image.
    """
    import spandrel

    kind = type(net)
    net.__class__ = type(kind.__name__, (Fitted, kind), {"__module__": __name__})
    assert isinstance(net, Fitted)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        read = descriptor or _read_back(net)
        needs = read.size_requirements if read else spandrel.SizeRequirements()
        net.architecture, net.in_channels = architecture, read.input_channels if read else 3
        net.least, net.size_multiple, net.needs_square = needs.minimum, needs.multiple_of, needs.square
        net.smallest_batch, net.has_idle_parameters = 1, False
        net.output_scale = _LARGE_SCALE
        if read is None:
            _find_multiple(net)
        _measure(net, label)
        if descriptor is None:
            _compare(net, label, read)
    return net


def _read_back(net: nn.Module) -> Any:
    """What spandrel makes of a network's weights; ``None`` if it does not recognise them."""
    import spandrel

    try:
        return spandrel.MAIN_REGISTRY.load(dict(net.state_dict()))
    except Exception:  # any, where arguments are not what its authors thought of
        return None


@torch.no_grad()
def _find_multiple(net: Fitted) -> None:
    """Finds what sides must be divisible by where spandrel does not say: the least power of two that works."""
    trial = copy.deepcopy(net).eval()
    for multiple in (1, 2, 4, 8, 16, 32, 64):
        trial.size_multiple = multiple
        try:
            outputs = [trial(torch.rand(1, net.in_channels, 17 + multiple, side)) for side in (23 + multiple, 33)]
        except Exception:  # whatever a size that it does not take leads to
            continue
        if len({output.shape[-2] for output in outputs}) == 1:
            net.size_multiple = multiple
            return


def _measure(net: Fitted, label: str) -> None:
    """Finds out on a copy how a network enlarges and trains."""
    trial = copy.deepcopy(net).train()
    side = max(16, net.least)
    images = trial.extend(torch.rand(2, net.in_channels, side, side))
    try:
        output = trial.run(images[:1])
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):  # batch normalisation of one value
            raise
        net.smallest_batch = 2
        output = trial.run(images)
    factors = [made / given for made, given in zip(output.shape[-2:], images.shape[-2:], strict=True)]
    if output.shape[1] != net.in_channels:
        text = f"{label} takes images of {net.in_channels} channels and makes images of {output.shape[1]}"
        raise UserError(f"{text}; change its arguments")
    if factors[0] != factors[1] or factors[0] < 1 or factors[0] % 1:
        made, given = ("x".join(map(str, image.shape[2:])) for image in (output, images))
        raise UserError(f"{label} makes {made} pixels of {given}; change its arguments")
    if not output.requires_grad:
        raise UserError(
            f"{label} makes an image without any of its parameters; change its arguments, e.g. its upsampler"
        )
    net.output_scale = int(factors[0])
    output.mean().backward()
    net.has_idle_parameters = any(p.requires_grad and p.grad is None for p in trial.parameters())


@torch.no_grad()
def _compare(net: Fitted, label: str, read: Any) -> None:
    """Warns if spandrel would not make the same network of the weights."""
    told = "its weights will not open there as they are"
    if read is None:
        logger.warning("spandrel does not recognise %s of these arguments: %s", label, told)
        return
    image = torch.rand(1, net.in_channels, 24, 24)
    outputs: list[Tensor] = []
    for network in (copy.deepcopy(net).eval(), read):
        torch.manual_seed(0)  # for those that draw
        outputs.append(network(image).clamp(0, 1))
    mine, other = outputs
    if mine.shape == other.shape and torch.allclose(mine, other, rtol=1e-6, atol=1e-6):
        return
    theirs = read.model.hyperparameters
    differing = [
        f"{key}: {theirs.get(key)} instead of {value}"
        for key, value in net.hyperparameters.items()
        if not _same(value, theirs.get(key))
    ]
    found = ", ".join(differing) or read.architecture.name
    logger.warning("spandrel reads %s from weights of this %s: %s", found, label, told)


def _same(value: Any, other: Any) -> bool:
    return list(value) == list(other) if isinstance(value, (list, tuple)) and other is not None else value == other
