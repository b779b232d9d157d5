"""Weights that losses and metrics need: ``--check`` lists them with all other missing files, and a run fetches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import write_options

from basicsr.archs.vgg_arch import PATH_VARIABLE
from basicsr.options import MissingFilesError, parse_options

LPIPS = {"type": "calculate_lpips", "crop_border": 4}
PERCEPTUAL = {"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1.0}}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and cache, and no network."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("nothing is fetched while options are read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    return tmp_path


def find_missing(file: Path, *flags: str, is_train: bool = True) -> dict[str, str]:
    """What is missing, by its place in the option file."""
    try:
        parse_options(".", is_train, ["-opt", str(file), *flags])
    except MissingFilesError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def write(root: Path, **path: str) -> Path:
    metrics = {"lpips": LPIPS, "vgg": {**LPIPS, "net_type": "vgg"}}
    return write_options(root, train={"perceptual_opt": PERCEPTUAL}, val={"metrics": metrics}, path=path)


def test_check_lists_all_missing_files_at_once(workplace: Path) -> None:
    file = write(
        workplace, pretrain_network_g="RealESRGAN_x4plus", pretrain_network_d="weights/RealESRGAN_x4plus_netD.pth"
    )
    (workplace / "data/train/HR").rename(workplace / "data/elsewhere")
    missing = find_missing(file, "--check")
    assert list(missing) == [
        "datasets.train.dataroot_gt",
        "path.pretrain_network_g",
        "path.pretrain_network_d",
        "train.perceptual_opt",
        "val.metrics.lpips",
        "val.metrics.vgg",
    ]
    for place, name, address in (
        ("train.perceptual_opt", "vgg19", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"),
        ("val.metrics.lpips", "alexnet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
        ("val.metrics.vgg", "vgg16", "https://download.pytorch.org/models/vgg16-397923af.pth"),
        ("path.pretrain_network_g", "RealESRGAN_x4plus", "v0.1.0/RealESRGAN_x4plus.pth"),
        ("path.pretrain_network_d", "RealESRGAN_x4plus_netD -o weights", "v0.2.2.3/RealESRGAN_x4plus_netD.pth"),
    ):
        assert f"`basicsr download {name}` fetches it from" in missing[place] and address in missing[place]
    # A run would be stopped by the first three too, and says all.
    assert find_missing(file) == missing


def test_a_run_goes_on_to_fetch_what_check_calls_missing(workplace: Path) -> None:
    file = write(workplace, pretrain_network_g="RealESRGAN_x4plus")
    names = ["path.pretrain_network_g", "train.perceptual_opt", "val.metrics.lpips", "val.metrics.vgg"]
    assert list(find_missing(file, "--check")) == names
    assert find_missing(file) == {}


def test_files_that_are_here_are_not_missing(workplace: Path) -> None:
    file = write(workplace, pretrain_network_g="RealESRGAN_x4plus")
    for place in (
        "experiments/pretrained_models/RealESRGAN_x4plus.pth",
        "experiments/pretrained_models/vgg19-dcbb9e9d.pth",
        "hub/checkpoints/alexnet-owt-7be5be79.pth",
    ):
        (workplace / place).parent.mkdir(parents=True, exist_ok=True)
        (workplace / place).touch()
    assert list(find_missing(file, "--check")) == ["val.metrics.vgg"]


def test_files_that_options_name_stop_a_run_before_anything_is_built(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perceptual = {**PERCEPTUAL, "pretrained_path": "vgg.pth"}
    file = write_options(workplace, train={"perceptual_opt": perceptual})
    built: list[str] = []
    linear = torch.nn.Conv2d.__init__

    def watch(self: torch.nn.Conv2d, *args: Any, **kwargs: Any) -> None:
        linear(self, *args, **kwargs)
        built.extend([] if self.weight.is_meta else [type(self).__name__])

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", watch)
    assert "VGG weights not found: vgg.pth" in find_missing(file)["train.perceptual_opt"]
    assert built == []
    (workplace / "vgg.pth").touch()
    assert find_missing(file) == {} and built != []


def test_testing_needs_the_weights_of_its_metrics(workplace: Path) -> None:
    file = write(workplace, pretrain_network_g="experiments/psnr/models/net_g_latest.pth")
    missing = find_missing(file, "--check", is_train=False)
    assert list(missing) == ["path.pretrain_network_g", "val.metrics.lpips", "val.metrics.vgg"]
    assert "the training psnr writes it: run that first" in missing["path.pretrain_network_g"]
