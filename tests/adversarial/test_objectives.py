"""Objectives against their formulas, written out plainly here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.adversarial import (
    Critic,
    HalfRelativisticObjective,
    Objective,
    RelativisticAverageObjective,
    StandardObjective,
    WassersteinObjective,
    normalize_weights,
)
from basicsr.archs import SpectralDiscriminator2D
from basicsr.archs.arch_util import needs_double_backward
from basicsr.losses.gan_loss import GANLoss


class CountingNet(nn.Module):
    """A small critic that counts its forward passes."""

    def __init__(self, seed: int = 0, width: int = 1, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(width), nn.Conv2d(4, 1, 1))
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.body(x)


def images(seed: int, requires_grad: bool = False) -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).requires_grad_(requires_grad)


def bce(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def vanilla(loss_weight: float = 1.0) -> GANLoss:
    return GANLoss("vanilla", loss_weight=loss_weight)


def test_standard_terms_follow_their_formulas() -> None:
    net = CountingNet()
    critic, objective = Critic("d", net), StandardObjective(vanilla(0.1))
    real, fake = images(1), images(2)
    logits_real, logits_fake = net(real).flatten(1), net(fake).flatten(1)
    torch.testing.assert_close(objective.generator_terms([critic], real, fake)["l_g_gan"], 0.1 * bce(logits_fake, True))
    terms = objective.critic_terms(critic, real, fake)
    torch.testing.assert_close(terms.losses["l_d_real"], bce(logits_real, True))
    torch.testing.assert_close(terms.losses["l_d_fake"], bce(logits_fake, False))
    torch.testing.assert_close(terms.logs["out_d_real"], logits_real.mean())


def test_relativistic_terms_follow_their_formulas() -> None:
    net = CountingNet(width=2)
    critic, objective = Critic("spectral_d", net), RelativisticAverageObjective(vanilla())
    real, fake = images(1), images(2)
    r, f = net(real).flatten(1), net(fake).flatten(1)
    generator = objective.generator_terms([critic], real, fake)["l_g_gan"]
    torch.testing.assert_close(generator, (bce(r - f.mean(), False) + bce(f - r.mean(), True)) / 2)
    critic.forget()
    terms = objective.critic_terms(critic, real, fake).losses
    torch.testing.assert_close(terms["l_spectral_d_real"], bce(r - f.mean(), True) / 2)
    torch.testing.assert_close(terms["l_spectral_d_fake"], bce(f - r.mean(), False) / 2)


def test_relativistic_means_are_constants_for_the_critic_only() -> None:
    net = CountingNet()
    objective = RelativisticAverageObjective(vanilla())
    real, fake = images(1), images(2, requires_grad=True)
    loss = objective.generator_terms([Critic("d", net)], real, fake)["l_g_gan"]
    (through_mean,) = torch.autograd.grad(loss, fake)
    r, f = net(real).flatten(1).detach(), net(fake).flatten(1)
    constant_mean = (bce(r - f.mean().detach(), False) + bce(f - r.mean(), True)) / 2
    (without_mean,) = torch.autograd.grad(constant_mean, fake)
    assert not torch.allclose(through_mean, without_mean)


def test_spsr_is_relativistic_for_the_generator_and_standard_for_critics() -> None:
    critic, real, fake = Critic("grad_d", CountingNet()), images(1), images(2)
    mixed = HalfRelativisticObjective(vanilla())
    expected = RelativisticAverageObjective(vanilla()).generator_terms([critic], real, fake)
    torch.testing.assert_close(mixed.generator_terms([critic], real, fake), expected)
    expected_critic = StandardObjective(vanilla()).critic_terms(critic, real, fake)
    torch.testing.assert_close(mixed.critic_terms(critic, real, fake).losses, expected_critic.losses)


def test_wasserstein_logs_its_distance_and_penalty() -> None:
    critic, real, fake = Critic("spectral_d", CountingNet()), images(1), images(2)
    objective = WassersteinObjective(GANLoss("wgan"), gp_weight=10.0)
    terms = objective.critic_terms(critic, real, fake, torch.Generator().manual_seed(0))
    assert set(terms.losses) == {"l_spectral_d_real", "l_spectral_d_fake", "l_spectral_gp"}
    distance = terms.logs["out_spectral_d_real"] - terms.logs["out_spectral_d_fake"]
    torch.testing.assert_close(terms.logs["spectral_d_w_distance"], distance)
    again = objective.critic_terms(critic, real, fake, torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms.losses, again.losses)
    other = objective.critic_terms(critic, real, fake, torch.Generator().manual_seed(1))
    assert not torch.equal(terms.losses["l_spectral_gp"], other.losses["l_spectral_gp"])


def test_several_critics_are_weighted_and_logged_each() -> None:
    critics = [Critic("d", CountingNet(0), 0.25), Critic("spectral_d", CountingNet(1), 0.75)]
    objective, real, fake = StandardObjective(vanilla(2.0)), images(1), images(2)
    terms = objective.generator_terms(critics, real, fake)
    torch.testing.assert_close(terms["l_g_gan_d"], 0.25 * 2.0 * bce(critics[0](fake), True))
    torch.testing.assert_close(terms["l_g_gan_spectral_d"], 0.75 * 2.0 * bce(critics[1](fake), True))


def test_fused_logits_are_added_before_the_loss_whatever_their_shape() -> None:
    critics = [Critic("d", CountingNet(0), 0.5), Critic("spectral_d", CountingNet(1, width=2), 2.0)]
    real, fake = images(1), images(2)
    fused = StandardObjective(vanilla(), adv_loss_version="v2").generator_terms(critics, real, fake)
    torch.testing.assert_close(fused["l_g_gan"], bce(0.5 * critics[0](fake) + 2.0 * critics[1](fake), True))


def test_fused_logits_of_different_widths_are_refused() -> None:
    critics = [Critic("d", CountingNet(0, width=3)), Critic("spectral_d", CountingNet(1, width=2))]
    with pytest.raises(ValueError, match=r"v2.*d \(3, 9\), spectral_d \(3, 4\)"):
        StandardObjective(vanilla(), adv_loss_version="v2").generator_terms(critics, images(1), images(2))


class JointNet(CountingNet):
    """Says that images do not see each other."""

    judges_images_alone = True


def take_turns(critic: Critic, objective: Objective, real: Tensor, fake: Tensor) -> tuple[Any, Any]:
    """The gradient of the generator's turn, and those of the critic's; both as the training step takes them."""
    terms = objective.generator_terms([critic], real, fake)["l_g_gan"]
    (image,) = torch.autograd.grad(terms, fake, retain_graph=True)
    losses = objective.critic_terms(critic, real, fake).losses
    sum(losses.values()).backward(inputs=critic.parameters)
    critic.forget()
    return image, [parameter.grad for parameter in critic.parameters]


@pytest.mark.parametrize("kind", [StandardObjective, RelativisticAverageObjective, HalfRelativisticObjective])
@pytest.mark.parametrize("view", [None, lambda images: images / images.amax()])
def test_one_pass_for_both_kinds_gives_the_gradients_of_passes_of_their_own(kind: Any, view: Any) -> None:
    found = {}
    for net in (JointNet(), CountingNet()):
        real, fake = images(1), images(2, requires_grad=True)
        found[type(net)] = take_turns(Critic("d", net, view=view), kind(vanilla()), real, fake)
        assert fake.grad is None
        assert net.passes == (1 if isinstance(net, JointNet) else 2)
    torch.testing.assert_close(found[JointNet], found[CountingNet])


def test_other_images_and_the_next_iteration_are_judged_anew() -> None:
    net = JointNet()
    critic, real = Critic("d", net), images(1)
    for _ in range(2):
        fake = images(2, requires_grad=True)
        assert critic.judge(real, fake)[1] is critic.judge(real, fake)[1]
    assert net.passes == 2
    critic.forget()
    critic.judge(real, fake)
    assert net.passes == 3


@pytest.mark.parametrize("kind", [StandardObjective, RelativisticAverageObjective])
def test_networks_with_power_iterations_run_all_published_passes(kind: Any) -> None:
    net = CountingNet()
    nn.utils.spectral_norm(net.body[0])
    take_turns(Critic("d", net), kind(vanilla()), images(1), images(2, requires_grad=True))
    assert net.passes == (5 if kind is RelativisticAverageObjective else 3)


@pytest.mark.parametrize(("kind", "order"), [(StandardObjective, "frf"), (RelativisticAverageObjective, "rffrf")])
@pytest.mark.parametrize("base", [CountingNet, JointNet])
def test_batch_norm_takes_one_pass_of_each_kind_and_moves_as_often_as_published(
    kind: Any, order: str, base: type[CountingNet]
) -> None:
    net, published = base(norm=True), base(norm=True)
    published.load_state_dict(net.state_dict())
    kinds = {"r": images(1), "f": images(2, requires_grad=True)}
    image, gradients = take_turns(Critic("d", net), kind(vanilla()), *kinds.values())
    assert net.passes == 2
    # Published: a pass for each use, the generator's turn first.
    r, f = (published(kinds[name]).flatten(1) if name in order[:-3] + "f" else None for name in "rf")
    if kind is StandardObjective:
        generator = bce(f, True)
    else:
        generator = (bce(r.detach() - f.mean(), False) + bce(f - r.detach().mean(), True)) / 2
    torch.testing.assert_close(image, torch.autograd.grad(generator, kinds["f"])[0])
    means = {"r": 0, "f": 0}
    if kind is RelativisticAverageObjective:
        means["f"] = published(kinds["f"]).mean().detach()
    r = published(kinds["r"]).flatten(1)
    f = published(kinds["f"].detach()).flatten(1)
    if kind is RelativisticAverageObjective:
        means["r"] = r.detach().mean()
    losses = bce(r - means["f"], True) + bce(f - means["r"], False)
    (losses * (0.5 if kind is RelativisticAverageObjective else 1)).backward()
    torch.testing.assert_close(gradients, [parameter.grad for parameter in published.parameters()])
    torch.testing.assert_close(net.state_dict(), published.state_dict())


def test_wasserstein_critics_judge_each_kind_by_itself() -> None:
    # What shifts all logits alike must get a gradient of exactly zero.
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 1, 1))
    net.judges_images_alone = True
    critic = Critic("d", net, may_join=WassersteinObjective.may_join)
    losses = WassersteinObjective(GANLoss("wgan"), gp_weight=0.0).critic_terms(critic, images(1), images(2)).losses
    sum(losses.values()).backward(inputs=critic.parameters)
    assert net[2].bias.grad.item() == 0


class WatchingNet(CountingNet):
    """Notes whether a pass may have to be differentiated twice."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(needs_double_backward(x, next(self.parameters())))
        return super().forward(x)


