"""Penalties on gradients: values, and gradients of the penalties with respect to the critics' weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_cases import Case, load_case
from torch import Tensor, nn

from basicsr.losses import (
    g_path_regularize,
    gradient_penalty_loss,
    gradient_penalty_wdiv,
    quadratic_potential_loss,
    r1_penalty,
    wgan_gp_penalty,
)
from basicsr.losses.gradient_penalty import mix_images

PENALTIES: dict[str, Callable[..., Tensor]] = {
    "gradient_penalty_loss": gradient_penalty_loss,
    "gradient_penalty_loss_2": wgan_gp_penalty,
    "gradient_penalty_wdiv": gradient_penalty_wdiv,
}


def _stored_critic(case: Case) -> nn.Module:
    from basicsr.archs import build_network

    net = build_network(case.config["network"])
    net.load_state_dict(case.state_dict("param.d/"))
    return net.train()


def _check_parameter_gradients(case: Case, net: nn.Module, prefix: str) -> None:
    for name, parameter in net.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        case.check(gradient, f"{prefix}{name}")


@pytest.mark.parametrize(
    "name", ["loss_gp_unet", "loss_gp_unet_weighted", "loss_gp2_swin", "loss_gp2_spectral", "loss_gp_wdiv"]
)
def test_golden_penalties(name: str) -> None:
    case = load_case(name)
    net = _stored_critic(case)
    arguments: dict[str, Any] = case.config["kwargs"]
    arguments.pop("grad_trick", None)  # A switch of the original that does not change the numbers.
    if "in.weight" in case.arrays:
        arguments["weight"] = case.tensor("in.weight")
    penalty = PENALTIES[case.config["function"]]
    value = penalty(net, case.tensor("in.real"), case.tensor("in.fake"), alpha=case.tensor("in.alpha"), **arguments)
    case.check(value, "out.value")
    value.backward()
    _check_parameter_gradients(case, net, "out.grad.")


def test_golden_r1() -> None:
    case = load_case("loss_r1_and_qp")
    net = _stored_critic(case)
    real = case.tensor("in.real").requires_grad_()
    value = r1_penalty(net(real), real, case.config["weight"])
    case.check(value, "out.r1")
    value.backward()
    _check_parameter_gradients(case, net, "out.r1.grad.")


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_golden_quadratic_potential(norm: str) -> None:
    case = load_case("loss_r1_and_qp")
    tensors = [case.tensor(f"in.{name}") for name in ("real_pred", "fake_pred", "real", "fake")]
    case.check(quadratic_potential_loss(*tensors, case.config["lambda_qp"], norm), f"out.qp_{norm}")
    column = [tensors[0][:, None], tensors[1][:, None], *tensors[2:]]
    case.check(quadratic_potential_loss(*column, case.config["lambda_qp"], norm), f"out.qp_{norm}")


def test_quadratic_potential_refuses_other_norms() -> None:
    with pytest.raises(ValueError, match="L3"):
        quadratic_potential_loss(*(torch.rand(2, 3, 4, 4) for _ in range(4)), norm="L3")  # type: ignore[arg-type]


class _Quadratic(nn.Module):
    """D(x) = a/2 |x|^2, whose gradient is a x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.factor * x.square().flatten(1).sum(1, keepdim=True)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore


def test_penalties_of_a_known_critic(images: tuple[Tensor, Tensor]) -> None:
    real, fake = images
    net, alpha = _Quadratic(0.3), torch.tensor([0.25, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
    mixed = alpha * real + (1 - alpha) * fake
    sample_norm = (0.3 * mixed).flatten(1).norm(dim=1)
    pixel_norm = (0.3 * mixed).norm(dim=1)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(
        wgan_gp_penalty(net, real, fake, 10.0, alpha=alpha), 10 * (sample_norm - 1).square().mean(), **close
    )
    torch.testing.assert_close(
        gradient_penalty_loss(net, real, fake, alpha=alpha), (pixel_norm - 1).square().mean(), **close
    )
    torch.testing.assert_close(
        gradient_penalty_wdiv(net, real, fake, 2.0, 6.0, alpha=alpha), 2 * sample_norm.pow(6).mean(), **close
    )
    leaf = real.clone().requires_grad_()
    torch.testing.assert_close(r1_penalty(net(leaf), leaf), (0.3 * real).square().flatten(1).sum(1).mean(), **close)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_second_derivatives_agree_with_finite_differences(
    penalty: Callable[..., Tensor], images: tuple[Tensor, Tensor]
) -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value(weight: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, weight).tanh().sum((1, 2, 3))

        return penalty(critic, *images, alpha=torch.full((2, 1, 1, 1), 0.4, dtype=torch.float64))

    assert torch.autograd.gradcheck(value, (weight.requires_grad_(),))


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_the_generator_decides_where_the_gradient_is_taken(
    penalty: Callable[..., Tensor], images: tuple[Tensor, Tensor]
) -> None:
    def value(seed: int) -> Tensor:
        return penalty(_Quadratic(0.3), *images, alpha=torch.Generator().manual_seed(seed))

    torch.manual_seed(5)
    first = value(1)
    torch.manual_seed(6)
    torch.testing.assert_close(value(1), first, rtol=0, atol=0)
    assert value(2) != first


def test_a_vanishing_gradient_has_a_finite_penalty_gradient(images: tuple[Tensor, Tensor]) -> None:
    net = _Quadratic(0.0)
    wgan_gp_penalty(net, *images).backward()
    assert net.factor.grad is not None and net.factor.grad.isfinite()


def test_mixing_reaches_both_ends_and_refuses_other_shapes(images: tuple[Tensor, Tensor]) -> None:
    real, fake = images
    torch.testing.assert_close(mix_images(real, fake, torch.ones(2, 1, 1, 1)).detach(), real)
    torch.testing.assert_close(mix_images(real, fake, torch.zeros(2, 1, 1, 1)).detach(), fake)
    assert mix_images(real, fake).is_leaf
    with pytest.raises(ValueError, match="shape"):
        mix_images(real, fake[:1])


def test_penalty_works_where_gradients_are_off_for_the_caller(images: tuple[Tensor, Tensor]) -> None:
    real, fake = (image.clone().requires_grad_() for image in images)
    wgan_gp_penalty(_Quadratic(0.3), real * 1, fake * 1).backward()
    assert real.grad is None and fake.grad is None


def test_path_lengths_of_a_linear_generator() -> None:
    latents = torch.randn(2, 3, 4, requires_grad=True)
    mixing = torch.randn(12, 3 * 8 * 8)
    fake = (latents.flatten(1) @ mixing).view(2, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    penalty, lengths, running = g_path_regularize(fake, latents, torch.zeros(()), decay=1.0, generator=generator)
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 8
    expected = (noise.flatten(1) @ mixing.T).view(2, 3, 4).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(lengths, expected.mean())
    torch.testing.assert_close(running, expected.mean())
    torch.testing.assert_close(penalty, expected.var(unbiased=False))
