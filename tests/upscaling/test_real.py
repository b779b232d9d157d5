"""Published networks on real photographs and on pictures of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from picture_kinds import KINDS, Kind, read_independently, upscale_kinds
from skimage import data
from torch import nn

from basicsr import load_model
from basicsr.analysis.generators import load_network
from basicsr.upscaling.model import Upscaler
from basicsr.upscaling.pictures import read_picture

pytestmark = pytest.mark.real

NETWORKS = ("realesr-animevideov3", "RealESRGAN_x4plus_anime_6B")


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest, real_data: Path) -> Upscaler:
    return load_model(real_data / f"real/weights/{request.param}.pth", device="cpu")


def test_an_independent_engine_makes_the_same(model: Upscaler, real_data: Path, request: pytest.FixtureRequest) -> None:
    outputs = np.load(real_data / "real/ncnn_outputs_baboon_32.npz")
    name = {"realesr-animevideov3": "realesr_animevideov3_x4"}.get(request.node.callspec.params["model"])
    expected = outputs[name or "realesrgan_x4plus_anime"].transpose(1, 2, 0).clip(0, 1)
    image = outputs["input_RGB_uint8"]
    np.testing.assert_allclose(model(image.astype(np.float32) / 255), expected, atol=2e-5)
    assert np.abs(model(image) - expected * 255).max() <= 0.51


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole_within_half_a_level(name: str, real_data: Path) -> None:
    photograph = np.ascontiguousarray(data.astronaut()[40:88, 120:360])
    path = real_data / f"real/weights/{name}.pth"
    deep = photograph.astype(np.uint16) * 257
    whole, tiled = (load_model(path, device="cpu", tile=tile)(deep).astype(float) for tile in (0, 60))
    assert np.abs(tiled - whole).max() / 257 <= 0.5


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    """All kinds, upscaled by one command."""
    folder = tmp_path_factory.mktemp("kinds")
    upscale_kinds(folder, str(real_data / f"real/weights/{NETWORKS[0]}.pth"))
    return folder


@pytest.fixture(scope="module")
def net(real_data: Path) -> nn.Module:
    return load_network(real_data / f"real/weights/{NETWORKS[0]}.pth").net


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pictures_of_every_kind(kind: Kind, results: Path, net: nn.Module) -> None:
    made = read_independently(results / "out" / kind.name)
    source = read_picture((results / "in" / kind.name).read_bytes(), kind.name)
    expected = kind.enlarged(4)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    # The network's own image, as PyTorch makes it.
    colours = source.colours.astype(np.float32) / np.iinfo(source.pixels.dtype).max
    lq = torch.from_numpy(colours).permute(2, 0, 1)[None]
    with torch.no_grad():
        image = net(lq.expand(1, 3, -1, -1))
    image = (image.mean(1, keepdim=True) if lq.shape[1] == 1 else image).clamp(0, 1)
    levels = image[0].permute(1, 2, 0).numpy() * np.iinfo(made.dtype).max
    found = made[..., : levels.shape[2]] - levels
    visible = np.ones(made.shape[:2], bool)
    if kind.has_alpha:
        assert np.abs(made[..., -1].astype(float) - expected[..., -1]).max() <= (1 if kind.loss == 0 else 2)
        visible = kind.pixels[..., -1].repeat(4, axis=0).repeat(4, axis=1) > 0
        if not visible.all():
            # Hidden colours are not those that the network sees.
            return
    assert np.abs(found[visible]).max() <= max(kind.loss, 1)


def test_photographs_look_like_themselves(model: Upscaler) -> None:
    for photograph in (data.astronaut()[:96, 160:288], data.coffee()[100:196, 200:328]):
        made = model(np.ascontiguousarray(photograph))
        assert made.shape == (384, 512, 3)
        reduced = made.reshape(96, 4, 128, 4, 3).mean((1, 3))
        # Colours are right, channel by channel, and the content is.
        assert np.abs((reduced - photograph).mean((0, 1))).max() < 4
        assert np.abs(reduced - photograph).mean() < 5
