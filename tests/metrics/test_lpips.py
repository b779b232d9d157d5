"""LPIPS with random backbones: torchmetrics' numbers, one network per configuration, errors without weights."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torchmetrics.functional.image.lpips import _NoTrainLpips

from basicsr.metrics import batch_lpips, calculate_lpips, lpips
from basicsr.utils.errors import WeightsError

FILES = {
    "alex": ("alexnet", "alexnet-owt-7be5be79.pth"),
    "vgg": ("vgg16", "vgg16-397923af.pth"),
    "squeeze": ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"),
}


def measure_lpips(sr: torch.Tensor, gt: torch.Tensor, *options: object, **others: object) -> torch.Tensor:
    return batch_lpips(255 * sr, 255 * gt, *options, **others)


def refuse_download(*args: object, **kwargs: object) -> None:
    raise urllib.error.URLError("no route to host")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder and hub cache, no network, and no network built before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", refuse_download)
    # Most of a backbone is a classifier that LPIPS drops; drawing its initial values would take most of the time.
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    lpips.build_lpips.cache_clear()
    yield tmp_path
    lpips.build_lpips.cache_clear()


def make_features(net_type: str) -> torch.nn.Module:
    """torchvision's feature layers without the classifier, which LPIPS has no use for."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = getattr(torchvision.models, FILES[net_type][0])(weights=None)
    features = net.features.to_empty(device="cpu")
    for parameter in features.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.data.normal_(std=(2 / fan_in) ** 0.5)
    return features


def save_features(net_type: str, folder: Path) -> torch.nn.Module:
    features = make_features(net_type)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, folder / FILES[net_type][1])
    return features


@pytest.mark.parametrize(
    ("net_type", "place"),
    [("alex", "experiments/pretrained_models"), ("vgg", "hub/checkpoints"), ("squeeze", "hub/checkpoints")],
)
def test_numbers_are_torchmetrics(workplace: Path, net_type: str, place: str) -> None:
    features = save_features(net_type, workplace / place)
    sr, gt = torch.rand(2, 2, 3, 48, 40, generator=torch.Generator().manual_seed(1))
    reference = _NoTrainLpips(net=net_type, pnet_rand=True)
    # The reference finds its layers by object: filled one by one in order, whatever the slices are called.
    layers = [layer for layer in reference.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    wanted = [layer for layer in features.modules() if isinstance(layer, torch.nn.Conv2d)]
    for layer, source in zip(layers, wanted[: len(layers)]):
        layer.load_state_dict(source.state_dict())
    expected = reference(sr, gt, normalize=True).flatten()
    value = measure_lpips(sr, gt, net_type=net_type)
    assert value.shape == (2,)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    assert (value > 0).all()
    assert (measure_lpips(gt, gt, net_type=net_type) == 0).all()


def test_built_once_and_frozen(workplace: Path) -> None:
    save_features("alex", workplace / "hub/checkpoints")
    device = torch.device("cpu")
    with torch.inference_mode():
        net = lpips.build_lpips("alex", device)
    assert lpips.build_lpips("alex", device) is net
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not net.train(True).training
    # The linear heads come with torchmetrics; all of the published ones are non-negative.
    assert all((head.model[-1].weight >= 0).all() and head.model[-1].weight.any() for head in net.lins)


def test_crop_border_is_honoured_and_arrays_are_bgr(workplace: Path) -> None:
    save_features("alex", workplace / "experiments/pretrained_models")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 60, 52, 3), np.uint8)
    if torch.cuda.is_available():
        pytest.skip("compares CPU numbers")
    x, y = (torch.from_numpy(np.ascontiguousarray(img[..., ::-1].transpose(2, 0, 1)))[None] / 255 for img in (a, b))
    assert calculate_lpips(a, b) == pytest.approx(measure_lpips(x, y).item(), rel=1e-6)
    inside = calculate_lpips(a[6:-6, 6:-6], b[6:-6, 6:-6])
    assert calculate_lpips(a, b, crop_border=6) == inside
    assert calculate_lpips(a.transpose(2, 0, 1), b.transpose(2, 0, 1), 6, input_order="CHW") == inside
    c = b.copy()
    c[:6] = 0
    assert calculate_lpips(a, c, crop_border=6) == inside
    assert calculate_lpips(a[..., 0], b[..., 0]) == calculate_lpips(a[..., [0, 0, 0]], b[..., [0, 0, 0]])


def test_missing_weights_name_the_file_and_the_place(workplace: Path) -> None:
    for net_type, (_, file_name) in FILES.items():
        with pytest.raises(WeightsError) as caught:
            measure_lpips(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), net_type=net_type)
        for part in (file_name, "experiments/pretrained_models", "hub/checkpoints", "no route to host"):
            assert part in str(caught.value)


@pytest.mark.parametrize("content", [b"<html>404</html>", None])
def test_wrong_weights_are_named(workplace: Path, content: bytes | None) -> None:
    folder = workplace / "experiments/pretrained_models"
    folder.mkdir(parents=True)
    file = folder / FILES["alex"][1]
    if content is None:
        torch.save({"features.0.weight": torch.zeros(3)}, file)
    else:
        file.write_bytes(content)
    message = "does not hold the weights of alexnet" if content is None else "its name says 7be5be79: it is damaged"
    with pytest.raises(WeightsError, match=rf"alexnet-owt-7be5be79\.pth.* {message}"):
        measure_lpips(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("net_type", FILES)
def test_smallest_image(workplace: Path, net_type: str) -> None:
    save_features(net_type, workplace / "hub/checkpoints")
    smallest = lpips._BACKBONES[net_type][1]
    x = torch.rand(1, 3, smallest, smallest)
    assert measure_lpips(x, 1 - x, net_type=net_type).isfinite().all()
    with pytest.raises(ValueError, match=f"{smallest}x{smallest} pixels.*{smallest - 1}x{smallest}"):
        measure_lpips(x[..., 1:, :], x[..., 1:, :], net_type=net_type)
    with pytest.raises(RuntimeError):
        lpips.build_lpips(net_type, torch.device("cpu"))(x[..., 1:, 1:], x[..., 1:, 1:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: measure_lpips(x, x, net_type="resnet"), "'resnet'"),
        (lambda x: measure_lpips(x, x[..., 1:]), "differ in shape"),
        (lambda x: measure_lpips(x[:, :2], x[:, :2]), "1 or 3 channels"),
        (lambda x: measure_lpips(x, x, 16), "cut 16 pixels"),
        (lambda x: measure_lpips(x, x, 2), "31x31.*28x28"),
    ],
)
def test_mistakes_are_named_before_anything_is_built(workplace: Path, call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 32, 32))
