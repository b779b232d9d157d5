"""Perceptual and style losses on a seeded VGG."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import load_case, seeded_state
from torch import Tensor, nn

from basicsr.archs import vgg_arch
from basicsr.losses import PerceptualLoss, build_loss
from basicsr.losses.content import build_content_losses
from basicsr.models.options import ModelOptions
from basicsr.utils.batch import Batch

CASE = load_case("loss_perceptual")


@pytest.fixture
def seeded_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every VGG that is built gets the seeded weights of the golden case instead of torchvision's."""

    def seed(net: nn.Module, *_: object) -> None:
        seeded_state(net, CASE.config["param_seed"])

    monkeypatch.setattr(vgg_arch, "load_torchvision_weights", seed)


@pytest.mark.usefixtures("seeded_vgg")
@pytest.mark.parametrize("name", CASE.config["calls"])
def test_golden_perceptual(name: str) -> None:
    loss = build_loss(CASE.config["calls"][name])
    output = CASE.tensor("in.x").requires_grad_()
    for kind, value in zip(("percep", "style"), loss(output, CASE.tensor("in.gt"))):
        key = name.replace("*", kind)
        assert (value is None) == (key not in CASE.arrays)
        if value is not None:
            CASE.check(value, key)
            (gradient,) = torch.autograd.grad(value, output, retain_graph=True)
            CASE.check(gradient, f"{key}_grad")


@pytest.fixture
def shallow(seeded_vgg: None) -> PerceptualLoss:
    return PerceptualLoss({"conv1_1": 1.0, "relu1_2": 0.5}, style_weight=3.0, perceptual_weight=2.0)


def _images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)


def test_each_image_passes_the_network_once(shallow: PerceptualLoss) -> None:
    seen: list[bool] = []
    shallow.vgg.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    x, gt = _images()
    perceptual, style = shallow(x.requires_grad_(), gt)
    assert perceptual is not None and style is not None
    assert sorted(seen) == [False, True]


def test_the_ground_truth_and_the_network_get_no_gradient(shallow: PerceptualLoss) -> None:
    x, gt = _images()
    gt.requires_grad_()
    sum(shallow(x.requires_grad_(), gt)).backward()
    assert x.grad is not None and gt.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in shallow.parameters())


def test_training_mode_of_the_model_does_not_reach_the_network(shallow: PerceptualLoss) -> None:
    assert not shallow.train().vgg.training


@pytest.mark.usefixtures("seeded_vgg")
def test_criteria_are_those_of_their_names() -> None:
    x, gt = _images()
    layer = {"conv1_1": 0.5}
    difference = 0
    values = {}
    for criterion in ("l1", "l2", "fro"):
        loss = PerceptualLoss(layer, criterion=criterion)
        values[criterion], style = loss(x, gt)
        assert style is None
        difference = loss.vgg(x)["conv1_1"] - loss.vgg(gt)["conv1_1"]
    torch.testing.assert_close(values["l1"], 0.5 * difference.abs().mean())
    torch.testing.assert_close(values["l2"], 0.5 * difference.square().mean())
    torch.testing.assert_close(values["fro"], 0.5 * difference.square().sum().sqrt())


@pytest.mark.usefixtures("seeded_vgg")
def test_a_loss_without_weights_runs_nothing() -> None:
    loss = PerceptualLoss({"conv1_1": 1.0}, perceptual_weight=0.0)
    loss.vgg.register_forward_hook(lambda *_: pytest.fail("the network ran"))
    assert loss(*_images()) == (None, None)


@pytest.mark.usefixtures("seeded_vgg")
def test_style_alone_is_reported_alone() -> None:
    options = {"type": "PerceptualLoss", "layer_weights": {"conv1_1": 1.0}, "perceptual_weight": 0, "style_weight": 1}
    content = build_content_losses(ModelOptions.of({"train": {"perceptual_opt": options}}).losses)
    assert list(content(Batch(gt=_images()[1], sr=_images()[0]))) == ["l_g_style"]


def test_weights_file_of_the_options_is_used(tmp_path: Path) -> None:
    donor = vgg_arch.VGGFeatureExtractor(["conv1_2"], pretrained=False)
    state = donor.vgg_net.state_dict()
    positions = {"conv1_1": 0, "conv1_2": 2}
    renamed = {f"features.{positions[k.split('.')[0]]}.{k.split('.')[1]}": v for k, v in state.items()}
    file = tmp_path / "vgg19.pth"
    torch.save(renamed, file)
    loss = PerceptualLoss({"conv1_2": 1.0}, pretrained_path=str(file))
    x, gt = _images()
    expected = (donor(x)["conv1_2"] - donor(gt)["conv1_2"]).abs().mean()
    torch.testing.assert_close(loss(x, gt)[0], expected)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="layer_weights"):
        PerceptualLoss({})
    with pytest.raises(ValueError, match="criterion"):
        PerceptualLoss({"conv1_1": 1.0}, criterion="ssim")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="conv9_9"):
        PerceptualLoss({"conv9_9": 1.0})


def test_missing_weights_say_which_file_to_put_where(tmp_path: Path) -> None:
    options = {"type": "PerceptualLoss", "layer_weights": {"conv1_1": 1}, "pretrained_path": str(tmp_path / "no.pth")}
    with pytest.raises(ValueError, match=r"no\.pth"):
        build_content_losses(ModelOptions.of({"train": {"perceptual_opt": options}}).losses)
