"""``basicsr export`` and ``basicsr interpolate``: files that say what they are, and networks between networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from basicsr import cli
from basicsr.analysis.generators import Generator, load_generator
from basicsr.archs import build_network
from basicsr.weights import read_entry, read_weights, save_network
from basicsr.weights.files import read_metadata

BLOCK = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with two iterations' weights, in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments/tiny"
    for seed, label in enumerate(("5", "latest")):
        torch.manual_seed(2 * seed)
        nets = {"params": build_network(BLOCK), "params_ema": build_network(BLOCK)}
        save_network(nets, folder / f"models/net_g_{label}.pth")
    block = "".join(f"  {key}: {value}\n" for key, value in BLOCK.items())
    (folder / "tiny.yml").write_text(f"name: tiny\nmodel_type: ESRGANModel\nscale: 4\nnetwork_g:\n{block}")
    images = {"a.png": {"bicubic": {"psnr": 20.0}, "net_g": {"psnr": 24.0}}, "b.png": {"net_g": {"psnr": 26.0}}}
    (folder / "summary.json").write_text(json.dumps(images))
    return folder


def stored(path: str | Path, key: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True)[key]
    return state


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("model", ["tiny", "experiments/tiny", "experiments/tiny/models/net_g_latest.pth"])
def test_a_run_is_exported_with_what_is_known_of_it(model: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", model, "-o", "out/tiny.safetensors"]) == 0
    assert "wrote out/tiny.safetensors" in capsys.readouterr().out
    latest = run / "models/net_g_latest.pth"
    assert_equal(read_weights("out/tiny.safetensors"), stored(latest, "params_ema"))
    said = read_metadata("out/tiny.safetensors")
    assert json.loads(said["architecture"]) == BLOCK and said["scale"] == "4" and said["entry"] == "params_ema"
    assert json.loads(said["recipe"]) == {"name": "tiny", "model_type": "ESRGANModel"}
    assert json.loads(said["metrics"]) == {"psnr": 25.0}
    assert json.loads(said["source"])["file"] == "net_g_latest.pth"
    assert cli.main(["export", str(run / "models/net_g_5.pth"), "-o", "5.safetensors"]) == 0
    assert "metrics" not in read_metadata("5.safetensors")
    # What the file says of itself is enough to use it, and survives another export.
    model_of_file = load_generator("out/tiny.safetensors")
    assert isinstance(model_of_file, Generator) and model_of_file.scale == 4
    assert cli.main(["export", "out/tiny.safetensors", "-o", "again.safetensors"]) == 0
    assert read_metadata("again.safetensors")["metrics"] == said["metrics"]


def test_the_entry_is_the_users_choice_and_pth_keeps_its_name(run: Path) -> None:
    latest = run / "models/net_g_latest.pth"
    for flags, key in ((["--param_key", "params"], "params"), ([], "params_ema")):
        assert cli.main(["export", "tiny", "-o", "g.pth", *flags]) == 0
        entry = read_entry("g.pth", prefer=key)
        assert entry.key == key
        assert_equal(entry.state, stored(latest, key))


def test_interpolation_is_linear_and_says_what_it_took(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (run / f"models/net_g_{label}.pth" for label in ("5", "latest"))
    for alpha in (0.0, 0.25, 1.0):
        assert cli.main(["interpolate", str(first), "tiny", "--alpha", str(alpha), "-o", "mid.pth"]) == 0
        for name, value in stored("mid.pth", "params_ema").items():
            expected = (1 - alpha) * stored(first, "params_ema")[name] + alpha * stored(second, "params_ema")[name]
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert cli.main(["interpolate", str(first), "tiny", "--alpha", "0.25", "-o", "mid.safetensors"]) == 0
    said = f"0.75 of {first} (params_ema); 0.25 of experiments/tiny/models/net_g_latest.pth (params_ema)"
    assert said in capsys.readouterr().out
    metadata = read_metadata("mid.safetensors")
    assert metadata["interpolation"] == said and json.loads(metadata["architecture"]) == BLOCK
    assert "metrics" not in metadata and "recipe" not in metadata


def test_networks_of_two_architectures_are_refused_with_the_difference(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network({"params": build_network(BLOCK | {"num_block": 2})}, Path("deeper.pth"))
    assert cli.main(["interpolate", "tiny", "deeper.pth", "-o", "mid.pth"]) == 3
    error = capsys.readouterr().err
    assert "are not of one architecture: body.1.rdb1.conv1.bias (absent and (2,))" in error
    assert "num_block is 1 in experiments/tiny/models/net_g_latest.pth, 2 in deeper.pth" in error
    assert not Path("mid.pth").exists()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("export tiny -o g.bin", 2, "-o g.bin: expected a file that ends in .safetensors, .pth, .onnx or .pt2"),
        ("export tiny -o g.pth --opset 18", 2, "-o g.pth: a .pth file has no --opset; leave it out"),
        ("export tiny -o g.pt2 --opset 18", 2, "-o g.pt2: a .pt2 file has no --opset; leave it out"),
        ("interpolate tiny tiny -o g.onnx", 2, "-o g.onnx: expected a file that ends in .safetensors or .pth"),
        ("export absent.pth -o g.pth", 3, "weights file not found: absent.pth"),
        ("export RealESRGAN_x4plas -o g.pth", 3, "did you mean RealESRGAN_x4plus"),
        ("interpolate tiny tiny --alpha 1.5 -o g.pth", 2, "alpha must be between 0 and 1, got 1.5"),
        (
            "export tiny --param_key prams -o g.pth",
            3,
            "it has params, params_ema; did you mean params?",
        ),
    ],
)
def test_mistakes_are_named(
    command: str, code: int, message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command.split()) == code
    assert message in capsys.readouterr().err
