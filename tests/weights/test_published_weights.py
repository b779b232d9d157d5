"""Published weights by name: found here, else fetched, else said where to put them."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr.archs import build_network
from basicsr.utils.errors import WeightsError
from basicsr.weights import locate_weights, obtaining, read_weights
from basicsr.weights.architectures import recognise
from basicsr.weights.published import PUBLISHED, is_name

NAME = "realesr-animevideov3"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": {"a.weight": torch.ones(2)}}, path)
    return path


@pytest.mark.parametrize("folder", ["experiments/pretrained_models", "hub/checkpoints"])
def test_a_name_stands_for_the_file_that_is_here(folder: str, workplace: Path) -> None:
    file = put(workplace / folder / f"{NAME}.pth")
    assert locate_weights(NAME).resolve() == file
    assert locate_weights(f"{NAME}.pth").resolve() == file
    assert torch.equal(read_weights(NAME)["a.weight"], torch.ones(2))


def test_the_projects_folder_comes_first_and_a_path_is_a_path(workplace: Path) -> None:
    put(workplace / f"hub/checkpoints/{NAME}.pth")
    first = put(workplace / f"experiments/pretrained_models/{NAME}.safetensors")
    assert locate_weights(NAME).resolve() == first
    here = put(workplace / NAME)
    assert locate_weights(NAME).resolve() == here
    assert not is_name("models/net_g.pth") and not is_name("net_g.pth")
    message = rf"weights file not found: models/{NAME}\.pth; .* or name it {NAME}, without folder and ending"
    with pytest.raises(WeightsError, match=message):
        locate_weights(f"models/{NAME}.pth")
    with pytest.raises(
        WeightsError, match=r"weights file not found: net_g\.pth; put it there, or change the option that names it$"
    ):
        locate_weights("net_g.pth")


def test_what_is_not_here_is_fetched(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def fetch(url: str, path: Path, *args: object, **kwargs: object) -> Path:
        asked.append(url)
        return put(path)

    monkeypatch.setattr(obtaining, "download_file", fetch)
    with caplog.at_level(logging.INFO, "basicsr"):
        assert locate_weights(NAME) == Path(f"experiments/pretrained_models/{NAME}.pth")
    assert asked == [f"https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.5.0/{NAME}.pth"]
    assert "published under BSD-3-Clause" in caplog.text
    locate_weights(NAME)
    assert len(asked) == 1


def test_without_a_network_the_message_says_what_to_put_where(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(WeightsError) as caught:
        locate_weights(NAME)
    for part in (
        f"v0.2.5.0/{NAME}.pth",
        "no route to host",
        str(workplace / f"experiments/pretrained_models/{NAME}.pth"),
    ):
        assert part in str(caught.value)
    with pytest.raises(WeightsError, match=r"RRDB_PSNR_x4 is published for browsers only, .* put it at experiments/"):
        locate_weights("RRDB_PSNR_x4")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"RealESRGAN_x4plas is neither .*; did you mean RealESRGAN_x4plus"):
        locate_weights("RealESRGAN_x4plas")


def test_every_published_network_can_be_built_and_is_told_by_its_weights() -> None:
    for entry in PUBLISHED.values():
        network = dict(entry.network)
        if network["type"] in ("RRDBNet", "EDSR"):
            network["num_block"] = 1
        if network["type"] == "SwinIR":
            network |= {"depths": [2], "num_heads": network["num_heads"][:1]}
        with torch.device("meta"):
            block = recognise(build_network(network).state_dict())
        if entry.scale is None:
            assert block is None and entry.name.endswith("_netD")
            continue
        assert block is not None and entry.scale in (block.get("scale"), block.get("upscale"))
        assert block.items() >= network.items()
        assert f"x{entry.scale}" in entry.name.lower() or entry.name in (NAME, "BSRGAN", "BSRNet")


def test_the_page_has_todays_table() -> None:
    docs = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("write_weights_table", docs / "write_weights_table.py")
    assert spec and spec.loader
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    page = (docs / "weights.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in PUBLISHED)
    assert writer.renew(page) == page, "run python docs/write_weights_table.py"
