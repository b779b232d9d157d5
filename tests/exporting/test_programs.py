"""ONNX files and ``torch.export`` programs: any size, the network's image, what they say of themselves, refusals."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basicsr import cli
from basicsr.archs import build_network
from basicsr.exporting import onnx_file, program
from basicsr.utils.batch import image_of
from basicsr.weights.files import write_tensors

SWINIR = {
    "type": "SwinIR",
    "img_size": 16,
    "embed_dim": 12,
    "depths": [2],
    "num_heads": [2],
    "mlp_ratio": 2,
    "window_size": 8,
    "upscale": 2,
    "upsampler": "pixelshuffledirect",
}
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4}
BLOCKS: dict[str, dict[str, Any]] = {
    "compact": {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 1, "upscale": 4},
    "rrdb": RRDB,
    "rrdb_x2": {**RRDB, "scale": 2},
    "rrdb_x1": {**RRDB, "scale": 1},
    "swinir": SWINIR,
    "msrresnet": {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 4},
    "spsr": {"type": "SPSRNet", "in_nc": 3, "out_nc": 3, "nf": 8, "nb": 1, "gc": 4},
    "edsr": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
    "rcan": {"type": "RCAN", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 1, "num_block": 1},
    "ecbsr": {
        "type": "ECBSR",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_block": 1,
        "num_channel": 8,
        "with_idt": True,
        "act_type": "prelu",
        "scale": 2,
    },
    "ridnet": {"type": "RIDNet", "in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1},
}
Run = Callable[[Tensor], Tensor]
SLOW = pytest.mark.clients
"""Seconds each: with the packages that build on this one, which ``.ci/run`` installs."""


def save_weights(block: dict[str, Any]) -> nn.Module:
    """A network, in double precision, whose file is ``net.safetensors`` in the working directory."""
    torch.manual_seed(0)
    net = build_network(block).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()  # some begin so small that all images would be gray
    write_tensors(net.state_dict(), "net.safetensors", {"architecture": json.dumps(block)}, "params")
    return net.double()


def assert_same_images(run: Run, net: nn.Module, limit: float = 1e-4) -> None:
    """On images as large as those of SwinIR's training, and of a size that no program was made or checked with."""
    multiple = int(getattr(net, "size_multiple", 1))
    for batch, height, width in ((1, 16, 16), (3, 9 + -9 % multiple, 22 + -22 % multiple)):
        image = torch.rand(batch, 3, max(height, 2 * multiple), width, generator=torch.Generator().manual_seed(height))
        with torch.inference_mode():
            expected = image_of(net(image.double()))
        assert expected.std() > 1e-3
        torch.testing.assert_close(run(image).double(), expected, rtol=0, atol=limit)


def open_onnx(file: str) -> tuple[Any, Run]:
    session = pytest.importorskip("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return session, lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


@pytest.fixture
def onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnx")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "block", [pytest.param(BLOCKS[name], id=name, marks=() if name == "compact" else SLOW) for name in BLOCKS]
)
def test_an_onnx_file_makes_the_networks_image_at_any_size(block: dict[str, Any], onnx: Any) -> None:
    net = save_weights(block)
    assert cli.main(["export", "net.safetensors", "-o", "out/net.onnx"]) == 0
    session, run = open_onnx("out/net.onnx")
    said = session.get_modelmeta().custom_metadata_map
    (image,), (enlarged,) = session.get_inputs(), session.get_outputs()
    assert (image.name, enlarged.name, image.type) == ("image", "enlarged", "tensor(float)")
    steps = f"{said['size_multiple']}*".removeprefix("1*")
    assert image.shape == ["batch", 3, f"{steps}height", f"{steps}width"]
    assert_same_images(run, net)
    assert json.loads(said["architecture"])["type"] == block["type"]
    assert (said["colour_order"], said["range"], said["precision"], said["opset"]) == ("RGB", "0..1", "fp32", "18")
    assert json.loads(said["source"])["file"] == "net.safetensors" and said["size_multiple"].isdecimal()
    assert [(one.domain, one.version) for one in onnx.load("out/net.onnx").opset_import] == [("", 18)]
    assert str(Path(program.__file__).parent).encode() not in Path("out/net.onnx").read_bytes()


@SLOW
def test_float16_weights_stay_within_two_levels(onnx: Any) -> None:
    net = save_weights(SWINIR)
    assert cli.main(["export", "net.safetensors", "-o", "net.onnx", "--precision", "fp16"]) == 0
    session, run = open_onnx("net.onnx")
    assert session.get_inputs()[0].type == "tensor(float)"
    assert_same_images(run, net, 2 / 255)
    weights = [one for one in onnx.load("net.onnx").graph.initializer if len(one.dims) > 1]
    assert weights and all(one.data_type != onnx.TensorProto.FLOAT for one in weights)


