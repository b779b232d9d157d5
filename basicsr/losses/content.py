"""Everything that a generator's loss asks of the image itself, as terms that take one bundle of tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.losses import build_loss
from basicsr.losses.ldl_loss import LDLLoss
from basicsr.utils.errors import UserError, WeightsError
from basicsr.utils.gradients import gradient_map
from basicsr.utils.resizer import imresize


@dataclass(frozen=True)
class LossInputs:
    """What one training step knows about a batch.

    Attributes:
        sr: Output of the generator, (B, C, H, W), with its graph.
        gt: Ground truth, (B, C, H, W).
        lq: Input of the generator, (B, C, H / scale, W / scale); for the back-projection loss.
        ema_sr: Output of the averaged generator, (B, C, H, W); for LDL (see :attr:`ContentLosses.needs_ema`).
        gt_pixel: Ground truth of the pixel loss where it differs (Real-ESRGAN's sharpened images).
        gt_perceptual: Ground truth of the perceptual loss where it differs.
        gradient_branch: Output of a gradient branch (SPSR), (B, C, H, W).
        lq_antialiased: Whether LQ was reduced with antialiasing, as MATLAB does, or without, as gated degradations do.
    """

    sr: Tensor
    gt: Tensor
    lq: Tensor | None = None
    ema_sr: Tensor | None = None
    gt_pixel: Tensor | None = None
    gt_perceptual: Tensor | None = None
    gradient_branch: Tensor | None = None
    lq_antialiased: bool = True

    def require(self, name: str, option: str) -> Tensor:
        """Returns the field ``name``.

        Raises:
            ValueError: If it is absent; the message names the option that needs it.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise ValueError(f"{option} needs LossInputs.{name}, which this model does not provide")
        return value


class ContentTerm(nn.Module, ABC):
    """One block of ``train`` as a function of :class:`LossInputs`.

    Attributes:
        option: The key of the block.
        needs_ema: Whether the averaged generator's output must be in the bundle.
    """

    option: ClassVar[str]
    needs_ema: ClassVar[bool] = False

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    @abstractmethod
    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Returns weighted scalars by log key, without the model's prefix."""


class PixelTerm(ContentTerm):
    """``criterion(sr, gt)``; the best-buddy loss is such a criterion too."""

    option = "pixel_opt"

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        gt = inputs.gt if inputs.gt_pixel is None else inputs.gt_pixel
        return {"pix": self.criterion(inputs.sr, gt)}


class PerceptualTerm(ContentTerm):
    """Perceptual and style losses."""

    option = "perceptual_opt"

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        gt = inputs.gt if inputs.gt_perceptual is None else inputs.gt_perceptual
        perceptual, style = self.criterion(inputs.sr, gt)
        terms = {"percep": perceptual, "style": style}
        return {name: term for name, term in terms.items() if term is not None}


class LDLTerm(ContentTerm):
    """The criterion of ``ldl_opt`` under LDL's artifact map."""

    option = "ldl_opt"
    needs_ema = True

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__(LDLLoss(criterion))

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        if inputs.ema_sr is None:
            raise ValueError("ldl_opt needs the averaged generator's output; set train.ema_decay above 0, e.g. 0.999")
        return {"ldl": self.criterion(inputs.sr, inputs.gt, inputs.ema_sr)}


class BackProjectionTerm(ContentTerm):
    """The output, reduced bicubically as LQ was, is to be the input (BebyGAN, arXiv 2103.15295)."""

    option = "bp_opt"

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        lq = inputs.require("lq", self.option)
        size, reduced_size = inputs.sr.shape[-2:], lq.shape[-2:]
        scale = size[0] // reduced_size[0]
        if size != (reduced_size[0] * scale, reduced_size[1] * scale):
            raise ValueError(f"bp_opt: an output of {(*size,)} is no multiple of an input of {(*reduced_size,)}")
        if inputs.lq_antialiased:
            reduced = imresize(inputs.sr, scale=1 / scale)
        else:
            reduced = F.interpolate(inputs.sr, scale_factor=1 / scale, mode="bicubic")
        return {"bp": self.criterion(reduced, lq)}


class GradientTerm(ContentTerm):
    """Distance between the gradient maps of output and ground truth (SPSR, arXiv 2003.13081)."""

    option = "pix_grad_opt"

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        maps = (gradient_map(image, padding=2) for image in (inputs.sr, inputs.gt))
        return {"pix_grad": self.criterion(*maps)}


class GradientBranchTerm(ContentTerm):
    """The generator's gradient branch is to be the ground truth's gradient map (SPSR, arXiv 2003.13081)."""

    option = "pix_branch_opt"

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        branch = inputs.require("gradient_branch", self.option)
        return {"pix_grad_branch": self.criterion(branch, gradient_map(inputs.gt, padding=1))}


CONTENT_TERMS: tuple[type[ContentTerm], ...] = (
    PixelTerm,
    PerceptualTerm,
    LDLTerm,
    BackProjectionTerm,
    GradientTerm,
    GradientBranchTerm,
)


class ContentLosses(nn.Module):
    """All content terms of a training step.

    Args:
        terms: The terms, in the order in which they are reported.
        prefix: What the log keys begin with: ``l_g_`` beside critics, ``l_`` without.

    Attributes:
        needs_ema: Whether :attr:`LossInputs.ema_sr` must be set.
    """

    def __init__(self, terms: Iterable[ContentTerm], prefix: str = "l_g_") -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.prefix = prefix
        self.needs_ema = any(getattr(term, "needs_ema", False) for term in self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Returns every weighted term, a scalar with its graph, by its log key."""
        losses: dict[str, Tensor] = {}
        for term in self.terms:
            losses.update({f"{self.prefix}{name}": value for name, value in term(inputs).items()})
        return losses


def build_content_losses(train_opt: Mapping[str, Any], prefix: str = "l_g_") -> ContentLosses:
    """Builds the content terms that the ``train`` block of an option file asks for.

    Args:
        train_opt: The block; ``pixel_opt``, ``perceptual_opt``, ``ldl_opt``, ``bp_opt``, ``pix_grad_opt`` and
            ``pix_branch_opt`` are read, each a loss with its ``type``; absent or null ones are left out.
        prefix: What the log keys begin with.

    Raises:
        UserError: If a loss cannot be built; the message names its block.
        WeightsError: If VGG's weights are not there.
    """
    terms = []
    for term in CONTENT_TERMS:
        block = train_opt.get(term.option)
        if not block:
            continue
        try:
            criterion = build_loss(block)
        except WeightsError:
            raise
        except (TypeError, ValueError) as error:
            raise UserError(f"train.{term.option}: {error}") from error
        terms.append(term(criterion))
    return ContentLosses(terms, prefix)
