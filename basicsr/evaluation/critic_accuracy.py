"""How often critics are right about validation images, found without changing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

BATCH = 8
"""Pairs of images that are judged at once."""


class Crop(NamedTuple):
    """The centre of a validation image, as large as what critics train on; all (1, C, h, w) in [0, 1]."""

    lq: Tensor
    gt: Tensor
    sr: Tensor


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


def cut_crop(visuals: Mapping[str, Tensor], size: int, scale: int) -> Crop | None:
    """The centre of an image, on LQ's pixel grid.

    Args:
        visuals: ``lq``, ``result`` and ``gt``.
        size: Side of the crop in GT pixels, a multiple of ``scale``.
        scale: GT pixels per LQ pixel.

    Returns:
        A copy; ``None`` if an image is too small.
    """
    lq, gt, sr = (visuals[key] for key in ("lq", "gt", "result"))
    side = size // scale
    top, left = ((length - side) // 2 for length in lq.shape[-2:])
    if min(top, left) < 0:
        return None

    def cut(image: Tensor, factor: int) -> Tensor:
        rows, columns = (slice(factor * start, factor * (start + side)) for start in (top, left))
        return image[..., rows, columns].clone()

    crop = Crop(cut(lq, 1), cut(gt, scale), cut(sr, scale))
    return crop if crop.gt.shape[-2:] == crop.sr.shape[-2:] == (size, size) else None


def judge_crops(model: Any, crops: Sequence[Crop]) -> dict[str, Accuracy]:
    """Shows crops to each critic as training would, but for random augmentation, and counts where it is right.

    What counts as right is the objective's to say, see :meth:`basicsr.adversarial.Objective.judge_accuracy`. Networks
    are in evaluation mode meanwhile.

    Args:
        model: Has ``critics``, ``objective``, ``data`` and ``device``.
        crops: All of one size.
    """
    logits: dict[str, list[tuple[Tensor, Tensor]]] = {critic.name: [] for critic in model.critics}
    with torch.no_grad(), evaluating(critic.bare_net for critic in model.critics):
        for first in range(0, len(crops), BATCH):
            lq, gt, sr = (torch.cat(images).to(model.device) for images in zip(*crops[first : first + BATCH]))
            real, fake = model.validation_images(lq, gt, sr)
            both = torch.cat([real, fake])
            for critic in model.critics:
                judged = critic.judge_unwrapped(both)
                logits[critic.name].append((judged[: len(real)], judged[len(real) :]))
        accuracies = {}
        for name, parts in logits.items():
            real_logits, fake_logits = (torch.cat(kind) for kind in zip(*parts))
            shares = torch.stack(model.objective.judge_accuracy(real_logits, fake_logits)).tolist()
            accuracies[name] = Accuracy(shares[0], shares[1], len(crops))
    return accuracies


@contextmanager
def evaluating(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block networks are in evaluation mode: nothing in them moves, and nothing is dropped at random."""
    modes = [(module, module.training) for net in nets for module in net.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