@SLOW
def test_the_opset_is_the_users_choice(onnx: Any, capsys: pytest.CaptureFixture[str]) -> None:
    net = save_weights(BLOCKS["compact"])
    assert cli.main(["export", "net.safetensors", "-o", "net.onnx", "--opset", "20"]) == 0
    assert "opset 20" in "".join(capsys.readouterr())
    session, run = open_onnx("net.onnx")
    assert session.get_modelmeta().custom_metadata_map["opset"] == "20"
    assert_same_images(run, net)
    assert cli.main(["export", "net.safetensors", "-o", "other.onnx", "--opset", "99"]) == 2
    assert "-o other.onnx: with --opset 99, " in capsys.readouterr().err
    assert not Path("other.onnx").exists()


FREE_SIZES = pytest.mark.skipif(
    torch.__version__.startswith("2.4."), reason="PyTorch 2.4 takes enlargements of one size (--size) alone"
)


@FREE_SIZES
@pytest.mark.parametrize("name", ["compact", *(pytest.param(name, marks=SLOW) for name in ("rrdb_x2", "swinir"))])
def test_a_torch_program_makes_the_networks_image_at_any_size(name: str, workplace: None) -> None:
    net = save_weights(BLOCKS[name])
    assert cli.main(["export", "net.safetensors", "-o", "net.pt2"]) == 0
    extra = {program.METADATA_FILE: ""}
    loaded = torch.export.load(io.BytesIO(Path("net.pt2").read_bytes()), extra_files=extra)
    assert_same_images(loaded.module(), net)
    said = json.loads(extra[program.METADATA_FILE])
    scale = BLOCKS[name].get("upscale") or BLOCKS[name]["scale"]
    assert (said["scale"], said["precision"]) == (str(scale), "fp32") and "opset" not in said


@pytest.mark.slow
def test_one_size_is_for_networks_that_take_no_other(workplace: None, capsys: pytest.CaptureFixture[str]) -> None:
    net = save_weights({**SWINIR, "ape": True})
    assert cli.main(["export", "net.safetensors", "-o", "net.pt2"]) == 2
    error = capsys.readouterr().err
    assert "-o net.pt2: SwinIR cannot be exported for images of any size" in error and "--size H W" in error
    assert "SwinIR expects images of 16x16 pixels" in error
    assert not Path("net.pt2").exists()
    assert cli.main(["export", "net.safetensors", "-o", "net.pt2", "--size", "16", "16"]) == 0
    run = torch.export.load(io.BytesIO(Path("net.pt2").read_bytes())).module()
    image = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(run(image).double(), net(image.double()), rtol=0, atol=1e-4)
    with pytest.raises(Exception, match=r"size|shape|Guard"):
        run(torch.rand(1, 3, 24, 16))


@FREE_SIZES
def test_a_program_that_makes_another_image_is_not_written(
    workplace: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(BLOCKS["compact"])
    monkeypatch.setattr(program.Program, "forward", lambda self, image: self.net(image) + 1e-3)
    Path("net.pt2").write_text("an older one")
    assert cli.main(["export", "net.safetensors", "-o", "net.pt2"]) == 2
    assert (
        "-o net.pt2: not written, since for an image of 9x18 pixels it differs from the network by 0.001"
        in capsys.readouterr().err
    )
    assert Path("net.pt2").read_text() == "an older one"


def test_a_missing_package_is_named_before_anything_is_done(
    workplace: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(BLOCKS["compact"])
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxruntime" else name)
    assert cli.main(["export", "net.safetensors", "-o", "net.onnx"]) == 2
    error = capsys.readouterr().err
    assert "-o net.onnx: ONNX needs onnxruntime, which is not installed: pip install onnxruntime" in error


@SLOW
def test_spandrels_networks_are_exported(onnx: Any) -> None:
    pytest.importorskip("spandrel")
    from spandrel.architectures.PLKSR import RealPLKSR

    torch.manual_seed(0)
    net = RealPLKSR(dim=8, n_blocks=1, split_ratio=0.5, upscaling_factor=2).eval()
    torch.save(net.state_dict(), "foreign.pth")
    assert cli.main(["export", "foreign.pth", "-o", "foreign.onnx"]) == 0
    assert_same_images(open_onnx("foreign.onnx")[1], net.double())


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("realesr-animevideov3", "realesr_animevideov3_x4"),
        ("RealESRGAN_x4plus_anime_6B", "realesrgan_x4plus_anime"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_published_weights_as_onnx_give_the_image_of_another_engine(
    name: str, key: str, precision: str, real_data: Path, onnx: Any
) -> None:
    stored = np.load(real_data / "real/ncnn_outputs_baboon_32.npz")
    image = torch.from_numpy(stored["input_RGB_uint8"]).permute(2, 0, 1)[None] / 255
    file = real_data / f"real/weights/{name}.pth"
    assert cli.main(["export", str(file), "-o", "net.onnx", "--precision", precision]) == 0
    limit = 1e-4 if precision == "fp32" else 2 / 255
    made = open_onnx("net.onnx")[1](image)
    torch.testing.assert_close(made.clamp(0, 1), torch.from_numpy(stored[key])[None].clamp(0, 1), rtol=0, atol=limit)
