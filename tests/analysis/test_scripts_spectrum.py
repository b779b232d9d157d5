"""The documented commands of spectral analysis, on photographs, with small random networks."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from critic_runs import OPTIONS, QUIET, read_rows, save_experiment

from basicsr.analysis.images import list_images, read_image
from basicsr.analysis.statistics import ProfileStatistics
from basicsr.archs import build_network
from basicsr.cli import main, run_script
from basicsr.evaluation.dataset_images import enlarge, name_images
from basicsr.spectral.bands import compute_band_rmse
from basicsr.utils import imresize

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
    assert run_script("spectrum bands", [*arguments, "--model_path", f"Ours={weights}", "bicubic", f"Same={gt}"]) == 0
    content = json.loads(Path("results/bands/DIV2K.json").read_text())
    assert list(content["mean_rmse"]) == ["Ours", "bicubic", "Same"] and content["edges"] == [0, 0.3, 0.8, 1]
    assert max(content["mean_rmse"]["Same"]) < 1e-5 < min(content["mean_rmse"]["bicubic"])
    assert len(read_rows(Path("results/bands/DIV2K.csv"))) == 2 * 3
    assert Path("results/bands/DIV2K.png").is_file() and Path("results/bands/DIV2K.pdf").is_file()


def test_band_errors_from_ground_truth_alone(photos: Path, workplace: Path):
    gt, _ = save_pairs(photos, workplace)
    (gt / "broken.png").write_bytes(b"broken")
    arguments = ["--gt", str(gt), "--scale", "4", "--num_bands", "5", "--model_path", "bicubic", "lanczos"]
    assert run_script("spectrum bands", [*arguments, "--output", "out/b", "--formats", "svg", *QUIET]) == 3
    content = json.loads(Path("out/b.json").read_text())
    assert len(content["mean_rmse"]["lanczos"]) == 5 and content["bad_files"][0]["name"] == "broken.png"
    assert Path("out/b.svg").is_file()


@pytest.mark.slow
def test_statistics_modes_and_profile_plot(photos: Path, workplace: Path):
    weights = save_generator(workplace / "net_g.pth")
    shared = ["--patch_size", "32", "--repeat", "2", "--formats", "png", *QUIET]
    common = ["--input", str(photos), *shared]
    assert run_script("spectrum statistics", [*common, "--experiment_name", "gt", "--mode", "1", "--label", "GT"]) == 0
    model = ["--mode", "0", "--model", "RRDB", "--model_path", str(weights), "--scale", "4"]
    assert run_script("spectrum statistics", [*common, "--experiment_name", "sr", *model]) == 0
    gt, sr = (ProfileStatistics.load(f"experiments/{name}/spectrum_stats.pth") for name in ("gt", "sr"))
    assert gt.count == sr.count == 16 and gt.label == "GT" and len(gt.mean) == len(sr.mean) == 23
    stored = torch.load("experiments/gt/spectrum_stats.pth", weights_only=True)
    assert {"mean", "std", "count"} <= set(stored)
    assert Path("experiments/gt/spectrum.png").is_file()
    stats = ["GT=experiments/gt/spectrum_stats.pth", "SR=experiments/sr/spectrum_stats.pth"]
    assert (
        run_script(
            "spectrum plot", ["--stats", *stats, "--mode", "mean", "--name", "test", "--formats", "png", "pdf", "svg"]
        )
        == 0
    )
    folder = Path("experiments/spectral_profile")
    assert sorted(path.name for path in folder.iterdir()) == ["test.pdf", "test.png", "test.svg"]


def test_statistics_say_what_is_wrong(photos: Path, capsys: pytest.CaptureFixture[str]):
    common = ["--input", str(photos), "--experiment_name", "x", *QUIET]
    assert run_script("spectrum statistics", [*common, "--mode", "0"]) == 2
    assert "--model_path" in capsys.readouterr().err
    assert run_script("spectrum statistics", [*common, "--mode", "1", "--patch_size", "500"]) == 3
    assert "astronaut.png: image is 96x80 pixels, smaller than the 500x500 crop" in capsys.readouterr().err
    assert run_script("spectrum statistics", ["--input", "absent", "--experiment_name", "x"]) == 3


@pytest.mark.slow
def test_robustness_of_one_critic_and_of_two(photos: Path):
    common = ["--experiment_name", "dual", "--input", str(photos), "--input_size", "32", "--divide", "4"]
    common += ["--batch_size", "10", "--noise_std", "30", "--formats", "pdf", *QUIET]
    assert run_script("spectrum robustness", [*common, "--net", "Spatial"]) == 0
    folder = Path("experiments/dual/robustness")
    one = json.loads((folder / "Spatial.json").read_text())
    assert set(one["critics"]) == {"Spatial"} and len(one["critics"]["Spatial"]["masked"]["absolute"]) == 4
    assert (folder / "Spatial.pdf").is_file() and len(list((folder / "cache").iterdir())) == 1
    assert run_script("spectrum ensemble", [*common, "--net", "Spatial", "--net2", "Spectral"]) == 0
    assert len(list((folder / "cache").iterdir())) == 2
    both = json.loads((folder / "Spatial_Spectral.json").read_text())
    assert set(both["critics"]) == {"Spatial", "Spectral", "mean"} and set(both["switch_over"]) == {"masked", "noisy"}
    assert both["critics"]["Spatial"] == one["critics"]["Spatial"]
    assert len(read_rows(folder / "Spatial_Spectral.csv")) == 3 * 2 * 4
    assert (
        run_script(
            "spectrum robustness", [*common, "--net", "S", "--load_name", "net_spectral_d", "--mask", "published"]
        )
        == 0
    )
    published = json.loads((folder / "S.json").read_text())["critics"]["S"]
    assert published["masked"] != both["critics"]["Spectral"]["masked"]


SMALL = ["--input_size", "32", "--divide", "4", "--batch_size", "20", "--formats", "png", *QUIET]


@pytest.mark.slow
def test_robustness_of_critics_of_any_runs(photos: Path, workplace: Path):
    for name, kept in (("d_only", "network_d"), ("s_only", "net_spectral_d")):
        save_experiment(Path("experiments") / name, {"name": name, kept: OPTIONS[kept]})
    chosen = ["--critic", "D=d_only", "--critic", f"S={workplace}/experiments/s_only:net_spectral_d"]
    common = ["spectrum", "robustness", "--input", str(photos), "--repeat", "2", *SMALL]
    assert main([*common, *chosen]) == 0
    content = json.loads(Path("experiments/d_only/robustness/D_S.json").read_text())
    assert list(content["critics"]) == ["D", "S", "mean"] and content["switch_over_between"] == ["D", "S"]
    assert (content["num_images"], content["num_crops"]) == (8, 16)
    assert content["source"]["images"] == str(photos)
    assert content["source"]["critics"]["S"]["path"].endswith("s_only/models/net_spectral_d.pth")
    for name in ("d_only", "s_only"):
        assert len(list(Path(f"experiments/{name}/robustness/cache").iterdir())) == 1
    # The same critics beside the documented flags: equal weights give equal curves.
    flags = ["--experiment_name", "dual", "--net", "Both D", "--net2", "Both S", "--load_name2", "net_spectral_d"]
    assert main([*common, *flags, *chosen, "--relative", "--output", "out/four"]) == 0
    four = json.loads(Path("out/four.json").read_text())["critics"]
    assert list(four) == ["Both D", "Both S", "D", "S", "mean"] and four["D"] == content["critics"]["D"]
    assert Path("out/four.png").is_file()


def test_replaced_results_and_damaged_caches_are_named(
    photos: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
):
    few = workplace / "few"
    few.mkdir()
    shutil.copy(photos / "coffee.png", few)
    common = ["robustness", "--experiment_name", "dual", "--net", "D", *SMALL]
    assert main(["spectrum", *common, "--input", str(photos)]) == 0
    for entry in Path("experiments/dual/robustness/cache").iterdir():
        os.truncate(entry, 100)
    capsys.readouterr()
    assert main(["spectrum", *common, "--input", str(photos)]) == 0
    said = capsys.readouterr().err
    assert "is damaged" in said and "replaced" not in said
    assert main(["spectrum", *common, "--input", str(few)]) == 0
    assert f"D.json will be replaced, which was computed from something else: images was {photos}" in (
        capsys.readouterr().err
    )
    assert main(["spectrum", *common, "--input", str(few), "--input_size", "64"]) == 0
    assert "from something else: input_size was 32, is 64\n" in capsys.readouterr().err


def test_bands_of_one_photograph_from_end_to_end(photos: Path, workplace: Path, capsys: pytest.CaptureFixture[str]):
    gt, ready = workplace / "gt", workplace / "ready"
    gt.mkdir()
    ready.mkdir()
    shutil.copy(photos / "coffee.png", gt)
    shutil.copy(photos / "coffee.png", ready / "coffee_x4.png")
    assert main(["spectrum", "bands", "--gt", str(gt), "--model_path", f"Same={ready}", "bicubic", *QUIET]) == 0
    content = json.loads(Path(f"results/bands/{workplace.name}.json").read_text())
    image = read_image(gt / "coffee.png")[None] / 255
    expected = compute_band_rmse(image, enlarge(imresize(image[0], 0.25)[None].clamp(0, 1), 4))[0]
    np.testing.assert_allclose(content["mean_rmse"]["bicubic"], expected, rtol=1e-3)
    assert max(content["mean_rmse"]["Same"]) < 1e-5
    assert content["source"]["images"] == {"dataroot_gt": str(gt)}
    assert content["source"]["models"]["Same"] == {"path": str(ready)}
    assert main(["spectrum", "bands", "--gt", str(gt), "--model_path", "bicubic", *QUIET]) == 0
    assert f"{workplace.name}.json will be replaced" in capsys.readouterr().err


def test_files_that_cannot_be_read_are_named_by_every_command(
    photos: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
):
    folder = workplace / "linked"
    folder.mkdir()
    shutil.copy(photos / "coffee.png", folder)
    (folder / "dangling.png").symlink_to("absent.png")
    commands = [
        ["bands", "--gt", "linked", "--model_path", "bicubic", "--formats", "png", *QUIET],
        ["statistics", "--input", "linked", "--experiment_name", "x", "--patch_size", "32", "--formats", "png", *QUIET],
        ["robustness", "--critic", "D=dual", "--input", "linked", *SMALL],
    ]
    for command in commands:
        assert main(["spectrum", *command]) == 3
        said = capsys.readouterr().err
        assert "1 could not be used" in said and "dangling.png: " in said


WRONG = [
    ("bands --gt photos --num_bands 0", "--num_bands: must be 1 or more"),
    ("bands --gt photos --scale 0", "--scale: must be 1 or more"),
    ("bands --gt photos --num_bands 3 --bands 0 1", "not allowed with argument"),
    ("bands --gt photos --num_bands 3 --r_1 0.2", "--r_1 and --num_bands both say"),
    ("bands --gt photos --bands 0.5 0.1", "--bands: band edges must"),
    ("bands --gt photos --bands 0 nan 1", "--bands: band edges must"),
    ("bands --gt photos --dataset_opt x.yml", "not allowed with argument"),
    ("bands --lq photos", "--lq requires --gt"),
    ("bands --gt photos --filename_tmpl {}x4", "--filename_tmpl requires --lq"),
    ("bands --gt photos --r_1 0.9 --r_2 0.1", "--r_1 and --r_2 must increase between 0 and 1; got 0.9 and 0.1"),
    ("bands --gt photos --model_path bicubic --output /proc/x/y", "/proc/x/y: results cannot be written there"),
    ("bands --gt photos --model_path T=", "'T=' names nothing"),
    ("bands --gt photos --model_path bicubic bicubic", "models need different names"),
    ("statistics --input photos --experiment_name x --patch_size 0", "--patch_size: must be 2 or more"),
    ("statistics --input photos --experiment_name x --patch_size=-4", "--patch_size: must be 2 or more"),
    ("statistics --input photos --experiment_name x --patch_size 1", "--patch_size: must be 2 or more"),
    ("statistics --input photos --experiment_name x --repeat 0", "--repeat: must be 1 or more"),
    ("statistics --input photos --experiment_name /proc/x", "'/proc/x' cannot name a file or folder"),
    ("statistics --input photos --experiment_name ..", "'..' cannot name a file or folder"),
    ("plot --stats A=x.pth --name ../../x", "'../../x' cannot name a file or folder"),
    ("bands --gt / --model_path bicubic", "/: name: '' cannot name a file or folder"),
    ("robustness --critic B=dual --input photos --output /proc/x", "/proc/x: results cannot be written there"),
    ("plot --stats A=x.pth --r_1 0.9 --r_2 0.1", "--r_1 and --r_2 must increase"),
    ("plot --stats A=", "'A=' names nothing"),
    ("robustness --input photos", "no critic to measure"),
    ("robustness --experiment_name dual --net mean --net2 B", "cannot be called 'mean'"),
    ("robustness --experiment_name dual --net B --critic B=dual", "critics need different names; got B, B"),
    ("robustness --experiment_name dual --net B --load_name2 net_d", "--load_name2 requires --net2"),
    ("robustness --experiment_name dual --net B --window_size 0", "--window_size: must be 1 or more"),
    ("robustness --experiment_name dual --critic B=dual", "--experiment_name requires --net"),
    ("robustness --net B", "--net requires --experiment_name"),
    ("robustness --critic dual", "--critic dual: expected LABEL="),
    ("robustness --critic B=dual:weights", "weights must be called"),
    ("robustness --critic B=absent", "no such experiment"),
    ("robustness --critic B=dual --noise_std -1", "noise_std must be 0 or more"),
]


@pytest.mark.parametrize(("command", "message"), WRONG, ids=[command for command, _ in WRONG])
def test_one_clear_error_instead_of_a_guess(
    command: str, message: str, photos: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
):
    (workplace / "photos").symlink_to(photos)
    before = sorted(workplace.rglob("*"))
    try:
        code = main(["spectrum", *command.split()])
    except SystemExit as stop:
        code = stop.code
    assert code in (1, 2)
    said = capsys.readouterr().err
    assert message in " ".join(said.split()) and "Traceback" not in said
    assert sorted(workplace.rglob("*")) == before


def test_flags_of_published_command_lines_pass_with_a_notice(photos: Path, capsys: pytest.CaptureFixture[str]):
    common = ["--input", str(photos), "--experiment_name", "gt", "--patch_size", "32", "--formats", "png", *QUIET]
    published = ["--mode", "1", "--model", "RRDB", "--model_path", "absent.pth", "--scale", "4"]
    assert run_script("spectrum statistics", [*common, *published]) == 0
    assert "--model_path, --model, --scale: without effect" in capsys.readouterr().err


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


def test_tables_of_different_commands_can_be_joined(photos: Path, workplace: Path):
    gt, lq = save_pairs(photos, workplace)
    for file in lq.iterdir():
        file.rename(file.with_name(file.name.replace("x4", "")))
    weights = save_generator(workplace / "net_g.pth")
    data = {"name": "D", "type": "PairedImageDataset", "dataroot_gt": str(gt), "dataroot_lq": str(lq)}
    options = {"name": "joined", "model_type": "SRModel", "scale": 4, "num_gpu": 0, "network_g": RRDB}
    options |= {"datasets": {"test_1": data}, "path": {"pretrain_network_g": str(weights)}}
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 4}}
    (workplace / "test.yml").write_text(json.dumps({**options, "val": {"save_img": False, "metrics": metrics}}))
    assert main(["test", "-opt", "test.yml"]) == 0
    assert main(["spectrum", "bands", "--gt", str(gt), "--model_path", "bicubic", *QUIET]) == 0
    save_experiment(workplace / "experiments/scoring")
    assert main(["score", str(gt), "-m", "experiments/scoring", "--n_ensemble", "2", *QUIET]) == 0
    tables = [*workplace.rglob("metrics.csv"), *workplace.rglob("bands/*.csv"), *workplace.rglob("scores.csv")]
    assert len(tables) == 3
    expected = {path.stem for path in list_images(gt)}
    assert [{row["image"] for row in read_rows(table)} - {"mean"} for table in tables] == [expected] * 3


def test_images_that_differ_in_their_endings_alone_keep_them():
    assert name_images(["a.png", "b.jpg", "b.png"]) == ["a", "b_jpg", "b_png"]
