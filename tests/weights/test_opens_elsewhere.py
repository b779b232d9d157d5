"""Generators of the shipped recipes open in spandrel with the same outputs, and published files open here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr.analysis.generators import Generator, load_generator
from basicsr.archs import build_network
from basicsr.options.load import yaml_load
from basicsr.weights import load_weights, read_weights, save_network
from basicsr.weights.files import write_tensors
from basicsr.weights.published import PUBLISHED

PROJECT = Path(__file__).parents[2]
NOT_THERE = {"SPSRNet"}
"""Architectures that spandrel 0.4.2 does not have."""

SWINIR = {"type": "SwinIR", "img_size": 16, "embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "mlp_ratio": 2}
OTHERS: list[dict[str, Any]] = [
    {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 3, "upscale": 4},
    {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "scale": 2},
    {**SWINIR, "window_size": 8, "upscale": 4, "upsampler": "pixelshuffle"},
    {**SWINIR, "window_size": 4, "upscale": 2, "upsampler": "pixelshuffledirect"},
    {**SWINIR, "window_size": 8, "upscale": 4, "upsampler": "nearest+conv"},
]


def list_generators() -> dict[str, dict[str, Any]]:
    """The recipes' generators, each once; deep ones with two blocks, which is all that depth is about here."""
    found = {}
    for file in sorted((PROJECT / "options/train").glob("*.yml")):
        block = yaml_load(file)["network_g"]
        if block["type"] == "RRDBNet":
            block["num_block"] = min(block.get("num_block", 23), 2)
        if block["type"] not in NOT_THERE and block not in found.values():
            found[file.stem] = block
    return found


RECIPES = list_generators()


def test_the_recipes_generators_are_among_those_tested() -> None:
    assert "quickstart" in RECIPES and len(RECIPES) >= 2


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("block", [*RECIPES.values(), *OTHERS], ids=[*RECIPES, *(str(o["type"]) for o in OTHERS)])
def test_spandrel_gives_the_same_image(block: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    spandrel = pytest.importorskip("spandrel")
    torch.manual_seed(0)
    net, other = build_network(block).eval(), build_network(block)
    file = tmp_path / f"net_g{suffix}"
    if suffix == ".pth":
        # Of our files, spandrel takes the average.
        save_network({"params": other, "params_ema": net}, file)
    else:
        write_tensors(net.state_dict(), file, {"scale": "4"}, "params_ema")
    opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # In double precision, in which the order of sums makes no difference of that size.
        expected = net.double()(image.double())
        found = opened.model.eval().double()(image.double())
    assert expected.std() > 1e-3 and opened.scale == block.get("upscale", block.get("scale", 4))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("realesr-animevideov3", "realesr_animevideov3_x4"),
        ("RealESRGAN_x4plus_anime_6B", "realesrgan_x4plus_anime"),
        ("RealESRGAN_x4plus", "realesrgan_x4plus"),
    ],
)
def test_published_weights_give_the_image_of_another_engine(name: str, key: str, real_data: Path) -> None:
    stored = np.load(real_data / "real/ncnn_outputs_baboon_32.npz")
    image = torch.from_numpy(stored["input_RGB_uint8"]).permute(2, 0, 1)[None] / 255
    file, expected = real_data / f"real/weights/{name}.pth", torch.from_numpy(stored[key])[None]
    if not file.is_file():
        pytest.skip(f"{file.name} is not there")
    net = build_network(PUBLISHED[name].network).eval()
    load_weights(net, read_weights(file), source=str(file))
    with torch.inference_mode():
        torch.testing.assert_close(net(image), expected, rtol=0, atol=1e-5)
    # The architecture is told by the weights as well.
    model = load_generator(str(file))
    assert isinstance(model, Generator) and model.scale == 4
    torch.testing.assert_close(model(image), expected.clamp(0, 1), rtol=0, atol=1e-5)
