"""What enlarges pictures: one network or the mean of several, on its device, in its precision, for gray and colour."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basicsr.analysis.generators import Network, find_weights_file, load_network
from basicsr.evaluation.tiling import size_multiple
from basicsr.utils.batch import image_of, to_floats
from basicsr.utils.errors import UserError, WeightsError
from basicsr.weights.interpolation import interpolate

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AVERAGES = ("outputs", "weights")


class Ensemble(nn.Module):
    """The mean of what networks make of an image.

    Gray images pass a network of colours as three equal channels, whose mean is taken; colours pass a network of gray
    one by one.

    Args:
        nets: Networks of one scale.
        device: Where they run; images may come from elsewhere.
        precision: A key of :data:`PRECISIONS`. What is not finite in less than 32 bits is made again with them.
        tta: Average over the eight flips and transposes of the image, too (Lim et al., "Enhanced Deep Residual Networks
            for Single Image Super-Resolution", CVPRW 2017, section 3.3).

    Attributes:
        size_multiple: What sides of images must be divisible by.
        scale: The factor.
        label: What messages call it.
    """

    def __init__(
        self, nets: Sequence[Network], device: torch.device, precision: str = "fp32", tta: bool = False
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleList(network.net for network in nets)
        self.channels = [network.channels for network in nets]
        self.scale = nets[0].scale
        self.label = " + ".join(type(network.net).__name__ for network in nets)
        self.size_multiple = math.lcm(*(size_multiple(network.net) for network in nets))
        self.device, self.precision, self.tta = device, precision, tta

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges (B, C, H, W), with C 1 or 3, to (B, C, H * scale, W * scale), float32 on the device.

        Values are in [0, 1], or of uint8 or uint16: a large picture keeps its depth, and only its tiles are converted.
        """
        x = to_floats(x.to(self.device)).to(torch.float32, memory_format=torch.contiguous_format)
        if self.precision == "fp32":
            return self._average(x)
        with torch.autocast(self.device.type, PRECISIONS[self.precision]):
            made = self._average(x)
        # A number too large for 16 bits must not become a black tile.
        return made if bool(made.isfinite().all()) else self._average(x)

    def fingerprint(self) -> str:
        """A digest of all that results depend on, but for rounding: weights, precision, flips."""
        hasher = hashlib.sha256(f"{self.label} {self.precision} {self.tta}".encode())
        for name, tensor in self.state_dict().items():
            hasher.update(name.encode())
            hasher.update(tensor.detach().float().cpu().contiguous().numpy().data)
        return hasher.hexdigest()

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Computes in 32 bits meanwhile."""
        precision, self.precision = self.precision, "fp32"
        try:
            yield
        finally:
            self.precision = precision

    def _average(self, x: Tensor) -> Tensor:
        total, turns = None, [(transposed, axes) for transposed in (False, True) for axes in ((), (2,), (3,), (2, 3))]
        turns = turns if self.tta else turns[:1]
        for net, channels in zip(self.nets, self.channels):
            for transposed, axes in turns:
                turned = x.flip(axes) if axes else x
                made = _run(net, channels, turned.mT.contiguous() if transposed else turned)
                made = (made.mT if transposed else made).flip(axes) if axes or transposed else made
                total = made if total is None else total.add_(made)
        assert total is not None
        count = len(self.nets) * len(turns)
        return total if count == 1 else total.div_(count)


def _run(net: nn.Module, channels: int, x: Tensor) -> Tensor:
    """What a network of so many channels makes of an image of 1 or 3, float32."""
    given = x.shape[1]
    if channels == given:
        return image_of(net(x)).float()
    if channels == 3:
        return image_of(net(x.expand(-1, 3, -1, -1))).float().mean(1, keepdim=True)
    made = image_of(net(x.flatten(0, 1)[:, None])).float()
    return made.unflatten(0, (-1, given)).squeeze(2)


def load_ensemble(
    models: Sequence[str], device: torch.device, precision: str = "fp32", average: str = "outputs", tta: bool = False
) -> Ensemble:
    """Loads models by what a command line calls them; see :func:`~basicsr.analysis.generators.find_weights_file`.

    Args:
        models: At least one; all of one scale.
        device: Where they run.
        precision: A key of :data:`PRECISIONS`.
        average: Whether several are averaged in their ``outputs``, or in their ``weights`` beforehand.
        tta: As for :class:`Ensemble`.

    Raises:
        UserError: If their scales differ.
        WeightsError: If one is missing or cannot be read or, to be averaged in weights, is of another architecture.
    """
    nets = [load_network(find_weights_file(model), device=device) for model in models]
    if len({network.scale for network in nets}) > 1:
        scales = ", ".join(f"{model}: {network.scale}" for model, network in zip(models, nets))
        raise UserError(f"models that are averaged must have one scale, got {scales}")
    if average == "weights" and len(nets) > 1:
        nets = [_average_weights(nets, models)]
    return Ensemble(nets, device, precision, tta)


def _average_weights(nets: Sequence[Network], models: Sequence[str]) -> Network:
    """The first network with the mean of all weights."""
    first, mean = nets[0], nets[0].net.state_dict()
    for index, (network, model) in enumerate(zip(nets[1:], models[1:]), start=1):
        mean = interpolate(mean, network.net.state_dict(), 1 / (index + 1), (models[0], model))
    try:
        first.net.load_state_dict(mean)
    except RuntimeError as error:
        raise WeightsError(f"the mean of {', '.join(models)} does not fit their architecture: {error}") from error
    return first
