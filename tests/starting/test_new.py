"""``basicsr new``: the templates, and the file that trains on a folder of photographs."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from photo_folders import crops, write
from tiny_run import PROJECT

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.cli import main
from basicsr.options import load_options
from basicsr.starting import photos, sub_images, templates
from basicsr.starting.photos_file import quote
from basicsr.starting.plan import Machine, make_plan
from basicsr.utils.meta_info import parse_meta_info
from basicsr.weights.architectures import recognise
from basicsr.weights.networks import read_weights

GIB = 2**30


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with ``it's "mine" ü, x`` of five pictures beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for number, image in enumerate(crops(5, 136, 140)):
        write(tmp_path / 'it\'s "mine" ü, x' / ("", "sub")[number % 2] / f"p {number}.png", image)
    return folder


def data_of(workplace: Path) -> str:
    return str(workplace.parent / 'it\'s "mine" ü, x')


def test_templates_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line.partition("  ")[2].strip() for line in lines[:-1]}
    assert set(listed) == {"photos", *(file.stem for file in (PROJECT / "options/train").glob("*.yml"))}
    assert all(listed.values())
    assert listed["train_realesrgan_x4"] == "Real-ESRGAN (arXiv 2107.10833) on second-order degradations"


def test_a_wheel_s_templates_come_before_those_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert templates.PLACES[1] == PROJECT / "options/train"
    write_to = tmp_path / "templates"
    write_to.mkdir()
    monkeypatch.setattr(templates, "PLACES", (write_to, templates.PLACES[1]))
    assert "quickstart" in templates.list_templates()
    (write_to / "own.yml").write_text("# yaml-language-server: x\n# Mine. And more.\n# more\nname: own\n")
    assert list(templates.list_templates()) == ["own"]
    assert templates.describe_template(write_to / "own.yml") == "Mine"


@pytest.mark.parametrize("name", ["quickstart", "default_dualformer_x4"])
def test_a_copy_is_the_template_and_replaces_nothing(
    workplace: Path, name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["new", name, "-o", "mine.yml"]) == 0
    original = PROJECT / f"options/train/{name}.yml"
    text = Path("mine.yml").read_text()
    assert yaml.safe_load(text) == yaml.safe_load(original.read_text())
    assert Path(text.splitlines()[0].partition("$schema=")[2]).is_file()
    assert "basicsr train -opt mine.yml" in text
    Path("mine.yml").write_text("kept")
    assert main(["new", name, "-o", "mine.yml"]) == 2
    assert "there already" in caplog.text + capsys.readouterr().err
    assert Path("mine.yml").read_text() == "kept"
    assert main(["new", name, "-o", "mine.yml", "--force"]) == 0
    assert Path("mine.yml").read_text() == text


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["quickstar"], 2, "did you mean quickstart?"),
        (["quickstart", "--data", "x"], 2, "--data is for `basicsr new photos`"),
        (["-o", "x.yml"], 2, "-o needs the name of a template"),
        (["quickstart", "-o", "."], 2, "is a folder"),
        (["quickstart", "-o", "/proc/x/y.yml"], 2, "cannot be written"),
        (["photos"], 2, "needs --data DIR"),
        (["photos", "--data", "absent"], 3, "no such folder"),
        (["photos", "--data", "file"], 3, "is a file, not a folder"),
        (["photos", "--data", "empty"], 3, "no picture in this folder"),
        (["photos", "--data", "empty", "-o", "empty/x.yml"], 2, "would lie among the photographs"),
        (["photos", "--data", "empty", "-o", "taken.yml"], 2, "taken.yml is there already"),
        (["photos", "--data", "empty", "-o", "moved.yml"], 2, "moved_photos is there already, of another option file"),
        (["photos", "--data", "empty", "-o", "/proc/x/y.yml"], 3, "cannot be made"),
        (["photos", "--data", "empty", "--start", "dualformer", "--scale", "2"], 2, "enlarges ×4, not ×2"),
    ],
)
def test_mistakes_are_one_clear_error(
    workplace: Path,
    flags: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path("file").touch()
    Path("empty").mkdir()
    Path("taken.yml").touch()
    Path("moved_photos").mkdir()
    Path("moved_photos/record.json").touch()
    assert main(["new", *flags]) == code
    text = caplog.text + capsys.readouterr().err
    assert said in text
    assert "Traceback" not in text


@pytest.mark.parametrize("kind", ["clean", "real"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("objective", ["pixel", "dualformer"])
def test_the_file_passes_the_check_and_held_out_pictures_are_not_trained_on(
    workplace: Path, kind: str, scale: int, objective: str
) -> None:
    flags = ["--scale", str(scale), "--kind", kind, "--objective", objective, "--name", "mine", "--device", "cpu"]
    assert main(["new", "photos", "--data", data_of(workplace), *flags]) == 0
    opt = load_options("mine.yml", with_files=True)
    assert opt["name"] == "mine"
    # The lists.
    record = json.loads(Path("mine_photos/record.json").read_text())
    listed = {line.gt for line in parse_meta_info(Path("mine_photos/train.txt").read_text())}
    assert listed == set(record["train"])
    assert len(record["held_out"]) == 1
    assert not set(record["train"].values()) & set(record["held_out"].values())
    # The pairs.
    ((hr,), (lq,)) = (list(Path("mine_photos/held_out", part).glob("*.png")) for part in ("HR", "LQ"))
    assert hr.name == lq.name
    assert cv2.imread(str(hr)).shape[:2] == (136, 140)
    assert cv2.imread(str(lq)).shape[:2] == (136 // scale, 140 // scale)
    assert ("degradation" in yaml.safe_load(Path("mine.yml").read_text())) == (kind == "real")


def test_the_next_three_commands_work_from_another_folder(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(photos, "make_plan", lambda *_: make_plan(Machine("cpu", "x", 1, 0, 0), 4, "clean", "pixel", 1))
    assert main(["new", "photos", "--data", data_of(workplace), "--device", "cpu", "-o", "ü ü.yml"]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines()[1:]]
    file = Path("ü ü.yml")
    text = file.read_text()
    for old, new in (
        ("gt_size: 128", "gt_size: 32"),
        ("total_iter: 3000", "total_iter: 3"),
        ("val_freq: 300", "val_freq: 3"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    other = workplace.parent / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    for program, *rest in commands:
        assert program == "basicsr"
        assert main(rest) == 0
    made = list((workplace / "ü ü_photos/upscaled").glob("*.png"))
    assert [cv2.imread(str(path)).shape for path in made] == [(136, 140, 3)]
    assert not list(other.iterdir())


def test_a_file_for_a_gpu_starts_from_the_grown_network(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "find_machine", lambda _: Machine("cuda", "a GPU", 16, 64 * GIB, 80 * GIB))
    assert main(["new", "photos", "--data", data_of(workplace), "--scale", "2", "-o", "gpu.yml"]) == 0
    opt = load_options("gpu.yml", with_files=True)
    assert yaml.safe_load(Path("gpu.yml").read_text())["num_gpu"] == "auto"
    state = read_weights(opt["path"]["pretrain_network_g"])
    assert recognise(state) == {**opt["network_g"]}
    assert opt["network_g"]["num_feat"] == 64


def test_a_second_stage_goes_on_from_the_weights_that_are_named(workplace: Path) -> None:
    weights = workplace / "mine.pth"
    torch.save({"params_ema": SRVGGNetCompact(num_feat=6, num_conv=1, upscale=2).state_dict()}, weights)
    flags = ["--data", data_of(workplace), "--scale", "2", "--objective", "dualformer", "--start", str(weights)]
    assert main(["new", "photos", *flags, "--device", "cpu", "-o", "second.yml"]) == 0
    opt = load_options("second.yml", with_files=True)
    assert opt["path"]["pretrain_network_g"] == str(weights)
    sizes = {key: opt["network_g"][key] for key in ("type", "num_feat", "num_conv", "upscale")}
    assert sizes == {"type": "SRVGGNetCompact", "num_feat": 6, "num_conv": 1, "upscale": 2}
    assert set(opt["critics"]) == {"d", "spectral_d"}


def test_sub_images_of_the_pictures_that_are_trained_on_are_made_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sub_images, "SIDE", 100)
    flags = ["new", "photos", "--data", data_of(workplace), "--device", "cpu", "--cut", "-o", "cut.yml"]
    assert main(flags) == 0
    listed = [line.gt for line in parse_meta_info(Path("cut_photos/train.txt").read_text())]
    files = {name: os.stat(Path("cut_photos/sub_images", name)).st_mtime_ns for name in listed}
    assert len(files) == 4 * 4
    assert {cv2.imread(str(Path("cut_photos/sub_images", name))).shape for name in files} == {(100, 100, 3)}
    assert main([*flags, "--force"]) == 0
    assert {name: os.stat(Path("cut_photos/sub_images", name)).st_mtime_ns for name in files} == files
    assert load_options("cut.yml")["datasets"]["train"]["dataroot_gt"] == str(Path("cut_photos/sub_images").absolute())


def test_sizes_fit_the_machine() -> None:
    large = Machine("cuda", "a GPU", 16, 64 * GIB, 80 * GIB)
    plan = make_plan(large, 4, "real", "pixel", 12_000_000)
    assert (plan.num_feat, plan.gt_size, plan.batch, plan.workers) == (64, 256, 32, 8)
    tight = make_plan(Machine("cuda", "a GPU", 4, 2 * GIB, 2 * GIB), 4, "real", "pixel", 12_000_000)
    assert 2 <= tight.batch < plan.batch
    assert tight.workers == 1
    small = make_plan(Machine("cpu", "1 core", 1, GIB // 4, GIB // 4), 4, "clean", "dualformer", 12_000_000)
    assert small.workers == 0
    assert small.gt_size == 128


@pytest.mark.parametrize("text", ['a "b"', "it's", "ü", "back\\slash", "line\nbreak", "a: b # c", "{x}", "~"])
def test_names_survive_the_file(text: str) -> None:
    assert yaml.safe_load(f"x: {quote(text)}") == {"x": text}
