"""Penalties on the gradient of a critic (or generator) with respect to its input; differentiable twice.

Those that interpolate between real and generated images take the mixing factors, or the generator to draw them from, as
``alpha``; with neither, torch's default generator is used, as other code that imports these functions expects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from basicsr.utils.errors import check_choice

Critic = Callable[[Tensor], Tensor]
Mixing = Tensor | torch.Generator | None


def mix_images(real_data: Tensor, fake_data: Tensor, alpha: Mixing = None) -> Tensor:
    """Random points between real and generated images, ``alpha * real + (1 - alpha) * fake``; a leaf with gradient.

    Args:
        real_data: (B, C, H, W).
        fake_data: (B, C, H, W).
        alpha: (B, 1, 1, 1) or broadcastable, in [0, 1]; or a generator, on any device, that one for each sample is
            uniformly drawn from; torch's default generator if absent.

    Raises:
        ValueError: If real and generated images differ in shape.
    """
    if real_data.shape != fake_data.shape:
        raise ValueError(f"real and generated images differ in shape: {(*real_data.shape,)}, {(*fake_data.shape,)}")
    if not isinstance(alpha, Tensor):
        shape = (len(real_data), *(1,) * (real_data.dim() - 1))
        alpha = torch.rand(shape, generator=alpha, device=alpha.device if alpha else "cpu")
    alpha = alpha.to(real_data)
    with torch.no_grad():
        mixed = alpha * real_data + (1 - alpha) * fake_data
    return mixed.requires_grad_()


def _input_gradient(outputs: Tensor, inputs: Tensor, grad_trick: bool = False) -> Tensor:
    """d(sum of outputs)/d(inputs), with a graph, in float32 or wider.

    With ``grad_trick`` the outputs themselves, times 0, belong to the graph, so that every parameter of a wrapped
    network (DistributedDataParallel) gets a gradient.
    """
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    gradient = gradient if gradient.dtype == torch.float64 else gradient.float()
    return gradient + 0 * outputs.sum() if grad_trick else gradient


def _deviation_from_one(gradient: Tensor) -> Tensor:
    """``mean((norm - 1)^2)``, with norms over the second dimension."""
    # The addend keeps the square root differentiable where a gradient vanishes.
    norm = (gradient.square().sum(dim=1) + 1e-5).sqrt()
    return (norm - 1).square().mean()


def gradient_penalty_loss(
    discriminator: Critic,
    real_data: Tensor,
    fake_data: Tensor,
    weight: Tensor | None = None,
    grad_trick: bool = False,
    *,
    alpha: Mixing = None,
) -> Tensor:
    """BasicSR's form of the WGAN-GP penalty: the norm is over channels, one per pixel.

    ``mean((sqrt(sum over channels of g^2 + 1e-5) - 1)^2)``; for the norm of the paper see :func:`wgan_gp_penalty`.

    Args:
        discriminator: From images (B, C, H, W) to logits of any shape.
        real_data: (B, C, H, W).
        fake_data: (B, C, H, W).
        weight: Broadcastable to the images: multiplies the gradient; the result is divided by its mean.
        grad_trick: Keep the logits in the graph; no effect on numbers.
        alpha: Mixing factors (B, 1, 1, 1), or the generator to draw them from; see :func:`mix_images`.

    Returns:
        A scalar.
    """
    mixed = mix_images(real_data, fake_data, alpha)
    gradient = _input_gradient(discriminator(mixed), mixed, grad_trick)
    if weight is None:
        return _deviation_from_one(gradient)
    return _deviation_from_one(gradient * weight) / weight.mean()


def wgan_gp_penalty(
    discriminator: Critic,
    real_data: Tensor,
    fake_data: Tensor,
    lambda_gp: float = 10.0,
    grad_trick: bool = False,
    *,
    alpha: Mixing = None,
) -> Tensor:
    """``lambda_gp * mean((sqrt(||g||^2 + 1e-5) - 1)^2)`` with one norm per sample.

    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017 (arXiv 1704.00028), Eq. 3.

    Args:
        discriminator: From images (B, C, H, W) to logits of any shape that starts with B.
        real_data: (B, C, H, W).
        fake_data: (B, C, H, W).
        lambda_gp: Factor of the penalty.
        grad_trick: Keep the logits in the graph; no effect on numbers.
        alpha: Mixing factors (B, 1, 1, 1), or the generator to draw them from; see :func:`mix_images`.

    Returns:
        A scalar.
    """
    mixed = mix_images(real_data, fake_data, alpha)
    return lambda_gp * _deviation_from_one(_input_gradient(discriminator(mixed), mixed, grad_trick).flatten(1))


def gradient_penalty_wdiv(
    discriminator: Critic,
    real_data: Tensor,
    fake_data: Tensor,
    k: float = 2.0,
    p: float = 6.0,
    grad_trick: bool = False,
    *,
    alpha: Mixing = None,
) -> Tensor:
    """``k * mean(||g||^p)`` with one norm per sample: the penalty of the Wasserstein divergence.

    Wu et al., "Wasserstein Divergence for GANs", ECCV 2018 (arXiv 1712.01026).

    Args:
        discriminator: From images (B, C, H, W) to logits of any shape that starts with B.
        real_data: (B, C, H, W).
        fake_data: (B, C, H, W).
        k: Factor of the penalty.
        p: Power of the norm, above 1.
        grad_trick: Keep the logits in the graph; no effect on numbers.
        alpha: Mixing factors (B, 1, 1, 1), or the generator to draw them from; see :func:`mix_images`.

    Returns:
        A scalar.
    """
    mixed = mix_images(real_data, fake_data, alpha)
    gradient = _input_gradient(discriminator(mixed), mixed, grad_trick)
    return k * gradient.square().flatten(1).sum(dim=1).pow(p / 2).mean()


def r1_penalty(real_pred: Tensor, real_img: Tensor, weight: float = 2.0) -> Tensor:
    """``weight / 2 * mean(||dD(x)/dx||^2)`` over real images; the default is the plain mean, as BasicSR has it.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018 (arXiv 1801.04406), Eq. 9.

    Args:
        real_pred: Logits of ``real_img``, with their graph.
        real_img: (B, C, H, W), the leaf that the logits were computed from.
        weight: gamma of the paper.

    Returns:
        A scalar.
    """
    return weight / 2 * _input_gradient(real_pred, real_img).square().flatten(1).sum(dim=1).mean()


def quadratic_potential_loss(
    real_pred: Tensor,
    fake_pred: Tensor,
    real_data: Tensor,
    fake_data: Tensor,
    lambda_qp: float = 10.0,
    norm: Literal["L1", "L2"] = "L1",
) -> Tensor:
    """``mean((D(x) - D(y))^2 / (2 lambda ||x - y||))`` over pairs of real x and generated y.

    The regulariser of Su, "GAN-QP" (arXiv 1811.07296), which needs no derivative of the critic.

    Args:
        real_pred: (B,) or (B, ...); further logits of a sample are averaged.
        fake_pred: The same.
        real_data: (B, C, H, W).
        fake_data: (B, C, H, W).
        lambda_qp: lambda.
        norm: ``L1`` or ``L2``: the distance between two images, summed over their elements.

    Returns:
        A scalar.

    Raises:
        ArgumentError: If ``norm`` is unknown.
    """
    check_choice("norm", norm, ("L1", "L2"))
    margin = (real_pred - fake_pred).flatten(1).mean(dim=1) if real_pred.dim() > 1 else real_pred - fake_pred
    difference = (real_data - fake_data).flatten(1)
    distance = torch.linalg.vector_norm(difference, ord=1 if norm == "L1" else 2, dim=1)
    return (margin.square() / (2 * lambda_qp * distance.clamp_min(torch.finfo(distance.dtype).eps))).mean()


def g_path_regularize(
    fake_img: Tensor,
    latents: Tensor,
    mean_path_length: Tensor | float,
    decay: float = 0.01,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Path length regularisation of a style-based generator.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (arXiv 1912.04958), Eq. 4.

    Args:
        fake_img: (B, C, H, W), with its graph.
        latents: (B, layers, dim), the leaf that the images were computed from.
        mean_path_length: The running mean so far, a scalar.
        decay: How fast the running mean follows.
        generator: Source of the random direction; torch's default generator if absent.

    Returns:
        The penalty, the batch's mean path length and the new running mean (the last two without gradient).
    """
    device = generator.device if generator else fake_img.device
    noise = torch.randn(fake_img.shape, generator=generator, device=device).to(fake_img)
    per_pixel = (fake_img.shape[-2] * fake_img.shape[-1]) ** -0.5
    gradient = _input_gradient(fake_img * noise * per_pixel, latents)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    path_mean = mean_path_length + decay * (lengths.mean() - mean_path_length)
    penalty = (lengths - path_mean).square().mean()
    return penalty, lengths.detach().mean(), path_mean.detach()
