"""Content losses: everything that a generator's loss asks of the image itself, as registered blocks.

A loss of the form ``criterion(sr, gt)`` is a content loss as it is. One that needs more of the step derives from
:class:`ContentLoss` and takes the whole :class:`~basicsr.utils.batch.Batch`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.processing.filters import gradient_map
from basicsr.processing.resizer import imresize
from basicsr.utils.batch import Batch
from basicsr.utils.errors import UserError, WeightsError
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import LOSS_REGISTRY

Criterion = Annotated[nn.Module, PartOf(LOSS_REGISTRY)]
"""A loss between two images: built, or in an option file its block."""


class ContentLoss(nn.Module, ABC):
    """A loss that needs more than the generated image and the ground truth.

    Args:
        criterion: Compares the two maps that the loss makes.

    Attributes:
        needs_ema: Whether it reads the averaged generator's output.
        needs_branch: Whether it reads the output of a gradient branch.
    """

    needs_ema: ClassVar[bool] = False
    needs_branch: ClassVar[bool] = False

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Returns the weighted loss, a scalar with its graph."""


@LOSS_REGISTRY.register()
class ArtifactLoss(ContentLoss):
    """The criterion under LDL's artifact map (arXiv 2203.09195); needs ``train.ema_decay``."""

    needs_ema = True

    def forward(self, batch: Batch) -> Tensor:
        if batch.ema_sr is None:
            raise ValueError("ldl_opt needs the averaged generator's output; set train.ema_decay above 0, e.g. 0.999")
        sr = batch.require("sr", "ldl_opt")
        # The map is part of the graph, as in the authors' code: the output is also pushed to make the map smaller.
        weight = get_refined_artifact_map(batch.gt, sr, batch.ema_sr, ksize=7)
        return self.criterion(weight * sr, weight * batch.gt)


@LOSS_REGISTRY.register()
class BackProjectionLoss(ContentLoss):
    """The output, reduced bicubically as LQ was, is to be the input (BebyGAN, arXiv 2103.15295)."""

    def forward(self, batch: Batch) -> Tensor:
        lq, sr = batch.require("lq", "bp_opt"), batch.require("sr", "bp_opt")
        size, reduced_size = sr.shape[-2:], lq.shape[-2:]
        scale = size[0] // reduced_size[0]
        if size != (reduced_size[0] * scale, reduced_size[1] * scale):
            raise ValueError(f"bp_opt: an output of {(*size,)} is no multiple of an input of {(*reduced_size,)}")
        if batch.lq_antialiased:
            reduced = imresize(sr, scale=1 / scale)
        else:
            reduced = F.interpolate(sr, scale_factor=1 / scale, mode="bicubic")
        return self.criterion(reduced, lq)


@LOSS_REGISTRY.register()
class GradientLoss(ContentLoss):
    """Distance between the gradient maps of output and ground truth (SPSR, arXiv 2003.13081)."""

    def forward(self, batch: Batch) -> Tensor:
        sr = batch.require("sr", "pix_grad_opt")
        return self.criterion(gradient_map(sr, padding=2), gradient_map(batch.gt, padding=2))


@LOSS_REGISTRY.register()
class GradientBranchLoss(ContentLoss):
    """The generator's gradient branch is to be the ground truth's gradient map (SPSR, arXiv 2003.13081)."""

    needs_branch = True

    def forward(self, batch: Batch) -> Tensor:
        branch = batch.require("gradient_branch", "pix_branch_opt")
        return self.criterion(branch, gradient_map(batch.gt, padding=1))


class ContentLosses(nn.Module):
    """All content losses of a training step, by name.

    Args:
        losses: The losses, in the order in which a step adds them up. One that is no :class:`ContentLoss` is called as
            ``loss(sr, gt)``; its attribute ``target`` may name another ground truth of the batch, and further outputs
            are logged by the names in its attribute ``log_names``.
        prefix: What the log keys begin with: ``l_g_`` beside critics, ``l_`` without.

    Attributes:
        needs_ema: Whether :attr:`Batch.ema_sr` must be set.
    """

    def __init__(self, losses: Mapping[str, nn.Module], prefix: str = "l_g_") -> None:
        super().__init__()
        self.losses = nn.ModuleDict(losses)
        self.prefix = prefix
        self.needs_ema = any(getattr(loss, "needs_ema", False) for loss in self.losses.values())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns every weighted term, a scalar with its graph, by its log key."""
        terms: dict[str, Tensor] = {}
        for name, loss in self.losses.items():
            if isinstance(loss, ContentLoss):
                outputs = loss(batch)
            else:
                target = getattr(batch, getattr(loss, "target", "gt_pixel"))
                outputs = loss(batch.sr, batch.gt if target is None else target)
            found = outputs if isinstance(outputs, tuple) else (outputs,)
            keys = [name, *getattr(loss, "log_names", ())]
            terms |= {f"{self.prefix}{key}": term for key, term in zip(keys, found) if term is not None}
        return terms


def build_content_losses(parts: Mapping[str, Part | None], prefix: str = "l_g_") -> ContentLosses:
    """Builds the losses of an option file.

    Args:
        parts: The blocks by name; null ones are left out.
        prefix: What the log keys begin with.

    Raises:
        UserError: If a loss cannot be built; the message names its block.
        WeightsError: If VGG's weights are not there.
    """
    losses: dict[str, nn.Module] = {}
    for name, part in parts.items():
        try:
            if part is not None:
                losses[name] = part.build()
        except WeightsError:
            raise
        except (TypeError, ValueError) as error:
            raise UserError(f"losses.{name}: {error}") from error
    return ContentLosses(losses, prefix)
