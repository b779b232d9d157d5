from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from golden_cases import load_case
from torch import nn

from basicsr.analysis import generators
from basicsr.analysis.generators import (
    Generator,
    ReadyResults,
    channels_look_swapped,
    load_generator,
)
from basicsr.archs import build_network
from basicsr.evaluation.dataset_images import enlarge
from basicsr.utils.errors import DataError, UserError, WeightsError


def small_rrdb(scale: int = 4) -> dict[str, object]:
    return {
        "type": "RRDBNet",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "scale": scale,
        "num_feat": 8,
        "num_block": 2,
        "num_grow_ch": 4,
    }


def save_rrdb(path: Path, scale: int = 4, **others: object) -> nn.Module:
    torch.manual_seed(0)
    net = build_network(small_rrdb(scale))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": net.state_dict(), **others}, path)
    return net.eval()


def test_bicubic_is_matlabs():
    case = load_case("data_imresize")
    image = case.tensor("in.img").permute(2, 0, 1)[None]
    assert image.min() >= 0 and image.max() <= 1
    expected = case.tensor("out.pt.2.aa").clamp(0, 1)
    torch.testing.assert_close(enlarge(image, 2)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_baselines_keep_constants_and_interpolate_slow_waves(kernel):
    flat = torch.full((1, 3, 9, 7), 0.3)
    torch.testing.assert_close(enlarge(flat, 3, kernel), torch.full((1, 3, 27, 21), 0.3))

    def wave(size: int) -> torch.Tensor:
        return (0.5 + 0.4 * torch.cos(2 * torch.pi * (torch.arange(size) + 0.5) / size)).expand(1, 1, size, size)

    assert (enlarge(wave(32), 4, kernel) - wave(128)).abs().max() < 0.003
    with pytest.raises(UserError, match="bicubic, lanczos"):
        enlarge(flat, 2, "nearest")


def test_builtin_baselines_have_names_and_need_a_scale():
    baseline = load_generator("bicubic", scale=4)
    assert isinstance(baseline, Generator)
    assert (baseline.name, baseline.scale) == ("bicubic", 4)
    assert baseline(torch.rand(2, 3, 5, 6)).shape == (2, 3, 20, 24)
    assert load_generator("Plain=lanczos", scale=2).name == "Plain"
    with pytest.raises(UserError, match="--scale"):
        load_generator("bicubic")
    with pytest.raises(UserError, match="no such model: 'bicubik'"):
        load_generator("bicubik", scale=4)


def test_folder_of_results_matches_names(tmp_path: Path):
    for name in ("a.png", "b_x4.png", "c1.png", "dx4.png", "e_1.png", "e_2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    results = load_generator(f"SRGAN={tmp_path}")
    assert isinstance(results, ReadyResults) and results.name == "SRGAN"
    found = {name: results.find(f"{name}.jpg").name for name in ("a", "b", "d")}
    assert found == {"a": "a.png", "b": "b_x4.png", "d": "dx4.png"}
    with pytest.raises(DataError, match=r"SRGAN.*named c.*none"):
        results.find("c.png")
    with pytest.raises(DataError, match=r"e_1\.png, e_2\.png"):
        results.find("e.png")


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rrdb_is_recognised_by_its_weights(tmp_path: Path, scale: int):
    net = save_rrdb(tmp_path / "x.pth", scale)
    loaded = load_generator(str(tmp_path / "x.pth"))
    assert isinstance(loaded, Generator) and loaded.scale == scale
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net(x).clamp(0, 1))
    assert loaded(torch.rand(1, 3, 9, 11)).shape == (1, 3, 9 * scale, 11 * scale)
    with pytest.raises(UserError, match=f"enlarges by {scale}, expected scale 3"):
        load_generator(str(tmp_path / "x.pth"), scale=3)


def test_architecture_comes_from_the_runs_option_file(tmp_path: Path):
    run = tmp_path / "experiments" / "demo"
    torch.manual_seed(0)
    block = {"type": "SRVGGNetCompact", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_conv": 2, "upscale": 2}
    (run / "models").mkdir(parents=True)
    weights = run / "models" / "net_g_100.pth"
    torch.save({"params": build_network(block).state_dict()}, weights)
    (run / "train.yml").write_text("scale: 2\nnetwork_g:\n" + "".join(f"  {k}: {v}\n" for k, v in block.items()))
    loaded = load_generator(str(weights))
    assert (loaded.name, loaded.scale) == ("net_g_100", 2)
    assert load_generator(str(weights), options={"network_g": block}).scale == 2
    with pytest.raises(WeightsError):
        load_generator(str(weights), options={"network_g": small_rrdb()})


def test_missing_and_foreign_files_are_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"absent\.pth"):
        load_generator(str(tmp_path / "absent.pth"))
    torch.save({"params": {"some.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="--opt"):
        load_generator(str(tmp_path / "other.pth"))


def test_family_is_checked(tmp_path: Path):
    save_rrdb(tmp_path / "x.pth")
    assert load_generator(str(tmp_path / "x.pth"), family="RRDB").scale == 4
    with pytest.raises(WeightsError, match="holds a RRDBNet, not a SwinIR"):
        load_generator(str(tmp_path / "x.pth"), family="SwinIR")


def test_spandrel_recognises_other_peoples_models(tmp_path: Path):
    pytest.importorskip("spandrel")
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(0)
    net = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).eval()
    torch.save(net.state_dict(), tmp_path / "span.pth")
    loaded = load_generator(str(tmp_path / "span.pth"))
    assert loaded.scale == 2
    assert loaded(torch.rand(1, 3, 10, 12)).shape == (1, 3, 20, 24)


class SRVGGNetCompact(nn.Conv2d):
    """A network that enlarges by 2 and can be trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(super().forward(x), scale_factor=2)


class FakeDescriptor:
    """What spandrel returns for a model, as far as it is looked at."""

    def __init__(self) -> None:
        self.architecture = SimpleNamespace(id="Compact", name="RealESRGAN Compact")
        self.input_channels = 3
        self.size_requirements = SimpleNamespace(minimum=0, multiple_of=1, square=False)
        self.model = SRVGGNetCompact(3, 3, 1)


@pytest.fixture
def foreign_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that only (a fake) spandrel recognises; ``unknown.pth`` beside it is not recognised by it either."""

    class ModelLoader:
        def __init__(self, device: str) -> None: ...

        def load_from_file(self, path: Path) -> FakeDescriptor:
            if path.stem == "unknown":
                raise RuntimeError("no architecture fits\n  a.weight\n  b.weight")
            return FakeDescriptor()

    fake = SimpleNamespace(ModelLoader=ModelLoader, ImageModelDescriptor=FakeDescriptor)
    monkeypatch.setitem(sys.modules, "spandrel", fake)
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "compact.pth")
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "unknown.pth")
    return tmp_path / "compact.pth"


def test_family_and_weights_are_not_ignored_where_spandrel_loads(
    foreign_weights: Path, caplog: pytest.LogCaptureFixture
):
    for family in ("compact", "RealESRGAN", "SRVGG"):
        assert load_generator(str(foreign_weights), family=family).scale == 2
    with pytest.raises(WeightsError, match=r"compact\.pth: holds a RealESRGAN Compact, not a SwinIR"):
        load_generator(str(foreign_weights), family="SwinIR")
    assert "--param_key" not in caplog.text
    load_generator(str(foreign_weights), param_key="params")
    assert "compact.pth: --param_key does not apply" in caplog.text


def test_of_spandrels_failure_the_first_line_is_shown(foreign_weights: Path):
    with pytest.raises(WeightsError) as failure:
        load_generator(str(foreign_weights.with_name("unknown.pth")))
    assert "(no architecture fits)" in str(failure.value) and "\n" not in str(failure.value)


def test_models_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_rrdb(tmp_path / "x=1" / "g.pth")
    origin = load_generator("x=1/g.pth", param_key="params_ema").origin
    assert origin["path"] == str(tmp_path / "x=1" / "g.pth") and origin["param_key"] == "params_ema"
    before = origin["digest"]
    save_rrdb(tmp_path / "x=1" / "g.pth", scale=2)
    assert load_generator("A=x=1/g.pth").origin["digest"] != before
    assert load_generator("bicubic", scale=4).origin == {"kernel": "bicubic"}
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    here = load_generator(".")
    assert here.origin == {"path": str(tmp_path)} and here.name == tmp_path.name
    with pytest.raises(UserError, match="'T=' names nothing"):
        load_generator("T=")


def test_networks_of_gray_are_told_and_refused_where_colours_are_measured(tmp_path: Path):
    net = build_network({"type": "SRVGGNetCompact", "num_in_ch": 1, "num_out_ch": 1, "num_feat": 4, "num_conv": 1})
    torch.save(net.state_dict(), tmp_path / "gray.pth")
    assert generators.load_network(tmp_path / "gray.pth")[1:3] == (4, 1)
    with pytest.raises(UserError, match=r"gray\.pth: takes and makes images of 1 channel, expected 3"):
        load_generator(str(tmp_path / "gray.pth"))


def test_a_run_comes_before_a_built_in_network_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_rrdb(tmp_path / "experiments/faithful/models/net_g_latest.pth")
    found = generators.find_weights_file("faithful")
    assert found == Path("experiments/faithful/models/net_g_latest.pth")


def test_swapped_colours_are_reported(caplog: pytest.LogCaptureFixture):
    photo = torch.stack([torch.full((32, 32), value) for value in (0.8, 0.5, 0.1)])[None]
    assert channels_look_swapped(photo.flip(1), photo)
    assert not channels_look_swapped(photo, photo)
    with caplog.at_level(logging.WARNING, "basicsr"):
        found = generators._check_network(lambda x: enlarge(x, 2).flip(1), "bgr.pth", None, "cpu")
    assert found == (2, 3) and "swapped" in caplog.text
    with pytest.raises(UserError, match="1 channels"):
        generators._check_network(lambda x: x[:, :1], "gray.pth", None, "cpu")
