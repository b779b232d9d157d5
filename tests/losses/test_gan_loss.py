"""Adversarial, feature matching and ranking losses."""

from __future__ import annotations

import pytest
import torch
from golden_cases import load_case

from basicsr.losses import GANFeatLoss, GANLoss, MultiScaleGANLoss, RankLoss, build_loss

GAN = load_case("loss_gan")
OTHER = load_case("loss_tv_rank_feat")


@pytest.mark.parametrize("name", GAN.config["calls"])
def test_golden_gan_losses(name: str) -> None:
    call = GAN.config["calls"][name]
    logits = GAN.tensor("in.x").requires_grad_()
    value = build_loss(call["opt"])(logits, call["target_is_real"], is_disc=call["is_disc"])
    GAN.check(value, name)
    value.backward()
    GAN.check(logits.grad, f"{name}.grad")


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_the_mean_is_over_all_logits_of_any_shape(gan_type: str) -> None:
    logits = torch.randn(2, 1, 3, 4)
    loss = GANLoss(gan_type)
    torch.testing.assert_close(loss(logits, True, is_disc=True), loss(logits.flatten()[:, None], True, is_disc=True))


def test_label_values_count() -> None:
    logits = torch.randn(4, 1)
    smooth = GANLoss("lsgan", real_label_val=0.9, fake_label_val=0.1)
    torch.testing.assert_close(smooth(logits, True, is_disc=True), (logits - 0.9).square().mean())
    torch.testing.assert_close(smooth(logits, False, is_disc=True), (logits - 0.1).square().mean())


def test_unknown_gan_type_is_named() -> None:
    with pytest.raises(ValueError, match="hinge"):
        GANLoss("hingy")


@pytest.mark.parametrize("gan_type", ["lsgan", "hinge"])
def test_golden_multi_scale(gan_type: str) -> None:
    p1, p2 = OTHER.tensor("in.p1"), OTHER.tensor("in.p2")
    weight = OTHER.config["loss_weight"]
    value = MultiScaleGANLoss(gan_type, loss_weight=weight)([p1, [3 * p1, p2]], True, is_disc=False)
    OTHER.check(value, f"out.ms.{gan_type}")


def test_multi_scale_of_one_tensor_is_the_plain_loss() -> None:
    logits = torch.randn(3, 1)
    torch.testing.assert_close(MultiScaleGANLoss("vanilla")(logits, True), GANLoss("vanilla")(logits, True))
    with pytest.raises(ValueError, match="empty"):
        MultiScaleGANLoss("vanilla")([], True)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_golden_rank_loss(reduction: str) -> None:
    loss = RankLoss(OTHER.config["loss_weight"], reduction, margin=OTHER.config["margin"])
    OTHER.check(loss(OTHER.tensor("in.p1"), OTHER.tensor("in.p2")), f"out.rank.{reduction}")


def _features(kind: str) -> list[list[torch.Tensor]]:
    return [[OTHER.tensor(f"in.{kind}_{i}_{j}") for j in range(3)] for i in range(2)]


@pytest.mark.parametrize("criterion", ["l1", "l2", "charbonnier"])
def test_golden_feature_matching(criterion: str) -> None:
    # The numbers were made with a loss that applied its weight twice; ours applies it once.
    weight = OTHER.config["loss_weight"] ** 2
    value = GANFeatLoss(criterion, loss_weight=weight, reduction="mean")(_features("fake"), _features("real"))
    OTHER.check(value, f"out.feat.{criterion}")


def test_feature_matching_applies_its_weight_once_and_only_moves_the_fake() -> None:
    fake, real = _features("fake"), _features("real")
    for features in (*fake, *real):
        for feature in features:
            feature.requires_grad_()
    plain, weighted = GANFeatLoss()(fake, real), GANFeatLoss(loss_weight=0.5)(fake, real)
    torch.testing.assert_close(weighted, 0.5 * plain)
    plain.backward()
    assert fake[0][0].grad is not None and real[0][0].grad is None and fake[0][2].grad is None


def test_feature_matching_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="criterion"):
        GANFeatLoss(criterion="huber")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction"):
        GANFeatLoss(reduction="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="per critic"):
        GANFeatLoss()(_features("fake"), _features("real")[:1])
    with pytest.raises(ValueError, match="at least one feature"):
        GANFeatLoss()([[torch.rand(1)]], [[torch.rand(1)]])
