"""``basicsr download``: by name, to where loaders look, resumed, checked; and what it says where it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from file_server import Server, serve
from tiny_run import write_images

from basicsr import cli
from basicsr.archs.vgg_arch import find_vgg_weights
from basicsr.utils.errors import WeightsError
from basicsr.weights import locate_weights, published
from basicsr.weights.obtaining import Published

CONTENT = bytes(range(256)) * 800
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def publish(monkeypatch: pytest.MonkeyPatch, *entries: Published) -> None:
    monkeypatch.setattr(published, "list_known", lambda: {entry.name: entry for entry in entries})


def test_files_go_where_loaders_look(server: Server, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A mirror holds all files in one folder; this one's are not those that were published.
    server.files["realesr-animevideov3.pth"] = CONTENT
    command = ["download", "realesr-animevideov3", "--base_url", f"{server.url}/"]
    assert cli.main(command) == 0
    path = Path("experiments/pretrained_models/realesr-animevideov3.pth")
    assert capsys.readouterr().out == f"realesr-animevideov3: {path}\n"
    assert path.read_bytes() == CONTENT and locate_weights("realesr-animevideov3") == path
    assert cli.main(command) == 0 and len(server.requests) == 1
    # The file's own name, and a folder of one's own.
    assert cli.main([*command, "-o", "here"]) == 0
    assert cli.main(["download", "realesr-animevideov3.pth", *command[2:], "-o", "there"]) == 0
    assert Path("here", path.name).read_bytes() == Path("there", path.name).read_bytes() == CONTENT


def test_torchvision_s_networks_go_to_the_cache_that_it_has_itself(
    server: Server, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Published("vgg", {}, "MIT", server.url, "a test", f"vgg-{DIGEST}.pth", is_shared=True)
    publish(monkeypatch, entry)
    server.files[entry.file], server.cut_after = CONTENT, 100_000
    assert cli.main(["download", "vgg"]) == 3
    server.cut_after = None
    assert cli.main(["download", "vgg"]) == 0
    assert (workplace / "hub/checkpoints" / entry.file).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-"]
    assert find_vgg_weights("vgg19", str(entry.home)) == entry.home


def test_what_is_not_the_published_file_is_refused(
    server: Server, workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = (Published(name, {}, "MIT", server.url, "a test", f"{name}-{DIGEST}.pth") for name in "ab")
    publish(monkeypatch, wrong, right)
    server.files |= {wrong.file: CONTENT[1:], right.file: CONTENT}
    # The next name is fetched all the same.
    assert cli.main(["download", "a", "b"]) == 3
    assert not wrong.home.exists() and right.home.is_file()
    assert f"does not have the published sha256 {DIGEST}" in caplog.text


def test_without_a_network_the_address_and_the_place_are_named(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert cli.main(["download", "vgg19", "RRDB_PSNR_x4", "net_g_esrnet_x4_hgd"]) == 3
    for part in (
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth (no route to host)",
        f"put it at {workplace}/hub/checkpoints/vgg19-dcbb9e9d.pth (or experiments/pretrained_models/vgg19-dcbb",
        "RRDB_PSNR_x4 is published for browsers only, by ESRGAN (https://github.com/xinntao/ESRGAN)",
        "of which no address is known; train it (options/train/train_esrnet_x4_hgd.yml)",
    ):
        assert part in caplog.text


def test_names_are_listed_and_unknown_ones_refused(capsys: pytest.CaptureFixture[str]) -> None:
    here = Path("experiments/pretrained_models/BSRGAN.pth")
    here.parent.mkdir(parents=True)
    here.touch()
    assert cli.main(["download", "--list"]) == 0
    said = capsys.readouterr().out
    assert f"BSRGAN\n    RRDBNet ×4; MIT, BSRGAN (KAIR)\n    here: {here}\n" in said
    assert "vgg19\n    VGG-19: perceptual losses, 548 MB; BSD-3-Clause, torchvision\n    https://" in said
    assert cli.main(["download", "BSRGAM"]) == 2
    assert "no weights are known as BSRGAM; did you mean BSRGAN?" in capsys.readouterr().err
    assert cli.main(["download"]) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a/BSRNet.pth", "`basicsr download BSRNet -o a` fetches it from https://github.com/cszn/KAIR/.*BSRNet.pth"),
        ("experiments/pretrained_models/BSRNet.pth", "`basicsr download BSRNet` fetches it from"),
        ("a/vgg19-dcbb9e9d.pth", "`basicsr download vgg19 -o a` fetches it from"),
        ("a/net_g_esrnet_x4_sgd.pth", "net_g_esrnet_x4_sgd is a result of DualFormer's authors"),
        ("experiments/psnr/models/net_g_latest.pth", "the training psnr writes it: run that first"),
    ],
)
def test_a_missing_file_that_is_known_comes_with_how_to_get_it(path: str, said: str) -> None:
    with pytest.raises(WeightsError, match=rf"weights file not found: {path}; .*{said}"):
        locate_weights(path)


def test_every_command_that_takes_weights_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    path = "models/RealESRGAN_x4plus.pth"
    write_images(Path("data"), 1, 32)
    for command in (
        ["upscale", "data/LR", "-m", path],
        ["export", path, "-o", "x.pth"],
        ["spectrum", "bands", "--gt", "data/HR", "--model_path", path, "--scale", "4"],
    ):
        assert cli.main(command) != 0
        assert "`basicsr download RealESRGAN_x4plus -o models` fetches it from" in capsys.readouterr().err, command
