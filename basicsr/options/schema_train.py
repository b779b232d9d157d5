"""The closed schema of the ``train`` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from basicsr.utils.fields import Accepts, Block, Count, Integer, PositiveInt, Section, Weight, option


def _number_to_switch(value: object) -> object:
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


Switch = Annotated[bool, BeforeValidator(_number_to_switch), Accepts("true or false")]


class CriticOptions(Section):
    """Keys of ``train.gan_opt`` beside the GAN loss's own arguments."""

    d_weight: Weight | None = option(None, "Weight of the critic of images in the generator's loss.", implied=1.0)
    spectral_d_weight: Weight | None = option(None, "Weight of the critic of spectra.", implied=1.0)
    grad_d_weight: Weight | None = option(None, "Weight of the critic of gradient maps.", implied=1.0)
    flat_ksize: PositiveInt | None = option(None, "Window in pixels of BebyGAN's flat-region test.", implied=11)
    flat_std: Weight | None = option(None, "Local deviation below which a region is flat.", implied=0.025)
    sync_mean: bool | None = option(
        None, "Take relativistic means over all ranks instead of over the local batch.", implied=False
    )
    adaptive_weight: bool | float | None = option(
        None, "Carried by published files.", unused="no model type weights critics adaptively"
    )


class Train(Section):
    """How the networks are trained."""

    total_iter: PositiveInt | None = option(None, "Number of iterations; required for training.")
    warmup_iter: Annotated[Integer, Field(ge=-1)] = option(
        -1, "Iterations over which the learning rate rises linearly from 0; -1: none."
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "Decay of the generator's running average, which validation and tests use; 0: off."
    )

    optim_g: Block | None = option(None, "Optimizer of the generator: `type` and its arguments.")
    optim_d: Block | None = option(None, "Optimizer of the critic of images.")
    optim_spectral_d: Block | None = option(None, "Optimizer of the critic of spectra.")
    optim_grad_d: Block | None = option(None, "Optimizer of the critic of gradient maps.")
    scheduler: Block | None = option(None, "Learning-rate schedule of all optimizers: `type` and its arguments.")
    scheduler_g: Block | None = option(None, "Schedule of the generator's optimizer alone.")
    scheduler_d: Block | None = option(None, "Schedule of the image critic's optimizer alone.")
    scheduler_spectral_d: Block | None = option(None, "Schedule of the spectral critic's optimizer alone.")
    scheduler_grad_d: Block | None = option(None, "Schedule of the gradient critic's optimizer alone.")

    pixel_opt: Block | None = option(None, "Loss between the generated image and GT.")
    perceptual_opt: Block | None = option(None, "Loss between VGG features, with `style_weight` between Gram matrices.")
    ldl_opt: Block | None = option(None, "Pixel loss weighted by the artifact map of LDL; needs `ema_decay`.")
    bp_opt: Block | None = option(None, "Back-projection loss: between the down-scaled generated image and LQ.")
    pix_grad_opt: Block | None = option(None, "Loss between gradient maps of the generated image and of GT (SPSR).")
    pix_branch_opt: Block | None = option(None, "Loss between the gradient branch and the GT's gradient map (SPSR).")
    gan_opt: Block | None = option(None, "Adversarial loss: its `type`, its arguments, and the keys of the next table.")

    net_d_iters: PositiveInt = option(1, "The generator steps in every `net_d_iters`-th iteration; critics always do.")
    net_d_init_iters: Count = option(0, "The generator rests up to and including this iteration.")
    branch_pretrain: Switch | None = option(None, "Train the gradient branch alone at first (SPSR).", implied=False)
    branch_init_iters: Count | None = option(
        None, "Before this iteration only the gradient branch trains (SPSR).", implied=0
    )
    adv_loss_version: Literal["v1", "v2"] = option(
        "v1", "`v1` scores each critic by itself; `v2` adds their weighted logits first."
    )
    gp_weight: Weight | None = option(None, "Weight of the gradient penalty of Wasserstein models.", implied=10.0)
    diffaug: bool = option(False, "Augment what the critics see, differentiably (DiffAugment).")
    aug_policy: str | None = option(None, "Comma-separated augmentations.", implied="color,translation,cutout")

    clip_grad_norm: Weight | None = option(None, "Largest norm of each network's gradient; absent or 0: no clipping.")
    accumulate_steps: PositiveInt = option(1, "Equal parts that a batch is split into to save memory.")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "Precision of the forward passes.")
    on_nonfinite: Literal["stop", "skip"] = option(
        "stop", "On a NaN or infinite loss: `stop` the run with a report, or `skip` the step (10 in a row stop it)."
    )
    adaptive_weight: bool | float | None = option(
        None, "Carried by published files.", unused="no model type weights critics adaptively"
    )
