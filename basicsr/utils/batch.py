"""The images of a training step, in one bundle from the degradation to the losses; and copies that the host need not
wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor


@dataclass
class Batch:
    """Images (B, C, H, W) in [0, 1], as far as they are known.

    Attributes:
        gt: Ground truth, as the critics see it.
        lq: Input of the generator, (B, C, H / scale, W / scale).
        gt_usm: Sharpened ground truth (Real-ESRGAN).
        gt_pixel: What pixel losses compare with where it is not ``gt``.
        gt_perceptual: What perceptual losses compare with where it is not ``gt``.
        detail_mask: (B, 1, H, W), 0 where the image is flat, for runs that hide flat regions from the critics.
        sr: Output of the generator, with its graph while the generator trains.
        gradient_branch: Output of a gradient branch (SPSR).
        ema_sr: Output of the averaged generator, without a graph.
        gt_path: Files of the images, in order.
        lq_antialiased: Whether LQ was reduced with antialiasing, as MATLAB does, or without, as gated degradations do.
    """

    gt: Tensor
    lq: Tensor | None = None
    gt_usm: Tensor | None = None
    gt_pixel: Tensor | None = None
    gt_perceptual: Tensor | None = None
    detail_mask: Tensor | None = None
    sr: Tensor | None = None
    gradient_branch: Tensor | None = None
    ema_sr: Tensor | None = None
    gt_path: Sequence[str] | None = None
    lq_antialiased: bool = True

    def require(self, name: str, option: str) -> Tensor:
        """Returns the images ``name``.

        Raises:
            ValueError: If they are absent; the message names the option that needs them.
        """
        if (value := getattr(self, name)) is None:
            raise ValueError(f"{option} needs {name}, which this step does not provide")
        return value

    def images(self) -> dict[str, Tensor]:
        """The images that are known, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def chunk(self, count: int) -> list[Batch]:
        """The batch in equal parts, without copies.

        Raises:
            ValueError: If it cannot be split so.
        """
        if count == 1:
            return [self]
        if len(self.gt) % count:
            raise ValueError(f"a batch of {len(self.gt)} cannot be split into train.accumulate_steps = {count} parts")
        pieces = {name: value.chunk(count) for name, value in self.images().items()}
        return [self.with_images({name: parts[i] for name, parts in pieces.items()}, None) for i in range(count)]

    def with_images(self, images: Mapping[str, Tensor], gt_path: Sequence[str] | None) -> Batch:
        """The batch with other images in the place of some, which come from the files ``gt_path``."""
        changes: dict[str, Any] = {"gt_path": gt_path, **images}
        return replace(self, **changes)

    def take_output(self, outputs: Tensor | tuple[Tensor, ...]) -> None:
        """Stores what the generator returned: an image, or (gradient branch, image, LQ gradient) for SPSR.

        The image's elements are in the usual order, which losses of other people may count on.
        """
        self.sr = image_of(outputs).float().contiguous()
        self.gradient_branch = None if isinstance(outputs, Tensor) else outputs[0].float()

    def judged_images(self) -> tuple[Tensor, Tensor]:
        """Ground truth and generated image as critics judge them: without flat regions where these are hidden."""
        sr = self.require("sr", "a critic")
        if self.detail_mask is None:
            return self.gt, sr
        return self.gt * self.detail_mask, sr * self.detail_mask

    def detach(self) -> None:
        """Lets the generator's graph go once its backward pass is done."""
        self.sr = None if self.sr is None else self.sr.detach()
        self.gradient_branch = self.ema_sr = None


def copy_to_tensor(array: np.ndarray, dtype: DTypeLike | None = None) -> Tensor:
    """A contiguous tensor of an array or a view of one, in ``dtype`` if given.

    ``np.ascontiguousarray`` would not do: along an axis of one entry it keeps a step backward, which PyTorch refuses.
    """
    return torch.from_numpy(np.array(array, dtype, order="C"))


def to_floats(images: Tensor) -> Tensor:
    """Images in [0, 1]: floats as they are; uint8 and uint16, where white is the largest value, as float32."""
    if images.is_floating_point():
        return images
    floats = images.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.div_(torch.iinfo(images.dtype).max)


def image_of(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The image among a generator's outputs."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[1]


def send_tensor(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A small tensor on ``device``, in ``dtype`` if given.

    A plain copy from pageable memory makes the host wait until a GPU has done all that it was asked for before. From
    page-locked memory, which PyTorch keeps for reuse, the copy takes its turn on the device.
    """
    dtype = dtype or tensor.dtype
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.to(dtype).pin_memory().to(device, non_blocking=True)
    return tensor.to(device, dtype)


def start_copy_to_host(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """A copy on the host that the host need not wait for: it is complete once the event is; without one, at once."""
    if not tensor.is_cuda:
        return tensor, None
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    return copied, torch.cuda.current_stream().record_event()


def wait_for_device(device: torch.device) -> None:
    """Waits until a GPU has done all that it was asked for, as one must before looking at a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