def test_only_a_penalty_s_pass_is_for_two_derivatives() -> None:
    net = WatchingNet()
    critic, real, fake = Critic("d", net), images(1), images(2, requires_grad=True)
    objective = WassersteinObjective(GANLoss("wgan"), gp_weight=1.0)
    take_turns(critic, objective, real, fake)
    # Generated and real images, and the mixed ones.
    assert net.seen == [False, False, True]
    with torch.no_grad():
        critic.judge_unwrapped(fake)
    assert not net.seen[-1]


@pytest.mark.parametrize("fix_normalize", [True, False])
def test_spectra_of_each_kind_are_scaled_by_their_own_extremes(fix_normalize: bool) -> None:
    torch.manual_seed(0)
    net = SpectralDiscriminator2D(
        img_size=8, patch_size=4, embed_dim=8, depths=[1], num_heads=[2], window_size=2, fix_normalize=fix_normalize
    ).eval()
    real, fake = images(1), 5 * images(2)
    expected = [net(kind).flatten(1) for kind in (real, fake)]
    torch.testing.assert_close(list(Critic("spectral_d", net).judge(real, fake)), expected)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (nn.Conv2d(3, 4, 3), False),
        (nn.Sequential(nn.BatchNorm2d(3)), True),
        (nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), True),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), True),
        (nn.LayerNorm(3), False),
    ],
)
def test_forward_state_is_recognised(net: nn.Module, expected: bool) -> None:
    assert Critic("d", net).changes_with_forward is expected


