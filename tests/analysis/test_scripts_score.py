"""The documented commands that score images, on photographs, with small random critics."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from critic_runs import OPTIONS, QUIET, read_rows, save_experiment
from tiny_run import environment

from basicsr.analysis.images import digest_file, list_images, read_image
from basicsr.analysis.quality_critic import describe_support
from basicsr.cli import build_parser, main, run_script
from basicsr.commands import build_command_parser

pytestmark = pytest.mark.usefixtures("workplace")

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_iqa_reports_each_critic_and_the_ensemble(photos: Path):
    common = ["--experiment_name", "dual", "--test_set", str(photos), "--test_set_guider", str(photos / "guide.txt")]
    common += ["--img_size", "64", "64", "--spatial_window_size", "8", "--spectral_window_size", "4", *QUIET]
    random = ["--test_protocol_spatial", "random", "--test_protocol_spectral", "random", "--n_ensemble", "3"]
    assert run_script("iqa", [*common, *random, "--test_set_name", "KonIQ"]) == 0
    patchify = ["--test_protocol_spatial", "patchify", "--test_protocol_spectral", "patchify", "--stride", "16"]
    assert run_script("iqa", [*common, *patchify, "--test_set_name", "PIPAL", "--batch_size", "3"]) == 0
    reports = {
        name: json.loads(Path(f"results/dual/iqa/{name}/report.json").read_text()) for name in ("KonIQ", "PIPAL")
    }
    for report in reports.values():
        assert report["num_images"] == 8 and set(report["correlations"]) == {"spatial", "spectral", "ensemble"}
        assert set(report["correlations"]["ensemble"]) == {"plcc", "plcc_fitted", "srcc", "krcc"}
    assert reports["KonIQ"]["settings"]["critics"]["spatial"]["n_ensemble"] == 3
    rows = read_rows(Path("results/dual/iqa/PIPAL/scores.csv"))
    first = rows[0]
    assert (first["image"], first["file"]) == ("astronaut", "astronaut.png") and float(first["mos"]) == 4
    total = float(first["spatial"]) + float(first["spectral"])
    assert float(first["ensemble"]) == pytest.approx(total, rel=1e-6)
    assert Path("results/dual/iqa/KonIQ/scatter.png").is_file()


def test_iqa_defaults_follow_the_set(photos: Path):
    common = ["--experiment_name", "dual", "--test_set", str(photos), "--test_set_guider", str(photos / "guide.txt")]
    common += ["--test_protocol_spatial", "random", "--test_protocol_spectral", "random", "--formats", "png", *QUIET]
    assert run_script("iqa", [*common, "--test_set_name", "KonIQ-10k"]) == 0
    assert run_script("iqa", [*common, "--test_set_name", "other", "--critics", "spectral"]) == 0
    critics = [
        json.loads(Path(f"results/dual/iqa/{name}/report.json").read_text())["settings"]["critics"]
        for name in ("KonIQ-10k", "other")
    ]
    assert critics[0]["spatial"]["n_ensemble"] == 40 and critics[0]["spatial"]["size"] == [32, 32]
    assert critics[1]["spectral"]["n_ensemble"] == 20 and set(critics[1]) == {"spectral"}


def test_clive_flag_crops_for_the_spatial_critic_only(photos: Path, tmp_path: Path):
    square = tmp_path / "square"
    square.mkdir()
    for path in list_images(photos)[:4]:
        cv2.imwrite(str(square / path.name), read_image(path).permute(1, 2, 0).numpy()[:32, :32, ::-1])
    guide = tmp_path / "guide.txt"
    guide.write_text("".join(f"{path.name},{index}\n" for index, path in enumerate(list_images(square))))
    common = ["--experiment_name", "dual", "--test_set", str(square), "--test_set_guider", str(guide), *QUIET]
    assert run_script("iqa", [*common, "--test_set_name", "CLIVE", "--CLIVE_crop_spatial"]) == 0
    critics = json.loads(Path("results/dual/iqa/CLIVE/report.json").read_text())["settings"]["critics"]
    assert (critics["spatial"]["protocol"], critics["spectral"]["protocol"]) == ("random", "default")


def test_iqa_goes_on_over_bad_files_names_them_and_exits_3(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "set"
    shutil.copytree(photos, folder)
    (folder / "broken.png").write_bytes(b"broken")
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((10, 10, 3), np.uint8))
    guide = (photos / "guide.txt").read_text() + "broken.png,3\ntiny.png,2\nabsent.png,1\nnoscore.png\n"
    (folder / "guide.txt").write_text(guide)
    command = ["--experiment_name", "dual", "--test_set", str(folder), "--test_set_guider", str(folder / "guide.txt")]
    command += ["--test_set_name", "S", "--preset", "PIPAL", "--img_size", "32", "32", "--formats", "png", *QUIET]
    assert run_script("iqa", command) == 3
    report = json.loads(Path("results/dual/iqa/S/report.json").read_text())
    assert report["num_images"] == 8 and set(report["correlations"]) == {"spatial", "spectral", "ensemble"}
    assert [bad["name"] for bad in report["bad_files"]] == [
        "guide.txt, line 12",
        "absent.png",
        "broken.png",
        "tiny.png",
    ]
    said = capsys.readouterr().err
    assert [name for name in ("broken.png", "tiny.png", "absent.png", "noscore.png") if name not in said] == []


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (["--experiment_name", "absent"], 2, "no such experiment"),
        (["--test_set_guider", "absent.txt"], 3, "absent.txt"),
        (["--preset", "TID"], 2, "KonIQ-10k"),
        (["--load_name", "net_d_9"], 3, "net_d_9"),
        (["--img_size", "30", "30"], 2, "cannot be built for these sizes"),
        (["--test_set_name", "../S"], 2, "'../S' cannot name a file or folder"),
        (["--device", "cuda:77"], 2, "--device cuda:77"),
        (["--test_protocol_spatial", "default"], 3, "the critic takes 32x32 only"),
    ],
)
def test_iqa_says_what_is_wrong(
    photos: Path, change: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
):
    command = ["--experiment_name", "dual", "--test_set", str(photos), "--test_set_guider", str(photos / "guide.txt")]
    command += [
        "--test_set_name",
        "S",
        "--test_protocol_spatial",
        "random",
        "--test_protocol_spectral",
        "random",
        *QUIET,
    ]
    try:
        code = run_script("iqa", [*command, *change])
    except SystemExit as stop:
        code = stop.code
    assert code == status
    assert words in capsys.readouterr().err


SCORE = ["-m", "experiments/dual", "--n_ensemble", "2", "--formats", "png", *QUIET]


def test_score_sorts_any_folder_and_draws_a_contact_sheet(photos: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(photos), *SCORE]) == 0
    folder = Path(f"results/dual/score/{photos.name}")
    assert {path.name for path in folder.iterdir()} == {"scores.csv", "report.json", "contact_sheet.png"}
    rows = read_rows(folder / "scores.csv")
    values = [float(row["ensemble"]) for row in rows]
    assert len(rows) == 8 and values == sorted(values, reverse=True) and "mos" not in rows[0]
    assert sorted(row["file"] for row in rows) == [path.name for path in list_images(photos)]
    sheet = cv2.imread(str(folder / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] > 500
    said = capsys.readouterr().out
    assert all(f"wrote {path}" in said for path in folder.iterdir())
    settings = json.loads((folder / "report.json").read_text())["settings"]
    assert settings["images"] == str(photos.resolve()) and settings["guide"] is None
    weights = settings["critics"]["spatial"]["weights"]
    assert weights["path"] == str(Path("experiments/dual/models/net_d.pth").absolute())
    assert weights["digest"] == digest_file("experiments/dual/models/net_d.pth")
    with_opinions = ["--guide", str(photos / "guide.txt"), "--output", "rated", "--top", "2"]
    assert main(["score", str(photos), *with_opinions, *SCORE]) == 0
    names = {"scores.csv", "report.json", "scatter.png", "contact_sheet.png"}
    assert {path.name for path in Path("rated").iterdir()} == names
    assert main(["score", str(photos), "--output", "rated", *SCORE]) == 0
    assert {path.name for path in Path("rated").iterdir()} == names - {"scatter.png"}


@pytest.mark.parametrize(
    ("kind", "supports"),
    [
        ("ESRGANSpecModel", "no ranking: a relativistic objective"),
        ("SPSRModel", "photograph or this run's output"),
        ("RealESRGANModel", "photograph or this run's output"),
        (
            "ESRGANSimpleGatedDegradationWSpecModel",
            "a ranking of quality, as published; critics",
        ),
        (None, "the objective does not say"),
    ],
)
def test_what_scores_support_is_told_by_the_objective(kind: str | None, supports: str, tmp_path: Path):
    training = {"model_type": kind, "train": {"gan_opt": {"type": "GANLoss"}}} if kind else {}
    run = save_experiment(tmp_path / "run", {**OPTIONS, **training})
    assert describe_support(argparse.Namespace(opt=None, experiment_name=str(run))).startswith(supports)


def test_scores_of_a_relativistic_run_say_that_they_cannot_rank(photos: Path, capsys: pytest.CaptureFixture[str]):
    options = Path("experiments/dual/train.yml")
    gan = {"train": {"gan_opt": {"type": "GANLoss", "gan_type": "vanilla"}}}
    options.write_text(yaml.safe_dump({**OPTIONS, **gan, "model_type": "ESRGANSpecModel"}))
    assert main(["score", str(photos), "--output", "scored", *SCORE]) == 0
    assert "What these scores support: no ranking: a relativistic objective" in capsys.readouterr().out
    rows = read_rows(Path("scored/scores.csv"))
    assert all(row["supports"].startswith("no ranking: a relativistic") for row in rows)


def test_score_with_a_guide_of_some_images_scores_all(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    guide = tmp_path / "guide.txt"
    lines = (photos / "guide.txt").read_text().splitlines()
    guide.write_text("\n".join(lines[:3]) + "\n")
    assert main(["score", str(photos), "--guide", str(guide), *SCORE]) == 0
    folder = Path(f"results/dual/score/{photos.name}")
    rows = read_rows(folder / "scores.csv")
    opinions = {row["file"]: float(row["mos"]) for row in rows if row["mos"]}
    assert len(rows) == 8 and opinions == {"astronaut.png": 4, "astronaut_blur.png": 2, "chelsea.png": 4.1}
    report = json.loads((folder / "report.json").read_text())
    assert (report["num_images"], report["num_rated"]) == (8, 3)
    assert report["correlations"]["ensemble"]["plcc_fitted"]["value"] is None
    assert "3 of 8 images rated" in capsys.readouterr().out


def test_a_guide_may_name_images_in_sub_folders(photos: Path, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "set" / "inner")
    lines = (photos / "guide.txt").read_text().splitlines()
    (tmp_path / "guide.txt").write_text("\n".join(f"inner/{line}" for line in lines[:4]))
    command = ["score", str(tmp_path / "set"), "--guide", str(tmp_path / "guide.txt"), "--output", "out", *SCORE]
    assert main(command) == 0
    assert len(read_rows(Path("out/scores.csv"))) == 4
    shutil.copy(list_images(photos)[-1], tmp_path / "set" / "outer.png")
    assert main(command) == 0
    assert {row["file"]: bool(row["mos"]) for row in read_rows(Path("out/scores.csv"))} == {
        "outer.png": False,
        **{f"inner/{line.split(',')[0]}": True for line in lines[:4]},
    }


def test_an_image_has_one_row_however_the_guide_spells_it(photos: Path, tmp_path: Path):
    folder = tmp_path / "set"
    shutil.copytree(photos, folder)
    (folder / "link.png").symlink_to("chelsea.png")
    (folder / "dead.png").symlink_to("nowhere.png")
    lines = ["./astronaut.png,4", "../set/chelsea.png,3", "coffee.png,2", "./dead.png,1"]
    (folder / "guide.txt").write_text("\n".join(lines))
    command = ["score", str(folder), "--guide", str(folder / "guide.txt"), "--output", "out", *SCORE]
    assert main(command) == 3
    rows = {row["file"]: row["mos"] for row in read_rows(Path("out/scores.csv"))}
    assert len(rows) == 9 and "link.png" in rows
    assert {name for name, mos in rows.items() if mos} == {"./astronaut.png", "../set/chelsea.png", "coffee.png"}
    assert not {"astronaut.png", "chelsea.png"} & set(rows)
    report = json.loads(Path("out/report.json").read_text())
    assert [bad["name"] for bad in report["bad_files"]] == ["dead.png"]


def test_scores_of_two_folders_of_one_name_do_not_replace_each_other(photos: Path, tmp_path: Path):
    images = list_images(photos)
    for name, count in (("a", 2), ("b", 3)):
        (tmp_path / name / "images").mkdir(parents=True)
        for path in images[:count]:
            shutil.copy(path, tmp_path / name / "images")
    for name in ("a", "b", "b", "a"):
        assert main(["score", f"{name}/images", *SCORE]) == 0
    first, second = sorted(Path("results/dual/score").iterdir(), key=lambda path: len(path.name))
    assert first.name == "images" and second.name.startswith("images-")
    assert [len(read_rows(folder / "scores.csv")) for folder in (first, second)] == [2, 3]


def test_damaged_images_are_listed_and_other_files_are_not(photos: Path, tmp_path: Path):
    folder = tmp_path / "set"
    shutil.copytree(photos, folder)
    (folder / "text.png").write_text("no image")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "absent.jpg")
    guide = tmp_path / "guide.txt"
    guide.write_text((photos / "guide.txt").read_text() + "nowhere.jpg,3\n")
    for more in ([], ["--guide", str(guide)]):
        assert main(["score", str(folder), "--output", "out", *more, *SCORE]) == 3
        bad = json.loads(Path("out/report.json").read_text())["bad_files"]
        assert sorted(entry["name"] for entry in bad) == ["nowhere.jpg", "text.png"]


@pytest.mark.parametrize(
    "change",
    [
        ["--n_ensemble", "0"],
        ["--stride", "0"],
        ["--spatial_window_size", "0"],
        ["--spectral_window_size", "-6"],
        ["--img_size", "0", "32"],
        ["--top", "0"],
        ["--top", "-3"],
        ["--num_workers", "-1"],
        ["--n_ensemble", "many"],
    ],
)
def test_numbers_out_of_range_are_no_defaults(change: list[str], photos: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["score", str(photos), *SCORE, *change])
    assert stop.value.code == 2
    assert f"argument {change[0]}: must be" in capsys.readouterr().err


def test_sub_commands_do_what_the_scripts_do(photos: Path):
    statistics = [
        "statistics",
        "--input",
        str(photos),
        "--experiment_name",
        "gt",
        "--patch_size",
        "32",
        "--formats",
        "png",
    ]
    assert main(["spectrum", *statistics, *QUIET]) == 0
    assert Path("experiments/gt/spectrum_stats.pth").is_file()
    robustness = ["robustness", "--experiment_name", "dual", "--net", "D", "--input", str(photos), "--input_size", "32"]
    assert main(["spectrum", *robustness, "--divide", "2", "--net2", "S", "--formats", "png", *QUIET]) == 0
    assert Path("experiments/dual/robustness/D_S.json").is_file()


def list_options(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.Action]]:
    """All options of a parser and its sub-commands, with the command that they belong to."""
    options: list[tuple[str, argparse.Action]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options += [option for inner in action.choices.values() for option in list_options(inner)]
        else:
            options.append((parser.prog, action))
    return options


@pytest.mark.parametrize("build", [build_parser, partial(build_command_parser, "iqa")])
def test_help_explains_every_option(build: Callable[[], argparse.ArgumentParser]):
    options = list_options(build())
    expected = {"n_ensemble", "fix_normalize", "load_name2", "num_workers", "seed"}
    assert expected <= {flag.removeprefix("--") for _, action in options for flag in action.option_strings}
    assert [(command, action.dest) for command, action in options if not (action.help or "").strip()] == []


@pytest.mark.slow
def test_the_script_scores_in_a_process_of_its_own(photos: Path, tmp_path: Path):
    folder = tmp_path / "two"
    folder.mkdir()
    for path in list_images(photos)[:2]:
        shutil.copy(path, folder)
    guide = tmp_path / "guide.txt"
    guide.write_text("astronaut.png,4\nastronaut_blur.png,2\n")
    command = [sys.executable, str(ROOT / "scripts" / "test_iqa.py"), "--experiment_name", "dual"]
    command += ["--test_set", str(folder), "--test_set_guider", str(guide), "--test_set_name", "two"]
    command += ["--test_protocol_spatial", "random", "--test_protocol_spectral", "patchify", "--n_ensemble", "2"]
    command += ["--img_size", "64", "64", "--spatial_window_size", "8", "--formats", "png", "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr and "at least 3 scored images, got 2" in ended.stdout
    rows = read_rows(Path("results/dual/iqa/two/scores.csv"))
    assert [(row["file"], float(row["mos"])) for row in rows] == [("astronaut.png", 4), ("astronaut_blur.png", 2)]
    assert all(np.isfinite(float(row[critic])) for row in rows for critic in ("spatial", "spectral", "ensemble"))
    assert {path.name for path in Path("results/dual/iqa/two").iterdir()} == {
        "scores.csv",
        "report.json",
        "scatter.png",
    }


def run_shell_script(name: str, arguments: list[str], **variables: str) -> int:
    command = ["bash", str(ROOT / "scripts" / "test" / name), *arguments]
    return subprocess.run(command, env={**environment(), **variables}, check=False, timeout=120).returncode


@pytest.mark.slow
def test_shell_script_scores_a_set_by_its_preset(photos: Path, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "IQA" / "PIPAL" / "images")
    shutil.copy(photos / "guide.txt", tmp_path / "IQA" / "PIPAL" / "TradSR.txt")
    options = {**OPTIONS, "network_d": {"type": "VggDiscriminatorYN", "in_channels": 3}}
    run = save_experiment(tmp_path / "experiments" / "vgg", options)
    small = ["--img_size", "32", "32", "--output", str(tmp_path / "out"), "--formats", "png", *QUIET]
    variables = {"IQA_ROOT": str(tmp_path / "IQA"), "EXPERIMENT": str(run), "SETS": "PIPAL-TradSR"}
    assert run_shell_script("test_iqa_vgg_specformer.sh", small, **variables) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["name"] == "PIPAL-TradSR" and report["settings"]["critics"]["spatial"]["protocol"] == "patchify"


def test_interrupting_one_set_stops_the_shell_script(tmp_path: Path):
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\necho call >>{tmp_path}/calls.txt\nexit 130\n")
    stub.chmod(0o755)
    assert run_shell_script("test_iqa_dual_former.sh", [], PYTHON=str(stub)) == 130
    assert (tmp_path / "calls.txt").read_text() == "call\n"


@pytest.mark.parametrize("script", ["test_iqa_dual_former.sh", "test_iqa_vgg_specformer.sh"])
def test_shell_scripts_run_every_set_once_and_go_on_after_a_failure(script: str, tmp_path: Path):
    calls = tmp_path / "calls.txt"
    stub = tmp_path / "python"
    stub.write_text(f'#!/bin/sh\nprintf "%s " "$@" >>{calls}\necho >>{calls}\ncase "$*" in *KonIQ*) exit 3;; esac\n')
    stub.chmod(0o755)
    assert run_shell_script(script, ["--seed", "7"], PYTHON=str(stub)) == 3
    lines = [line.split() for line in calls.read_text().splitlines()]
    sets = [line[line.index("--test_set_name") + 1] for line in lines]
    assert sets == ["LIVE-itW", "KonIQ-10k", "PIPAL-TradSR", "PIPAL-PsnrSR", "PIPAL-GANbSR", "PIPAL-all"]
    for line in lines:
        assert line[0] == "scripts/test_iqa.py" and line[-2:] == ["--seed", "7"]
        assert len([word for word in line if word.startswith("--")]) == len(
            {word for word in line if word.startswith("--")}
        )
