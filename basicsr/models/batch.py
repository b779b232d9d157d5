"""The data of one training step: degradation and pair pool in front, what losses and critics see behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from basicsr.adversarial.diffaugment import DiffAugment
from basicsr.degradation import DegradedPair
from basicsr.losses.content import LossInputs
from basicsr.models.degradation import build_degradation, build_pair_pool
from basicsr.models.settings import StepSettings, read_option
from basicsr.models.table import Recipe
from basicsr.options.schema import Frame
from basicsr.options.schema_train import CriticOptions
from basicsr.utils.img_process_util import USMSharp, get_flat_mask


@dataclass
class StepBatch:
    """One part of a batch on its way through a step; images are (B, C, H, W) in [0, 1].

    Attributes:
        lq: Low-quality input.
        gt: Ground truth, as the critics see it (sharpened if ``gan_gt_usm``).
        gt_pixel: What pixel losses compare with.
        gt_perceptual: What the perceptual loss compares with.
        lq_antialiased: How LQ was reduced, see :class:`~basicsr.losses.content.LossInputs`.
        detail_mask: (B, 1, H, W), 0 where the image is flat, for recipes that hide flat regions from the critics.
    """

    lq: Tensor
    gt: Tensor
    gt_pixel: Tensor
    gt_perceptual: Tensor
    detail_mask: Tensor | None = None
    lq_antialiased: bool = True
    outputs: Tensor | tuple[Tensor, ...] | None = None
    ema_sr: Tensor | None = None
    _detailed: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    def take_output(self, outputs: Tensor | tuple[Tensor, ...]) -> None:
        """Stores what the generator returned: an image, or (gradient branch, image, LQ gradient) for SPSR."""
        self.outputs = outputs.float() if isinstance(outputs, Tensor) else tuple(o.float() for o in outputs)
        self._detailed = None

    def take_ema_output(self, outputs: Tensor | tuple[Tensor, ...]) -> None:
        """Stores the averaged generator's image."""
        self.ema_sr = (outputs if isinstance(outputs, Tensor) else outputs[1]).float()

    @property
    def sr(self) -> Tensor:
        """The generated image."""
        if self.outputs is None:
            raise RuntimeError("the generator has not run on this batch")
        return self.outputs if isinstance(self.outputs, Tensor) else self.outputs[1]

    def judged_images(self) -> tuple[Tensor, Tensor]:
        """Ground truth and generated image as critics judge them: without flat regions where the recipe hides these."""
        if self.detail_mask is None:
            return self.gt, self.sr
        if self._detailed is None:
            self._detailed = (self.gt * self.detail_mask, self.sr * self.detail_mask)
        return self._detailed

    def content_inputs(self) -> LossInputs:
        """The bundle that content losses take."""
        return LossInputs(
            sr=self.sr,
            gt=self.gt,
            lq=self.lq,
            ema_sr=self.ema_sr,
            gt_pixel=self.gt_pixel,
            gt_perceptual=self.gt_perceptual,
            gradient_branch=None if isinstance(self.outputs, Tensor) or self.outputs is None else self.outputs[0],
            lq_antialiased=self.lq_antialiased,
        )

    def detach(self) -> None:
        """Lets the generator's graph go once its backward pass is done."""
        self.outputs = self.sr.detach()
        self.ema_sr = None
        if self._detailed is not None:
            self._detailed = (self._detailed[0], self._detailed[1].detach())


