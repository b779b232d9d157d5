"""The documented commands of spectral analysis, on photographs, with small random networks."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest
import torch
from critic_runs import QUIET, read_rows

from basicsr.archs import build_network
from basicsr.cli_analysis import run_script
from basicsr.spectral.images import list_images, read_image
from basicsr.spectral.statistics import ProfileStatistics

pytestmark = pytest.mark.usefixtures("workplace")

ROOT = Path(__file__).parents[2]
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}


def save_generator(path: Path) -> Path:
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": build_network(RRDB).state_dict()}, path)
    return path


def save_pairs(photos: Path, root: Path) -> tuple[Path, Path]:
    """GT of 80x72 pixels and quarter-size inputs called <name>x4."""
    gt, lq = root / "HR", root / "LR"
    gt.mkdir()
    lq.mkdir()
    for path in list_images(photos)[:2]:
        image = read_image(path).permute(1, 2, 0).numpy()[:72, :80, ::-1]
        cv2.imwrite(str(gt / path.name), image)
        cv2.imwrite(str(lq / f"{path.stem}x4.png"), image[::4, ::4])
    return gt, lq


def test_band_errors_of_several_models(photos: Path, workplace: Path):
    gt, lq = save_pairs(photos, workplace)
    weights = save_generator(workplace / "experiments" / "pretrained_models" / "net_g.pth")
    block = f"name: DIV2K\ntype: PairedImageDataset\ndataroot_gt: {gt}\ndataroot_lq: {lq}\n"
    block += "filename_tmpl: '{}x4'\nio_backend:\n  type: disk\nscale: 4\nphase: test\n"
    (workplace / "valid.yml").write_text(block)
    arguments = ["--dataset_opt", "valid.yml", "--r_1", "0.3", "--r_2", "0.8", *QUIET]
    assert run_script("bands", [*arguments, "--model_path", f"Ours={weights}", "bicubic", f"Same={gt}"]) == 0
    content = json.loads(Path("results/bands/DIV2K.json").read_text())
    assert list(content["mean_rmse"]) == ["Ours", "bicubic", "Same"] and content["edges"] == [0, 0.3, 0.8, 1]
    assert max(content["mean_rmse"]["Same"]) < 1e-5 < min(content["mean_rmse"]["bicubic"])
    assert len(read_rows(Path("results/bands/DIV2K.csv"))) == 2 * 3
    assert Path("results/bands/DIV2K.png").is_file() and Path("results/bands/DIV2K.pdf").is_file()


def test_band_errors_from_ground_truth_alone(photos: Path, workplace: Path):
    gt, _ = save_pairs(photos, workplace)
    (gt / "broken.png").write_bytes(b"broken")
    arguments = ["--gt", str(gt), "--scale", "4", "--num_bands", "5", "--model_path", "bicubic", "lanczos"]
    assert run_script("bands", [*arguments, "--output", "out/b", "--formats", "svg", *QUIET]) == 3
    content = json.loads(Path("out/b.json").read_text())
    assert len(content["mean_rmse"]["lanczos"]) == 5 and content["bad_files"][0]["name"] == "broken.png"
    assert Path("out/b.svg").is_file()


def test_statistics_modes_and_profile_plot(photos: Path, workplace: Path):
    weights = save_generator(workplace / "net_g.pth")
    shared = ["--patch_size", "32", "--repeat", "2", "--formats", "png", *QUIET]
    common = ["--input", str(photos), *shared]
    assert run_script("statistics", [*common, "--experiment_name", "gt", "--mode", "1", "--label", "GT"]) == 0
    model = ["--mode", "0", "--model", "RRDB", "--model_path", str(weights), "--scale", "4"]
    assert run_script("statistics", [*common, "--experiment_name", "sr", *model]) == 0
    gt, sr = (ProfileStatistics.load(f"experiments/{name}/spectrum_stats.pth") for name in ("gt", "sr"))
    assert gt.count == sr.count == 16 and gt.label == "GT" and len(gt.mean) == len(sr.mean) == 23
    stored = torch.load("experiments/gt/spectrum_stats.pth", weights_only=True)
    assert {"mean", "std", "count"} <= set(stored)
    assert Path("experiments/gt/spectrum.png").is_file()
    stats = ["GT=experiments/gt/spectrum_stats.pth", "SR=experiments/sr/spectrum_stats.pth"]
    assert (
        run_script("plot", ["--stats", *stats, "--mode", "mean", "--name", "test", "--formats", "png", "pdf", "svg"])
        == 0
    )
    folder = Path("experiments/spectral_profile")
    assert sorted(path.name for path in folder.iterdir()) == ["test.pdf", "test.png", "test.svg"]


def test_statistics_say_what_is_wrong(photos: Path, capsys: pytest.CaptureFixture[str]):
    common = ["--input", str(photos), "--experiment_name", "x", *QUIET]
    assert run_script("statistics", [*common, "--mode", "0"]) == 1
    assert "--model_path" in capsys.readouterr().err
    assert run_script("statistics", [*common, "--mode", "1", "--patch_size", "500"]) == 3
    assert "astronaut.png: image is 96x80 pixels, smaller than the 500x500 crop" in capsys.readouterr().err
    assert run_script("statistics", ["--input", "absent", "--experiment_name", "x"]) == 3


def test_robustness_of_one_critic_and_of_two(photos: Path):
    common = ["--experiment_name", "dual", "--input", str(photos), "--input_size", "32", "--divide", "4"]
    common += ["--batch_size", "10", "--noise_std", "30", "--formats", "pdf", *QUIET]
    assert run_script("robustness", [*common, "--net", "Spatial"]) == 0
    folder = Path("experiments/dual/robustness")
    one = json.loads((folder / "Spatial.json").read_text())
    assert set(one["critics"]) == {"Spatial"} and len(one["critics"]["Spatial"]["masked"]["absolute"]) == 4
    assert (folder / "Spatial.pdf").is_file() and len(list((folder / "cache").iterdir())) == 1
    assert run_script("ensemble", [*common, "--net", "Spatial", "--net2", "Spectral"]) == 0
    assert len(list((folder / "cache").iterdir())) == 2
    both = json.loads((folder / "Spatial_Spectral.json").read_text())
    assert set(both["critics"]) == {"Spatial", "Spectral", "mean"} and set(both["switch_over"]) == {"masked", "noisy"}
    assert both["critics"]["Spatial"] == one["critics"]["Spatial"]
    assert len(read_rows(folder / "Spatial_Spectral.csv")) == 3 * 2 * 4
    assert (
        run_script("robustness", [*common, "--net", "S", "--load_name", "net_spectral_d", "--mask", "published"]) == 0
    )
    published = json.loads((folder / "S.json").read_text())["critics"]["S"]
    assert published["masked"] != both["critics"]["Spectral"]["masked"]


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("estimate_difference_in_frequency_range", "dataset_opt model_path r_1 r_2"),
        (
            "estimate_spectral_statistics",
            "input experiment_name mode model model_path patch_size scale label seed repeat",
        ),
        ("plot_spectral_profile", "mode name stats"),
        (
            "robustness_analysis_under_frequency_perturbation",
            "experiment_name net input batch_size input_size divide load_name noise_std seed mask",
        ),
        ("robustness_analysis_under_frequency_perturbation_ensemble", "net2 load_name2 repeat net load_name divide"),
        (
            "test_iqa",
            "experiment_name test_set test_set_guider test_set_name img_size spatial_window_size spectral_window_size "
            "test_protocol_spatial test_protocol_spectral n_ensemble stride batch_size num_workers CLIVE_crop_spatial "
            "seed",
        ),
    ],
)
def test_scripts_have_the_documented_flags(
    script: str, flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert [flag for flag in flags.split() if f"--{flag} " not in shown and f"--{flag}]" not in shown] == []
