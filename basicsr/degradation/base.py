"""Degradations: parts that turn a batch of GT images into training pairs (GT, LQ), and what they have in common.

A new degradation needs one file: a subclass of :class:`Degradation`, registered in ``DEGRADATION_REGISTRY`` under the
name that option files write as ``type:``. Its options are the keyword arguments of its constructor: their annotations
say what they can be (see :mod:`basicsr.utils.fields`), their defaults stand nowhere else, and the ``Args:`` of its
docstring are their documentation. The degradations of this package are dataclasses, whose constructors are made from
their fields.
"""

# No `from __future__ import annotations` in the files of degradations: fields that a class inherits must not be looked
# up by name in the module of the class that inherits them.
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal

import torch

from basicsr.degradation.parameters import DegradationParameters, DrawT, NoiseDraw, Uniforms
from basicsr.degradation.windows import cut_windows, send
from basicsr.processing.diffjpeg import DiffJPEG
from basicsr.utils.batch import Batch
from basicsr.utils.errors import ArgumentError
from basicsr.utils.fields import PositiveInt
from basicsr.utils.parts import check_arguments
from basicsr.utils.registry import DEGRADATION_REGISTRY

Loaded = Mapping[str, torch.Tensor]
NoiseSeeds = Sequence[tuple[int, int]]
"""For each noise, an image's own key and that which it shares with its batch."""


class Degradation:
    """Base of all degradations; its constructor refuses what the annotations of a subclass do not allow.

    Attributes:
        queue_size: Pairs in the pool that mixes degradations within a batch, or None. The model makes the pool.

    Raises:
        ValueError: If an option is wrong; the message begins with its name.
    """

    queue_size: int | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"gt"})
    """What a sample of the training set must hold."""

    def __new__(cls, **options: Any) -> "Degradation":
        check_arguments(cls, options)
        return super().__new__(cls)

    def __call__(self, batch: Loaded, generator: torch.Generator) -> Batch:
        """Makes training pairs.

        Args:
            batch: ``gt`` (B, 3, H, W) RGB in [0, 1] on any device, and what else the data set supplies, such as blur
                kernels (B, k, k), k odd.
            generator: CPU generator that all decisions and keys are drawn from.

        Returns:
            GT and LQ on the device of ``gt``, LQ rounded to 8 bit.
        """
        raise NotImplementedError


@DEGRADATION_REGISTRY.register(name="Paired")
@dataclass(kw_only=True, eq=False)
class PairedDegradation(Degradation):
    """No degradation: the data set supplies both images.

    Args:
        scale: Ratio of the two sizes, for the check of shapes.
    """

    scale: PositiveInt = 1

    def __call__(self, batch: Loaded, generator: torch.Generator | None = None) -> Batch:
        """Returns ``batch['gt']`` and ``batch['lq']``; draws nothing.

        Raises:
            ValueError: If the sizes do not have the ratio ``scale``.
        """
        gt, lq = batch["gt"], batch["lq"]
        if list(gt.shape[-2:]) != [size * self.scale for size in lq.shape[-2:]]:
            raise ValueError(f"GT {tuple(gt.shape)} is not LQ {tuple(lq.shape)} times scale {self.scale}")
        return Batch(gt, lq)


