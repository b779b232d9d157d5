"""Pixel losses and total variation."""

from __future__ import annotations

import pytest
import torch
from golden_cases import load_case

from basicsr.losses import ArtifactLoss, CharbonnierLoss, L1Loss, MSELoss, WeightedTVLoss, build_loss
from basicsr.losses.basic_loss import charbonnier_loss, l1_loss, mse_loss
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.utils.batch import Batch
from basicsr.utils.errors import ArgumentError, UserError

PIXEL = load_case("loss_pixel")


@pytest.mark.parametrize("name", PIXEL.config["calls"])
def test_golden_pixel_losses(name: str) -> None:
    call = PIXEL.config["calls"][name]
    pred = PIXEL.tensor("in.a").requires_grad_()
    weight = PIXEL.tensor(call["weight"]) if call["weight"] else None
    value = build_loss(call["opt"])(pred, PIXEL.tensor("in.b"), weight)
    PIXEL.check(value, name)
    value.sum().backward()
    PIXEL.check(pred.grad, f"{name}.grad")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_golden_total_variation(reduction: str) -> None:
    case = load_case("loss_tv_rank_feat")
    loss = WeightedTVLoss(loss_weight=case.config["loss_weight"], reduction=reduction)
    case.check(loss(case.tensor("in.x")), f"out.tv.{reduction}")
    case.check(loss(case.tensor("in.x"), case.tensor("in.w")), f"out.tv.w.{reduction}")


def test_functions_take_weight_and_reduction() -> None:
    pred, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    difference = pred - target
    torch.testing.assert_close(l1_loss(pred, target, reduction="none"), difference.abs())
    torch.testing.assert_close(mse_loss(pred, target, reduction="sum"), difference.square().sum())
    torch.testing.assert_close(charbonnier_loss(pred, target, eps=1.0), (difference.square() + 1).sqrt().mean())


def test_charbonnier_has_a_gradient_where_images_agree() -> None:
    pred = torch.rand(1, 3, 4, 4, requires_grad=True)
    CharbonnierLoss()(pred, pred.detach().clone()).backward()
    assert pred.grad is not None and pred.grad.eq(0).all()


@pytest.mark.parametrize("loss", [L1Loss, MSELoss, CharbonnierLoss])
def test_unequal_shapes_are_refused(loss: type) -> None:
    with pytest.raises(ValueError, match="shape"):
        loss()(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        (L1Loss, {"reduction": "average"}),
        (MSELoss, {"reduction": ""}),
        (CharbonnierLoss, {"eps": 0.0}),
        (WeightedTVLoss, {"reduction": "none"}),
    ],
)
def test_impossible_arguments_are_refused(loss: type, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        loss(**arguments)


def test_build_loss_leaves_its_options_alone_and_names_unknown_types() -> None:
    opt = {"type": "L1Loss", "loss_weight": 0.5}
    loss = build_loss(opt)
    assert isinstance(loss, L1Loss) and loss.loss_weight == 0.5
    assert opt == {"type": "L1Loss", "loss_weight": 0.5}
    with pytest.raises(UserError, match="L1Loss"):
        build_loss({"type": "L1Los"})
    with pytest.raises(UserError, match="type"):
        build_loss({"loss_weight": 1.0})
    with pytest.raises(TypeError, match="wieght"):
        build_loss({"type": "L1Loss", "wieght": 1.0})


PUBLISHED = """
BBL CharbonnierLoss GANFeatLoss GANLoss L1Loss MSELoss MultiScaleGANLoss PerceptualLoss RankLoss WeightedTVLoss
charbonnier_loss g_path_regularize get_local_weights get_refined_artifact_map gradient_penalty_loss
gradient_penalty_loss_2 gradient_penalty_wdiv l1_loss mse_loss quadratic_potential_loss r1_penalty reduce_loss
weight_reduce_loss weighted_loss wgan_gp_penalty
"""


@pytest.mark.parametrize("name", PUBLISHED.split())
def test_published_module_names_import(name: str) -> None:
    from basicsr.losses import losses

    assert hasattr(losses, name)


def test_golden_ldl_with_the_gradient_of_its_map() -> None:
    case = load_case("loss_ldl")
    output = case.tensor("in.out").requires_grad_()
    assert case.config["ksize"] == 7
    value = ArtifactLoss(L1Loss())(Batch(gt=case.tensor("in.gt"), sr=output, ema_sr=case.tensor("in.ema")))
    case.check(value, "out.ldl")
    value.backward()
    case.check(output.grad, "out.ldl_grad")


def test_ldl_gives_the_average_no_gradient() -> None:
    gt, output, ema = (torch.rand(1, 3, 12, 12) for _ in range(3))
    ArtifactLoss(L1Loss())(Batch(gt=gt, sr=output.requires_grad_(), ema_sr=ema.requires_grad_())).backward()
    assert ema.grad is None


# --- what constructors refuse -----------------------------------------------------------------------------------------

REFUSED = [
    ("L1Loss", {"reduction": "average"}),
    ("CharbonnierLoss", {"eps": 0.0}),
    ("WeightedTVLoss", {"reduction": "none"}),
    ("GANLoss", {"gan_type": "hingy"}),
    ("MultiScaleGANLoss", {"gan_type": "hingy"}),
    ("GANFeatLoss", {"criterion": "huber"}),
    ("GANFeatLoss", {"reduction": "none"}),
    ("RankLoss", {"reduction": ""}),
    ("BBL", {"dist_norm": "l3"}),
    ("BBL", {"criterion": "fro"}),
    ("BBL", {"ksize": 0}),
    ("BBL", {"pad": -1}),
    ("BBL", {"alpha": -1.0}),
    ("BBL", {"beta": -1.0}),
    ("PerceptualLoss", {"layer_weights": {}}),
    ("PerceptualLoss", {"vgg_type": "vgg12", "layer_weights": {"conv1_1": 1}}),
    ("PerceptualLoss", {"criterion": "l3", "layer_weights": {"conv1_1": 1}}),
]


@pytest.mark.parametrize(("name", "arguments"), REFUSED, ids=str)
def test_refused_arguments_are_named(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentError) as raised:
        build_loss({"type": name, **arguments})
    argument = next(iter(arguments))
    assert raised.value.argument == argument
    assert argument in str(raised.value)


def test_unknown_layers_of_a_perceptual_loss_are_those_of_its_weights() -> None:
    with pytest.raises(ArgumentError, match="no layer conv9_9") as raised:
        build_loss({"type": "PerceptualLoss", "layer_weights": {"conv9_9": 1}})
    assert raised.value.argument == "layer_weights"


def test_even_windows_of_ldl_are_refused() -> None:
    with pytest.raises(ArgumentError, match="odd") as raised:
        get_refined_artifact_map(*torch.rand(3, 1, 3, 12, 12), ksize=6)
    assert raised.value.argument == "ksize"
