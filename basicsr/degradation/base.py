"""What all degradations that draw have in common."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from basicsr.degradation.checks import check_crop, check_gate
from basicsr.degradation.pair import DegradedPair
from basicsr.degradation.parameters import DegradationParameters
from basicsr.degradation.windows import Windows
from basicsr.utils.diffjpeg import DiffJPEG


class DrawnDegradation:
    """A degradation in two halves: drawing parameters on the CPU, and applying them on any device.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side of the kept GT crop in pixels, a multiple of ``scale``; None keeps whole images.
        gate: ``batch`` or ``sample``.
    """

    def __init__(self, scale: int, gt_size: int | None, gate: str) -> None:
        check_crop(gt_size, scale)
        check_gate(gate)
        self.scale = scale
        self.gt_size = gt_size
        self.gate = gate
        self._jpeg = DiffJPEG(differentiable=False)

    def draw(self, batch_size: int, height: int, width: int, generator: torch.Generator) -> DegradationParameters:
        """Draws for a batch of GT images of ``height`` x ``width`` pixels."""
        raise NotImplementedError

    def apply(self, batch: Mapping[str, torch.Tensor], parameters: DegradationParameters) -> DegradedPair:
        """Degrades a batch with given parameters; draws nothing."""
        raise NotImplementedError

    def __call__(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator) -> DegradedPair:
        """Draws and applies.

        Args:
            batch: ``gt`` (B, 3, H, W) RGB in [0, 1] on any device, and blur kernels (B, k, k), k odd.
            generator: CPU generator that all decisions and keys are drawn from.

        Returns:
            GT (B, 3, gt_size, gt_size) and LQ, rounded to 8 bit.
        """
        count, _, height, width = batch["gt"].shape
        return self.apply(batch, self.draw(count, height, width, generator))

    def _crop_freedom(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Size of the kept part and number of its possible places, in low-resolution pixels.

        Raises:
            ValueError: If the images are too small.
        """
        smallest = self.gt_size or self.scale
        if min(height, width) < smallest:
            raise ValueError(f"gt_size: images of {height}x{width} are smaller than the crop of {smallest}")
        low_height, low_width = height // self.scale, width // self.scale
        if self.gt_size is None:
            return (low_height, low_width), (1, 1)
        side = self.gt_size // self.scale
        return (side, side), (low_height - side + 1, low_width - side + 1)

    def _code(self, x: torch.Tensor, qualities: torch.Tensor) -> torch.Tensor:
        return self._jpeg.to(x.device)(x, qualities)


def check_batch(batch: Mapping[str, torch.Tensor], parameters: DegradationParameters, kernels: Sequence[str]) -> None:
    """Checks that a batch and parameters fit.

    Raises:
        ValueError: If the numbers of images differ, GT is not RGB, or a kernel is missing or has no odd square shape.
    """
    gt = batch["gt"]
    if gt.ndim != 4 or gt.shape[1] != 3:
        raise ValueError(f"gt: expected RGB images (B, 3, H, W), got {tuple(gt.shape)}")
    if len(parameters) != gt.shape[0]:
        raise ValueError(f"parameters of {len(parameters)} images do not fit a batch of {gt.shape[0]}")
    for name in kernels:
        if name not in batch:
            raise ValueError(f"{name}: not in the batch; the data set must supply it (it has {', '.join(batch)})")
        shape = tuple(batch[name].shape)
        if len(shape) != 3 or shape[0] != gt.shape[0] or shape[1] != shape[2] or shape[2] % 2 == 0:
            raise ValueError(f"{name}: expected ({gt.shape[0]}, k, k) with k odd, got {shape}")


def windows_of(parameters: DegradationParameters, images: Sequence[int]) -> Windows:
    """The kept windows of some images, in low-resolution pixels."""
    tops = tuple(parameters.samples[image].top for image in images)
    lefts = tuple(parameters.samples[image].left for image in images)
    return Windows(tops, lefts, parameters.height, parameters.width)


def group_alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """Indices of equal keys, together: images that go through the same steps."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())