@dataclass(kw_only=True, eq=False)
class DrawnDegradation(Degradation, Generic[DrawT]):
    """A degradation in two halves: drawing parameters on the CPU, and applying them on any device.

    Args:
        scale: Reduction, a positive integer.
        gt_size: Side in pixels of the GT crop that is trained on, a multiple of ``scale``; absent: whole images.
        queue_size: Pairs in the pool that mixes degradations within a batch; divisible by the batch size. Absent, or
            with ``gate: sample``: no pool.
        gate: ``batch``: one draw for a batch (published; use a pool), ``sample``: one for each image.
    """

    scale: PositiveInt
    gt_size: PositiveInt | None = None
    queue_size: PositiveInt | None = None
    gate: Literal["batch", "sample"] = "batch"

    DECISIONS: ClassVar[Sequence[str]]
    """What is drawn for an image, ``top`` and ``left`` among them, in the order of the draws."""
    IMAGE_DECISIONS: ClassVar[Sequence[str]] = ("strength", "gray", "quality", "strength2", "gray2", "quality2")
    """Those that `gate: batch` draws for each image, too; it draws the others once for a batch."""
    NOISES: ClassVar[int] = 1
    """How often noise is added."""

    def __post_init__(self) -> None:
        if self.gt_size is not None and self.gt_size % self.scale:
            message = f"gt_size: must be a positive multiple of scale {self.scale}, got {self.gt_size}"
            raise ArgumentError("gt_size", message)
        if self.gate == "sample":
            # Every image draws for itself, so that batches are mixed without a pool.
            self.queue_size = None
        self._jpeg = DiffJPEG(differentiable=False)

    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> DegradationParameters[DrawT]:
        """Draws for ``count`` GT images of ``height`` x ``width`` pixels.

        Raises:
            ValueError: If the images are smaller than ``gt_size`` (or ``scale``).
        """
        smallest = self.gt_size or self.scale
        if min(height, width) < smallest:
            raise ValueError(f"gt_size: images of {height}x{width} are smaller than the crop of {smallest}")
        rows, columns = ((self.gt_size or size) // self.scale for size in (height, width))
        spread = height // self.scale - rows + 1, width // self.scale - columns + 1

        # All numbers are drawn whether they are used or not, so that one option does not move the draws of another.
        table = torch.rand(count, len(self.DECISIONS), dtype=torch.float64, generator=generator)
        keys = torch.randint(0, 2**62, ((count + 1) * self.NOISES,), generator=generator)
        if self.gate == "batch":
            # All images take the first one's number.
            shared = [column for column, name in enumerate(self.DECISIONS) if name not in self.IMAGE_DECISIONS]
            table[:, shared] = table[:1, shared]

        samples = []
        *seeds, batch_seeds = keys.view(count + 1, self.NOISES).tolist()
        for numbers, own_seeds in zip(table.tolist(), seeds, strict=True):
            uniforms = Uniforms(zip(self.DECISIONS, numbers))
            place = uniforms.below("top", spread[0]), uniforms.below("left", spread[1])
            samples.append(self._draw_sample(place, uniforms, list(zip(own_seeds, batch_seeds))))
        return DegradationParameters(rows, columns, tuple(samples))

    @torch.no_grad()
    def apply(self, batch: Loaded, parameters: DegradationParameters[DrawT], whole: bool | None = None) -> Batch:
        """Degrades a batch with given parameters; draws nothing.

        Args:
            batch: As for calling.
            parameters: From :meth:`draw` for images of this size.
            whole: Degrade whole images and crop at the end, even where a part suffices; by default on a GPU, where
                the number of operations counts and not that of pixels. The result is the same to rounding error.

        Returns:
            GT (B, 3, gt_size, gt_size), LQ, and sharpened GT where the degradation makes it.

        Raises:
            ValueError: If the parameters are of another batch size, GT is not RGB, or a kernel that is needed is
                missing or has no odd square shape.
        """
        gt, count = batch["gt"], len(parameters)
        whole = gt.is_cuda if whole is None else whole
        if gt.ndim != 4 or gt.shape[1] != 3:
            raise ValueError(f"gt: expected RGB images (B, 3, H, W), got {tuple(gt.shape)}")
        if others := {len(value) for value in batch.values()} - {count}:
            raise ValueError(f"parameters of {count} images do not fit a batch of {others.pop()}")
        # Degrade images that go through the same steps together.
        groups: dict[Hashable, list[int]] = {}
        for number, sample in enumerate(parameters.samples):
            groups.setdefault(self._steps(sample), []).append(number)
        with torch.autocast(gt.device.type, enabled=False):
            sharp = self._sharpen_gt(gt)
            source = {**batch, "gt": gt if sharp is None else sharp}
            lq = gt.new_empty(count, 3, parameters.height, parameters.width)
            for members in groups.values():
                if len(members) == count:
                    lq = self._degrade(source, parameters, whole)
                    break
                index = send(members, torch.int64, gt.device)
                group = {name: value.index_select(0, index) for name, value in source.items()}
                lq[index] = self._degrade(group, parameters.select(members), whole)
        # Cut GT to what was kept.
        kept = parameters.windows.scaled(self.scale)
        sharp = None if sharp is None else cut_windows(sharp, kept).contiguous()
        return Batch(cut_windows(gt, kept).contiguous(), lq, sharp)

    def __call__(self, batch: Loaded, generator: torch.Generator) -> Batch:
        count, _, height, width = batch["gt"].shape
        return self.apply(batch, self.draw(count, height, width, generator))

    def _draw_sample(self, place: tuple[int, int], uniforms: Uniforms, seeds: NoiseSeeds) -> DrawT:
        """Draws for one image.

        Args:
            place: First row and column of the kept part, in low-resolution pixels.
            uniforms: The image's random number for each decision.
            seeds: The image's keys of noise.
        """
        raise NotImplementedError

    def _degrade(self, batch: Loaded, parameters: DegradationParameters[DrawT], whole: bool) -> torch.Tensor:
        """LQ crops of images that go through the same steps."""
        raise NotImplementedError

    def _steps(self, draw: DrawT) -> Hashable:
        """What images must have in common to be degraded together."""
        raise NotImplementedError

    def _sharpen_gt(self, gt: torch.Tensor) -> torch.Tensor | None:
        """GT sharpened for degrading, or None to degrade it as it is."""
        return None

    def _draw_noise(self, uniforms: Uniforms, seeds: tuple[int, int], suffix: str = "") -> NoiseDraw:
        """Draws noise for one image, by the options and decisions whose names end in ``suffix``."""
        is_gaussian = uniforms["noise_kind" + suffix] < getattr(self, "gaussian_noise_prob" + suffix)
        kind, bounds = ("gaussian", "noise_range") if is_gaussian else ("poisson", "poisson_scale_range")
        gray = uniforms["gray" + suffix] < getattr(self, "gray_noise_prob" + suffix)
        # As published, all gray Gaussian noise of a batch is one field.
        shared = gray and is_gaussian and self.gate == "batch"
        strength = uniforms.within("strength" + suffix, getattr(self, bounds + suffix))
        return NoiseDraw(kind, strength, gray, seeds[shared])

    def _code(self, x: torch.Tensor, qualities: Sequence[float | None]) -> torch.Tensor:
        return self._jpeg.to(x.device)(x, send(qualities, x.dtype, x.device))


def take_kernels(batch: Loaded, name: str) -> torch.Tensor:
    """Blur kernels (B, k, k) of a batch.

    Raises:
        ValueError: If the batch has no such kernels, or they have no odd square shape.
    """
    if name not in batch:
        raise ValueError(f"{name}: not in the batch; the data set must supply it (it has {', '.join(batch)})")
    count, shape = batch["gt"].shape[0], tuple(batch[name].shape)
    if len(shape) != 3 or shape[1] != shape[2] or shape[2] % 2 == 0:
        raise ValueError(f"{name}: expected ({count}, k, k) with k odd, got {shape}")
    return batch[name]
