"""Layer names, where weights come from, and what happens when they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from basicsr.archs import VGGFeatureExtractor, vgg_arch
from basicsr.utils.download_util import Checksum
from basicsr.utils.errors import WeightsError
from basicsr.weights import obtaining


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and hub cache, and no network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(vgg_arch.PATH_VARIABLE, raising=False)
    return tmp_path


def write_weights(file: Path, vgg_type: str = "vgg11") -> nn.Module:
    with torch.device("meta"):
        features = getattr(torchvision.models, vgg_type)().features[:9]
    features = features.to_empty(device="cpu")
    for value in features.state_dict().values():
        if value.is_floating_point():
            value.normal_(0.05, 0.05).abs_()
        else:
            value.zero_()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, file)
    return features.eval()


@pytest.mark.parametrize("vgg_type", [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")])
def test_layers_are_those_of_torchvision(vgg_type: str) -> None:
    with torch.device("meta"):
        features = getattr(torchvision.models, vgg_type)().features
        net = VGGFeatureExtractor(["pool5"], vgg_type)
    names = vgg_arch.list_layers(vgg_type)
    assert len(names) == len(features)
    assert [type(layer) for layer in net.vgg_net] == [type(layer) for layer in features]
    assert list(net.vgg_net._modules) == names
    shapes = [value.shape for value in features.state_dict().values()]
    assert [value.shape for value in net.vgg_net.state_dict().values()] == shapes


@pytest.mark.parametrize("vgg_type", ["vgg11", "vgg11_bn"])
def test_features_are_those_of_torchvision(offline: Path, vgg_type: str) -> None:
    file = offline / "weights.pth"
    features = write_weights(file, vgg_type)
    names = vgg_arch.list_layers(vgg_type)[: len(features)]
    net = VGGFeatureExtractor(names, vgg_type, use_input_norm=False, pretrained_path=str(file))
    x = torch.rand(2, 3, 16, 16)
    expected = x.clone()
    found = net(x)
    assert list(found) == names
    for name, layer in zip(names, features):
        expected = layer(expected.clone())
        torch.testing.assert_close(found[name], expected)


def test_nothing_is_built_behind_the_deepest_layer() -> None:
    net = VGGFeatureExtractor(["conv2_2", "conv1_1"], pretrained=False)
    assert list(net.vgg_net._modules)[-1] == "conv2_2"
    assert list(net(torch.rand(1, 3, 8, 8))) == ["conv1_1", "conv2_2"]


def test_features_before_the_activation_are_not_overwritten() -> None:
    net = VGGFeatureExtractor(["conv1_1", "relu1_1"], pretrained=False)
    found = net(torch.rand(1, 3, 8, 8))
    assert found["conv1_1"].min() < 0
    assert torch.equal(found["conv1_1"].relu(), found["relu1_1"])


def test_inputs_are_normalised_as_stated() -> None:
    x = torch.rand(1, 3, 8, 8)
    state = VGGFeatureExtractor(["conv1_1"], pretrained=False).state_dict()
    results = {}
    for name, options in {"plain": {}, "range": {"range_norm": True}, "raw": {"use_input_norm": False}}.items():
        net = VGGFeatureExtractor(["conv1_1"], pretrained=False, **options)
        net.load_state_dict(state)
        results[name] = net
    mean, std = state["mean"], state["std"]
    torch.testing.assert_close(results["plain"](x)["conv1_1"], results["raw"]((x - mean) / std)["conv1_1"])
    torch.testing.assert_close(results["range"](2 * x - 1)["conv1_1"], results["plain"](x)["conv1_1"])


def test_frozen_extractor_stays_in_evaluation_mode() -> None:
    net = VGGFeatureExtractor(["conv1_2"], "vgg13_bn", pretrained=False)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    outer = nn.Sequential(net).train()
    assert outer.training and not net.training and not net.vgg_net.training
    trained = VGGFeatureExtractor(["conv1_2"], requires_grad=True, pretrained=False)
    assert trained.training and all(parameter.requires_grad for parameter in trained.parameters())


def test_pooling_can_be_changed_or_removed() -> None:
    x = torch.rand(1, 3, 8, 8)
    for options, side in (({}, 4), ({"remove_pooling": True}, 8), ({"pooling_stride": 1}, 7)):
        net = VGGFeatureExtractor(["conv2_1"], pretrained=False, **options)
        assert net(x)["conv2_1"].shape[-1] == side


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vgg_type", ["vgg19", "vgg16_bn"])
def test_missing_weights_name_the_file_and_where_to_put_it(offline: Path, vgg_type: str) -> None:
    with pytest.raises(WeightsError) as raised:
        VGGFeatureExtractor(["conv1_1"], vgg_type)
    message = str(raised.value)
    file = {"vgg19": "vgg19-dcbb9e9d.pth", "vgg16_bn": "vgg16_bn-6c64b313.pth"}[vgg_type]
    assert f"experiments/pretrained_models/{file}" in message
    assert f"{offline}/hub/checkpoints/{file}" in message
    assert "no route to host" in message


def test_places_are_searched_in_order(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "vgg11-8a719046.pth"
    places = [
        offline / "hub" / "checkpoints" / name,
        offline / "experiments" / "pretrained_models" / name,
        offline / "shared" / name,
        offline / "given.pth",
    ]
    for place in places:
        expected = write_weights(place)[0].weight
        if place.parent.name == "shared":
            monkeypatch.setenv(vgg_arch.PATH_VARIABLE, str(place.parent))
        path = str(place) if place.name == "given.pth" else None
        net = VGGFeatureExtractor(["conv1_1"], "vgg11", pretrained_path=path)
        assert torch.equal(net.vgg_net.conv1_1.weight, expected)
    monkeypatch.setenv(vgg_arch.PATH_VARIABLE, str(places[0]))
    VGGFeatureExtractor(["conv1_1"], "vgg11")


def test_places_that_do_not_exist_are_named(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"not found: nowhere\.pth"):
        VGGFeatureExtractor(["conv1_1"], "vgg11", pretrained_path="nowhere.pth")
    monkeypatch.setenv(vgg_arch.PATH_VARIABLE, "nowhere")
    with pytest.raises(WeightsError, match="BASICSR_VGG_PATH names nowhere"):
        VGGFeatureExtractor(["conv1_1"], "vgg11")


def test_download_goes_to_the_hub_cache(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, path: Path, checksum: Checksum, **kwargs: object) -> Path:
        assert url == f"https://download.pytorch.org/models/{path.name}"
        assert checksum == ("sha256", "8a719046")
        write_weights(path)
        return path

    monkeypatch.setattr(obtaining, "download_file", download)
    VGGFeatureExtractor(["conv1_1"], "vgg11")
    assert (offline / "hub" / "checkpoints" / "vgg11-8a719046.pth").is_file()


def test_files_of_another_kind_are_named(offline: Path) -> None:
    broken, other, wrong = offline / "broken.pth", offline / "other.pth", offline / "wrong.pth"
    broken.write_bytes(b"no weights")
    write_weights(other, "vgg11")
    torch.save([1, 2], wrong)
    for file, message in (
        (broken, "cannot read"),
        (other, "does not hold the weights of vgg19"),
        (wrong, "holds a list"),
    ):
        with pytest.raises(WeightsError, match=message) as raised:
            VGGFeatureExtractor(["conv2_2"], "vgg19", pretrained_path=str(file))
        assert str(file) in str(raised.value)


def test_meta_device_loads_nothing(offline: Path) -> None:
    with torch.device("meta"):
        net = VGGFeatureExtractor(["conv5_4"])
    assert all(value.is_meta for value in net.state_dict().values())
