"""Inception's features: FID's pooling, blocks, where weights come from, and what they are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from basicsr.archs.inception import FID_WEIGHTS_URL, InceptionV3, fid_inception_v3
from basicsr.metrics import fid
from basicsr.utils.errors import ArgumentError, WeightsError

FILE = FID_WEIGHTS_URL.rsplit("/", 1)[-1]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and hub cache, and no network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under torchvision's names, of a size that keeps features of order 1."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = torchvision.models.Inception3(1008, aux_logits=False, init_weights=False)
    found = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # the published file has none
        spread = (2 / max(value[0].numel(), 1)) ** 0.5 if value.ndim == 4 else 0.1
        found[name] = torch.randn(value.shape) * spread + float(name.endswith(("bn.weight", "running_var")))
        if name.endswith("running_var"):
            found[name].abs_().add_(0.1)
    file = tmp_path_factory.mktemp("weights") / FILE
    torch.save(found, file)
    return file


@pytest.fixture
def with_weights(offline: Path, weights: Path) -> None:
    file = offline / "hub/checkpoints" / FILE
    file.parent.mkdir(parents=True)
    file.symlink_to(weights)


def test_blocks_have_the_published_features(with_weights: None) -> None:
    net = InceptionV3([2, 0, 3, 1]).eval()
    features = net(torch.rand(1, 3, 40, 48))
    assert [tuple(f.shape[1:]) for f in features] == [(64, 73, 73), (192, 35, 35), (768, 17, 17), (2048, 1, 1)]
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert {f.shape[1]: index for index, f in enumerate(features)} == InceptionV3.BLOCK_INDEX_BY_DIM
    short = InceptionV3([1], requires_grad=True)
    assert len(short.blocks) == 2 and all(parameter.requires_grad for parameter in short.parameters())


def test_means_leave_the_padding_out_and_the_last_block_takes_the_maximum(with_weights: None) -> None:
    net = fid_inception_v3().eval()
    x = torch.randn(1, 192, 6, 6)
    with torch.no_grad():
        counts = F.avg_pool2d(torch.ones_like(x), 3, 1, 1)
        expected = net.Mixed_5b.branch_pool(F.avg_pool2d(x, 3, 1, 1) / counts)
        torch.testing.assert_close(net.Mixed_5b(x)[:, -32:], expected)
        for name, width, pool in (
            ("Mixed_6b", 768, "mean"),
            ("Mixed_6e", 768, "mean"),
            ("Mixed_7b", 1280, "mean"),
            ("Mixed_7c", 2048, "max"),
        ):
            x, block = torch.randn(1, width, 5, 5), getattr(net, name)
            padded = F.pad(x, (1, 1, 1, 1), value=float("nan")).unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
            pooled = padded.nanmean(-1) if pool == "mean" else padded.nan_to_num(-torch.inf).amax(-1)
            torch.testing.assert_close(block(x)[:, -192:], block.branch_pool(pooled))
        # Everything else is torchvision's.
        plain = torchvision.models.Inception3(1008, aux_logits=False, init_weights=False).eval()
        plain.load_state_dict(net.state_dict())
        torch.testing.assert_close(net.Mixed_7c(x)[:, :-192], plain.Mixed_7c(x)[:, :-192])


def test_images_are_resized_and_normalised_on_request(with_weights: None) -> None:
    net = InceptionV3([0], resize_input=False, normalize_input=False).eval()
    images = torch.rand(1, 3, 299, 299)
    (expected,) = net(2 * images - 1)
    net.resize_input = net.normalize_input = True
    torch.testing.assert_close(net(images)[0], expected)


def test_distance_of_features(with_weights: None, capsys: pytest.CaptureFixture[str]) -> None:
    net = fid.load_patched_inception_v3("cpu", resize_input=False)
    assert not net.training and not net.normalize_input
    batches = torch.rand(2, 2, 3, 80, 80)
    features = fid.extract_inception_features(iter(batches), net, device="cpu")
    assert features.shape == (4, 2048) and not features.requires_grad
    assert "batch/s" not in capsys.readouterr().err  # a bar needs a length
    torch.testing.assert_close(features[2:], net(batches[1])[0].flatten(1))
    again = fid.extract_inception_features(iter(batches), lambda x: [x.mean((2, 3), keepdim=True)], 2, "cpu")
    said = capsys.readouterr().err
    assert "2/2" in said and "batch/s" in said
    mean, cov = again.mean(0).numpy(), np.cov(again.numpy(), rowvar=False)
    assert fid.calculate_fid(mean, cov, mean + 1, cov) == pytest.approx(3)


def test_weights_that_cannot_be_had_are_named(offline: Path) -> None:
    with pytest.raises(
        WeightsError, match=rf"put it at {offline}/hub/.*{FILE} \(or experiments/pretrained_models/{FILE}"
    ):
        fid.load_patched_inception_v3("cpu")
    file = offline / "experiments/pretrained_models" / FILE
    file.parent.mkdir(parents=True)
    torch.save({"fc.weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match="does not fit Inception3"):
        fid.load_patched_inception_v3("cpu")


def test_torchvision_s_own_network(offline: Path) -> None:
    with torch.device("meta"):
        net: nn.Module = torchvision.models.Inception3(init_weights=False)
    file = offline / "experiments/pretrained_models/inception_v3_google-0cc3c7bd.pth"
    file.parent.mkdir(parents=True)
    torch.save({name: torch.zeros(value.shape) for name, value in net.state_dict().items()}, file)
    (features,) = InceptionV3([1], use_fid_inception=False).eval()(torch.rand(1, 3, 75, 75))
    assert features.shape == (1, 192, 35, 35)


@pytest.mark.parametrize("blocks", [[], [4], [-1]])
def test_blocks_that_are_not_there_are_refused(blocks: list[int]) -> None:
    with pytest.raises(ArgumentError, match="output_blocks must be some of 0 to 3"):
        InceptionV3(blocks)
