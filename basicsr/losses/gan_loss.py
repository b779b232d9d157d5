"""Adversarial losses on a critic's logits, feature matching and ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, MSELoss
from basicsr.losses.gradient_penalty import g_path_regularize as g_path_regularize
from basicsr.losses.gradient_penalty import gradient_penalty_loss as gradient_penalty_loss
from basicsr.losses.gradient_penalty import gradient_penalty_wdiv as gradient_penalty_wdiv
from basicsr.losses.gradient_penalty import quadratic_potential_loss as quadratic_potential_loss
from basicsr.losses.gradient_penalty import r1_penalty as r1_penalty
from basicsr.losses.gradient_penalty import wgan_gp_penalty as wgan_gp_penalty
from basicsr.losses.loss_util import Reduction, reduce_loss
from basicsr.utils.errors import check_choice
from basicsr.utils.registry import LOSS_REGISTRY

GANType = Literal["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"]


@LOSS_REGISTRY.register()
class GANLoss(nn.Module):
    """How far logits are from what they should say, averaged over all of them (any shape: scores, maps, tokens).

    With logits x, and y the label value:

    ============= =========================== ===========================
    gan_type      target real                 target fake
    ============= =========================== ===========================
    vanilla       BCE(sigmoid(x), y)          BCE(sigmoid(x), y)
    lsgan         (x - y)^2                   (x - y)^2
    wgan          -x                          x
    wgan_softplus log(1 + exp(-x))            log(1 + exp(x))
    hinge, critic max(0, 1 - x)               max(0, 1 + x)
    hinge, gen.   -x                          -x
    ============= =========================== ===========================

    Args:
        gan_type: One of the rows.
        real_label_val: y for real images (vanilla, lsgan).
        fake_label_val: y for generated images (vanilla, lsgan).
        loss_weight: Factor of the generator's loss; the critic's is never weighted.

    Raises:
        ArgumentError: If ``gan_type`` is unknown.
    """

    def __init__(
        self,
        gan_type: GANType,
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("gan_type", gan_type, get_args(GANType))
        self.gan_type = gan_type
        self.real_label_val = real_label_val
        self.fake_label_val = fake_label_val
        self.loss_weight = loss_weight

    @property
    def threshold(self) -> float:
        """The logit that speaks neither for a real nor for a generated image: lsgan's labels' mean, else 0."""
        return (self.real_label_val + self.fake_label_val) / 2 if self.gan_type == "lsgan" else 0.0

    def forward(self, input: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        """Scores logits.

        Args:
            input: Logits, any shape.
            target_is_real: Whether the logits ought to say "real".
            is_disc: Whether the critic learns from this (then unweighted) or the generator.

        Returns:
            A scalar.
        """
        towards_target = input if target_is_real else -input
        if self.gan_type == "wgan":
            loss = -towards_target.mean()
        elif self.gan_type == "wgan_softplus":
            loss = F.softplus(-towards_target).mean()
        elif self.gan_type == "hinge":
            loss = F.relu(1 - towards_target).mean() if is_disc else -input.mean()
        else:
            compare = F.mse_loss if self.gan_type == "lsgan" else F.binary_cross_entropy_with_logits
            loss = compare(input, self.get_target_label(input, target_is_real))
        return loss if is_disc else loss * self.loss_weight

    def get_target_label(self, input: Tensor, target_is_real: bool) -> Tensor:
        """What vanilla and lsgan compare logits with: their label in the logits' shape."""
        return torch.full_like(input, self.real_label_val if target_is_real else self.fake_label_val)

    def extra_repr(self) -> str:
        return f"gan_type={self.gan_type!r}, loss_weight={self.loss_weight}"


@LOSS_REGISTRY.register()
class MultiScaleGANLoss(GANLoss):
    """The mean of :class:`GANLoss` over several critics' outputs; arguments as there."""

    def forward(
        self, input: Tensor | Sequence[Tensor | Sequence[Tensor]], target_is_real: bool, is_disc: bool = False
    ) -> Tensor:
        """Scores a list with one entry per scale: logits, or a list of features whose last one is the logits."""
        if isinstance(input, Tensor):
            return super().forward(input, target_is_real, is_disc)
        if not input:
            raise ValueError("MultiScaleGANLoss needs the output of at least one scale; the list is empty")
        logits = (scale if isinstance(scale, Tensor) else scale[-1] for scale in input)
        return torch.stack([super(MultiScaleGANLoss, self).forward(x, target_is_real, is_disc) for x in logits]).mean()


@LOSS_REGISTRY.register()
class GANFeatLoss(nn.Module):
    """Feature matching between a critic's intermediate outputs (Wang et al., pix2pixHD, CVPR 2018, Eq. 4).

    Args:
        criterion: ``l1``, ``l2`` or ``charbonnier``.
        loss_weight: Factor of the result, applied once.
        reduction: ``mean`` or ``sum`` over the elements of one feature map.

    Raises:
        ArgumentError: If ``criterion`` or ``reduction`` is unknown.
    """

    def __init__(
        self,
        criterion: Literal["l1", "l2", "charbonnier"] = "l1",
        loss_weight: float = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        criteria = {"l1": L1Loss, "l2": MSELoss, "charbonnier": CharbonnierLoss}
        check_choice("criterion", criterion, criteria)
        check_choice("reduction", reduction, ("mean", "sum"))
        self.loss_op = criteria[criterion](reduction=reduction)
        self.loss_weight = loss_weight

    def forward(self, pred_fake: Sequence[Sequence[Tensor]], pred_real: Sequence[Sequence[Tensor]]) -> Tensor:
        """Compares features; the last entry of every list, the logits, does not count.

        Args:
            pred_fake: One list per critic: its features on generated images, then its logits.
            pred_real: The same on real images; these get no gradient.

        Returns:
            A scalar: the mean over critics of the sum over features.
        """
        if not pred_fake or len(pred_fake) != len(pred_real):
            raise ValueError(
                f"one list per critic is needed; got {len(pred_fake)} fake and {len(pred_real)} real lists"
            )
        terms = [
            self.loss_op(fake, real.detach())
            for fakes, reals in zip(pred_fake, pred_real)
            for fake, real in zip(fakes[:-1], reals[:-1])
        ]
        if not terms:
            raise ValueError("feature matching needs at least one feature before the logits in every list")
        return self.loss_weight * torch.stack(terms).sum() / len(pred_fake)


@LOSS_REGISTRY.register()
class RankLoss(nn.Module):
    """``max(0, p2 - p1 + margin)``: the first score is to exceed the second by a margin.

    Args:
        loss_weight: Factor of the result.
        reduction: ``mean``, ``sum`` or ``none``.
        margin: By how much, in units of the scores.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean", margin: float = 0.0) -> None:
        super().__init__()
        check_choice("reduction", reduction, get_args(Reduction))
        self.loss_weight = loss_weight
        self.reduction: Reduction = reduction
        self.margin = margin

    def forward(self, p1: Tensor, p2: Tensor) -> Tensor:
        """Compares scores of one shape: ``p1`` of the images that are to rank higher, ``p2`` of the others."""
        return self.loss_weight * reduce_loss(F.relu(p2 - p1 + self.margin), self.reduction)
