"""Accuracy of critics on validation images, found without changing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from basicsr.adversarial import Critic, Objective

BATCH = 8
"""Pairs of images that are judged at once."""


Crop = tuple[Tensor, Tensor, Tensor]
"""LQ, GT and generated image at the centre of a validation image, as large as what critics train on; all (1, C, h, w)
in [0, 1]."""


class Accuracy(NamedTuple):
    """Shares of a critic's outputs that are right.

    Attributes:
        real: Of its outputs on real images.
        generated: Of its outputs on generated images.
        num_images: How many images of each kind it saw.
    """

    real: float
    generated: float
    num_images: int


@dataclass(frozen=True)
class CriticPanel:
    """The critics of a run, as they are asked about validation images.

    Attributes:
        critics: The critics.
        objective: Says what counts as right, see :meth:`basicsr.adversarial.Objective.judge_accuracy`.
        prepare: Turns (lq, gt, sr) into what training would show of them: (real, generated), but not augmented.
        device: Where they are.
    """

    critics: Sequence[Critic]
    objective: Objective
    prepare: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    device: torch.device

    def judge(self, crops: Sequence[Crop]) -> dict[str, Accuracy]:
        """Shows crops of one size to each critic, and counts where it is right; by the critics' names.

        Networks are in evaluation mode meanwhile.
        """
        accuracies = {}
        with torch.no_grad(), evaluating(critic.bare_net for critic in self.critics):
            batches = []
            for first in range(0, len(crops), BATCH):
                lq, gt, sr = (torch.cat(images).to(self.device) for images in zip(*crops[first : first + BATCH]))
                batches.append(torch.cat(self.prepare(lq, gt, sr)))
            for critic in self.critics:
                judged = [critic.judge_unwrapped(images).chunk(2) for images in batches]
                real, fake = (torch.cat(logits) for logits in zip(*judged))
                shares = torch.stack(self.objective.judge_accuracy(real, fake)).tolist()
                accuracies[critic.name] = Accuracy(shares[0], shares[1], len(crops))
        return accuracies


def cut_crop(lq: Tensor, gt: Tensor, sr: Tensor, size: int, scale: int) -> Crop | None:
    """The centre of an image, on LQ's pixel grid.

    Args:
        lq: (1, C, h, w).
        gt: (1, C, H, W).
        sr: (1, C, H, W), on any device.
        size: Side of the crop in GT pixels, a multiple of ``scale``.
        scale: GT pixels per LQ pixel.

    Returns:
        A copy; ``None`` if an image is too small.
    """
    side = size // scale
    top, left = ((length - side) // 2 for length in lq.shape[-2:])
    if min(top, left) < 0:
        return None

    def cut(image: Tensor, factor: int) -> Tensor:
        rows, columns = (slice(factor * start, factor * (start + side)) for start in (top, left))
        return image[..., rows, columns].clone()

    crop = cut(lq, 1), cut(gt, scale), cut(sr, scale)
    return crop if crop[1].shape[-2:] == crop[2].shape[-2:] == (size, size) else None


@contextmanager
def evaluating(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block networks are in evaluation mode: nothing in them moves, and nothing is dropped at random."""
    modules = [module for net in nets for module in net.modules() if module.training]
    try:
        # Not by attribute: nn.Module looks through all it has first, which takes as long as the critics do.
        for module in modules:
            vars(module)["training"] = False
        yield
    finally:
        for module in modules:
            vars(module)["training"] = True