def test_weights_are_normalised_or_refused() -> None:
    assert normalize_weights({"d": 0.5, "spectral_d": 1.0}) == pytest.approx({"d": 1 / 3, "spectral_d": 2 / 3})
    with pytest.raises(ValueError, match="positive sum"):
        normalize_weights({"d": 0.0, "spectral_d": 0.0})
    with pytest.raises(ValueError, match="non-negative"):
        normalize_weights({"d": -1.0, "spectral_d": 2.0})


def test_accuracy_counts_outputs_on_their_side_of_the_threshold() -> None:
    real, fake = torch.tensor([[0.7, 0.3], [1.0, -0.1]]), torch.tensor([[0.4, -0.2], [0.6, -1.0]])
    vanilla_shares = StandardObjective(vanilla()).judge_accuracy(real, fake)
    assert [share.item() for share in vanilla_shares] == [0.75, 0.5]
    least_squares = StandardObjective(GANLoss("lsgan")).judge_accuracy(real, fake)
    assert [share.item() for share in least_squares] == [0.5, 0.75]
    assert [s.item() for s in HalfRelativisticObjective(vanilla()).judge_accuracy(real, fake)] == [0.75, 0.5]


@pytest.mark.parametrize("objective", [RelativisticAverageObjective(vanilla()), WassersteinObjective(GANLoss("wgan"))])
def test_accuracy_is_relative_where_only_differences_count(objective: RelativisticAverageObjective) -> None:
    real, fake = torch.tensor([[10.0], [12.0], [9.0]]), torch.tensor([[8.0], [11.0], [9.5]])
    # The means are 9.5 (generated) and 10.33 (real).
    expected = [2 / 3, 2 / 3]
    assert [share.item() for share in objective.judge_accuracy(real, fake)] == pytest.approx(expected)
    shifted = objective.judge_accuracy(real - 100, fake - 100)
    assert [share.item() for share in shifted] == pytest.approx(expected)
    alike = objective.judge_accuracy(real[:1], real[:1])
    assert [share.item() for share in alike] == [0, 0]