class TrainingData:
    """Turns loader batches into training pairs, and pairs into what each side of the step sees.

    Args:
        recipe: The model type's row.
        opt: All options.
        settings: The step's settings.
    """

    def __init__(self, recipe: Recipe, opt: Mapping[str, Any], settings: StepSettings) -> None:
        self.opt = opt
        self.recipe = recipe
        self.settings = settings
        self.makes_pairs = recipe.degradation != "paired"
        self.pool = build_pair_pool(opt) if self.makes_pairs else None
        self._sharpener = USMSharp()
        gan = opt["train"].get("gan_opt") or {}
        self.flat_ksize = int(read_option(gan, CriticOptions, "flat_ksize"))
        self.flat_std = float(read_option(gan, CriticOptions, "flat_std"))

    @cached_property
    def degradation(self) -> Any:
        """The recipe's degradation, built when the first batch without LQ images comes."""
        return build_degradation(self.recipe.degradation, self.opt)

    def degrade(
        self, batch: Mapping[str, Tensor], generator: torch.Generator, gt_path: Sequence[str] | None = None
    ) -> DegradedPair:
        """Makes training pairs of GT images of the files ``gt_path``; with a pool, of this batch and earlier ones."""
        if not self.makes_pairs:
            raise ValueError("the training batch has no 'lq' images, and this model_type does not make them")
        pair = self.degradation(batch, generator)._replace(gt_path=gt_path)
        return pair if self.pool is None else self.pool.exchange(pair, generator)

    def sharpen_pairs(self, gt: Tensor) -> Tensor | None:
        """Sharpened GT of pairs that come ready-made; ``None`` for recipes that train on GT as it is.

        Real-ESRGAN sharpens GT of such pairs too, Real-ESRNet only that which it degrades.
        """
        if self.recipe.degradation != "second_order" or not self.recipe.critics:
            return None
        return self._sharpener.to(gt)(gt)

    def split(self, lq: Tensor, gt: Tensor | None, gt_usm: Tensor | None) -> list[StepBatch]:
        """The batch in ``train.accumulate_steps`` parts."""
        if gt is None:
            raise ValueError("training needs ground truth, but the batch has no 'gt' images")
        steps = self.settings.accumulate_steps
        if lq.shape[0] % steps:
            raise ValueError(f"a batch of {lq.shape[0]} cannot be split into train.accumulate_steps = {steps} parts")
        sharp = gt if gt_usm is None else gt_usm
        images = {
            "lq": lq,
            "gt": sharp if read_option(self.opt, Frame, "gan_gt_usm") else gt,
            "gt_pixel": sharp if read_option(self.opt, Frame, "l1_gt_usm") else gt,
            "gt_perceptual": sharp if read_option(self.opt, Frame, "percep_gt_usm") else gt,
        }
        detail_mask = self.find_detail(lq)
        if detail_mask is not None:
            images["detail_mask"] = detail_mask
        parts = {name: tensor.chunk(steps) for name, tensor in images.items()}
        return [
            StepBatch(**{name: chunks[index] for name, chunks in parts.items()}, lq_antialiased=not self.makes_pairs)
            for index in range(steps)
        ]

    def critic_images(self, part: StepBatch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What the critics see of one part: (real, generated), masked and augmented as the recipe says."""
        real, fake = part.judged_images()
        if self.settings.diffaug:
            real = DiffAugment(real, self.settings.diffaug, generator)
            fake = DiffAugment(fake, self.settings.diffaug, generator)
        return real, fake

    def validation_images(self, lq: Tensor, gt: Tensor, sr: Tensor) -> tuple[Tensor, Tensor]:
        """What the critics see of validation images: as :meth:`critic_images`, but not augmented."""
        if read_option(self.opt, Frame, "gan_gt_usm"):
            sharp = self.sharpen_pairs(gt)
            gt = gt if sharp is None else sharp
        return StepBatch(lq, gt, gt, gt, self.find_detail(lq), outputs=sr).judged_images()

    def find_detail(self, lq: Tensor) -> Tensor | None:
        """``detail_mask`` of :class:`StepBatch`; ``None`` for recipes that hide nothing."""
        if not self.recipe.masks_flat_regions:
            return None
        return 1 - get_flat_mask(lq, self.flat_ksize, self.flat_std, self.opt["scale"])

    def state_dict(self) -> dict[str, Any]:
        """The pair pool's content."""
        return {} if self.pool is None else self.pool.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.pool is not None and state:
            self.pool.load_state_dict(dict(state))
