from __future__ import annotations

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from option_toys import set_at, toy_options

from basicsr.options import (
    MissingFilesError,
    copy_opt_file,
    dict2str,
    dump_options,
    load_options,
    load_text,
    parse_options,
    validate_options,
)
from basicsr.utils import options as public
from basicsr.utils.errors import OptionsError, UserError

_LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def folder(toys_only: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in _LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("hr", "lr"):
        (toys_only / name).mkdir()
    write(toys_only, toy_options())
    return toys_only


def write(folder: Path, options: dict[str, Any]) -> Path:
    file = folder / "toy.yml"
    file.write_text("# kept\n" + yaml.safe_dump(options, sort_keys=False))
    return file


def parse(*flags: str, is_train: bool = True) -> Any:
    return parse_options(".", is_train, ["-opt", "toy.yml", *flags])[0]


def test_derived_keys_of_a_training_run(folder: Path) -> None:
    opt, args = parse_options(folder, True, ["-opt", "toy.yml", "--auto_resume"])
    run = folder / "experiments" / "toy"
    assert opt["path"] == {
        "pretrain_network_g": None,
        "strict_load_g": True,
        "resume_state": None,
        "root": str(folder),
        "experiments_root": str(run),
        "models": str(run / "models"),
        "training_states": str(run / "training_states"),
        "log": str(run),
        "visualization": str(run / "visualization"),
    }
    assert (opt["is_train"], opt["auto_resume"], opt["dist"], opt["rank"], opt["world_size"]) == (
        True,
        True,
        False,
        0,
        1,
    )
    assert opt["root_path"] == str(folder)
    assert opt["num_gpu"] == 0
    assert opt["datasets"]["train"]["phase"] == "train"
    assert opt["datasets"]["val"]["scale"] == 4
    assert opt["val"]["suffix"] is None
    assert (args.launcher, args.check, args.debug, args.notices) == ("none", False, False, [])


def test_derived_keys_of_a_test_run(folder: Path) -> None:
    data = toy_options()
    data["datasets"] = {"test_1": data["datasets"]["val"]}
    data["model_type"] = "ForeignModel"
    write(folder, data)
    opt = parse(is_train=False)
    results = folder / "results" / "toy"
    assert opt["path"]["results_root"] == opt["path"]["log"] == str(results)
    assert opt["path"]["visualization"] == str(results / "visualization")
    assert "models" not in opt["path"]
    assert opt["is_train"] is False
    assert opt["datasets"]["test_1"]["phase"] == "test"


def test_the_parent_of_the_run_can_be_chosen(folder: Path) -> None:
    opt = parse("--force_yml", "path:experiments_root=/data/runs")
    assert opt["path"]["experiments_root"] == "/data/runs/toy"
    assert opt["path"]["models"] == "/data/runs/toy/models"


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "g.pth").write_bytes(b"")
    opt = parse("--force_yml", "path:pretrain_network_g=~/g.pth", "datasets:train:dataroot_gt=~/hr")
    assert opt["path"]["pretrain_network_g"] == str(folder / "g.pth")
    assert opt["datasets"]["train"]["dataroot_gt"] == str(folder / "hr")


@pytest.mark.parametrize(
    ("name", "flags"), [("debug_toy", ["--debug"]), ("my_debug", ["--force_yml", "name=my_debug"])]
)
def test_debug_mode(folder: Path, name: str, flags: list[str]) -> None:
    opt = parse(*flags)
    assert opt["name"] == name
    assert opt["path"]["experiments_root"].endswith(name)
    assert opt["val"]["val_freq"] == 8
    assert opt["logger"]["print_freq"] == 1
    assert opt["logger"]["save_checkpoint_freq"] == 8


def test_options_are_read_only_and_pickle(folder: Path) -> None:
    opt = parse()
    with pytest.raises(TypeError, match="read-only"):
        opt["train"]["optim_g"].pop("type")
    assert pickle.loads(pickle.dumps(opt)) == opt
    assert opt["train"]["optim_g"]["betas"] == (0.9, 0.99)


def test_the_file_is_untouched(folder: Path) -> None:
    before = hashlib.sha256((folder / "toy.yml").read_bytes()).hexdigest()
    parse("--force_yml", "scale=4", "--debug")
    assert hashlib.sha256((folder / "toy.yml").read_bytes()).hexdigest() == before
    assert sorted(p.name for p in folder.iterdir()) == ["hr", "lr", "toy.yml"]


def test_overrides_are_validated_with_the_file(folder: Path) -> None:
    opt = parse(
        "--force_yml", "train:optim_g:lr=2e-3", "val=null", "train:scheduler:milestones:0=7", "--force_yml", "name=b"
    )
    assert opt["train"]["optim_g"]["lr"] == 2e-3
    assert "val" not in opt
    assert opt["train"]["scheduler"]["milestones"] == (7,)
    assert opt["name"] == "b"
    assert parse("--force_yml", "train:clip_grad_norm=1")["train"]["clip_grad_norm"] == 1.0
    with pytest.raises(OptionsError) as caught:
        parse("--strict", "--force_yml", "train:optim_g:lrr=1", "name:x=1", "foo:bar=1", "scale=x")
    assert [p.path for p in caught.value.problems] == ["scale", "train.optim_g.lrr", "foo", "--force_yml name:x=1"]
    with pytest.raises(OptionsError) as caught:
        parse("--force_yml", "train:optim_g:lrr=1", "name:x=1", "foo:bar=1", "scale=x")
    assert [p.path for p in caught.value.problems] == ["scale", "train.optim_g.lrr", "--force_yml name:x=1"]


def test_missing_data_and_mistakes_come_together(folder: Path) -> None:
    (folder / "lr").rmdir()
    with pytest.raises(MissingFilesError, match="there is no lr"):
        parse()
    with pytest.raises(OptionsError) as caught:
        parse("--force_yml", "scal=4")
    assert not isinstance(caught.value, MissingFilesError)
    assert [p.path for p in caught.value.problems][-2:] == ["datasets.train.dataroot_lq", "datasets.val.dataroot_lq"]


@pytest.mark.parametrize("flags", [[], ["-opt"], ["-opt", "toy.yml", "--launcher", "mpi"], ["-opt", "a", "--chek"]])
def test_wrong_flags(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(".", True, flags)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_flags_of_older_launchers_are_taken(folder: Path) -> None:
    _, args = parse_options(".", True, ["-opt", "toy.yml", "--local-rank", "1", "--check"])
    assert (args.local_rank, args.check) == (1, True)


def test_command_line_of_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["basicsr/train.py", "-opt", "toy.yml", "--force_yml", "name=c"])
    assert parse_options(".")[0]["name"] == "c"


def start_under_torchrun(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    values = (str(rank), "2", str(rank), "none", "127.0.0.1", "29500")
    for name, value in zip(_LAUNCHER_VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("flags", [[], ["--launcher", "pytorch"]])
def test_place_among_processes(folder: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    start_under_torchrun(monkeypatch, 1)
    opt, args = parse_options(".", True, ["-opt", "toy.yml", *flags])
    assert (opt["dist"], opt["rank"], opt["world_size"], args.launcher) == (True, 1, 2, "pytorch")


def test_one_process_looks_at_the_files_for_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lr").rmdir()
    start_under_torchrun(monkeypatch, 1)
    parse()
    start_under_torchrun(monkeypatch, 0)
    with pytest.raises(MissingFilesError):
        parse()


def test_a_launcher_that_did_not_start_us(folder: Path) -> None:
    with pytest.raises(UserError, match="torchrun"):
        parse("--launcher", "pytorch")


@pytest.mark.parametrize(
    ("present", "wanted", "count"), [(0, "auto", 0), (1, "auto", 1), (4, "auto", 1), (2, 1, 1), (0, 1, 1), (4, 0, 0)]
)
def test_num_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, present: int, wanted: Any, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    opt, args = parse_options(".", True, ["-opt", "toy.yml", "--force_yml", f"num_gpu={wanted}"])
    assert opt["num_gpu"] == count
    noted = (present > 1 and wanted == "auto") or (present == 0 and wanted == 1)
    assert [n.split(":")[0] for n in args.notices] == (["num_gpu"] if noted else [])


def test_several_gpus_need_a_launcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--force_yml", "num_gpu=2"]
    with pytest.raises(
        OptionsError, match=r"torchrun --nproc_per_node=2 basicsr/train\.py -opt toy\.yml .*--launcher py"
    ):
        parse(*flags)
    assert parse(*flags, "--check")["num_gpu"] == 1
    start_under_torchrun(monkeypatch, 0)
    assert parse(*flags)["num_gpu"] == 2


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("basicsr train", "-m basicsr train"), ("/home/me/own/train.py", "/home/me/own/train.py")],
)
def test_the_command_for_several_gpus_is_the_one_that_was_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, typed: str, shown: str
) -> None:
    monkeypatch.setattr("sys.argv", [typed, "-opt", "toy.yml", "--force_yml", "num_gpu=2"])
    with pytest.raises(OptionsError, match=f"torchrun --nproc_per_node=2 {shown} -opt toy.yml "):
        parse_options(".", True)


def test_notices_are_logged_and_returned(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder, set_at(toy_options(), "auto_clean", True))
    with caplog.at_level(logging.INFO, logger="basicsr"):
        _, args = parse_options(".", True, ["-opt", "toy.yml"])
    assert len(args.notices) == 1
    assert args.notices[0].startswith("auto_clean: has no effect")


def test_dumped_options_give_the_same_options(folder: Path) -> None:
    data = toy_options()
    data["degradation"] = {"gate": "sample", "noise_range": [1, 30]}
    data["val"]["tile"] = {"size": 64, "overlap": 8}
    data["train"]["optim_d"]["lr"] = 1e-5
    write(folder, data)
    opt = parse("--force_yml", "path:experiments_root=runs")
    text = dump_options(opt)
    for derived in ("is_train", "rank:", "world_size", "training_states", "root_path"):
        assert derived not in text
    (folder / "toy.yml").write_text(text)
    assert parse() == opt


def test_validation_is_idempotent(toys_only: Path) -> None:
    once, findings = validate_options(toy_options(), with_files=False)
    assert findings.problems == []
    twice, findings = validate_options(load_text(dump_options(once.to_mapping())), with_files=False)
    assert findings.problems == []
    assert twice.to_mapping() == once.to_mapping()


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [
        ("train.optim_g.lr", 3e-4, True),
        ("network_g.num_feat", 16, True),
        ("manual_seed", 8, True),
        ("gt_size", 64, True),
        ("datasets.train.batch_size_per_gpu", 3, True),
        ("train.total_iter", 999, False),
        ("logger.print_freq", 3, False),
        ("name", "other", False),
        ("datasets.train.dataroot_gt", "elsewhere", False),
        ("val", None, False),
        ("num_gpu", "auto", False),
        ("path.pretrain_network_g", "x.pth", False),
    ],
)
def test_digest_covers_what_the_numbers_depend_on(toys_only: Path, path: str, value: Any, changes: bool) -> None:
    digest = validate_options(toy_options(), with_files=False)[0].digest
    other = validate_options(set_at(toy_options(), path, value), with_files=False)[0].digest
    assert len(digest) == 16
    assert (other != digest) == changes


def test_load_options_for_tools(folder: Path) -> None:
    (folder / "lr").rmdir()
    opt = load_options("toy.yml", overrides=["scale=4", "name=tool"])
    assert opt["name"] == "tool"
    assert opt["path"]["models"] == str(folder / "experiments" / "tool" / "models")
    with pytest.raises(MissingFilesError):
        load_options("toy.yml", with_files=True)
    with pytest.raises(OptionsError):
        load_options("toy.yml", overrides=["scle=4"])


def test_option_file_is_kept_with_the_run(folder: Path) -> None:
    copy_opt_file("toy.yml", folder / "experiments" / "toy")
    text = (folder / "experiments" / "toy" / "toy.yml").read_text()
    assert text.startswith("# Started ")
    assert text.endswith((folder / "toy.yml").read_text())
    assert yaml.safe_load(text) == toy_options()


def test_the_kept_option_file_has_what_the_command_line_changed(folder: Path) -> None:
    copy_opt_file("toy.yml", folder / "out", ["train:total_iter=7", "val=null"])
    text = (folder / "out/toy.yml").read_text()
    assert text.startswith("# Started ") and "toy.yml with the changes of --force_yml" in text
    expected = toy_options()
    expected["train"]["total_iter"] = 7
    assert yaml.safe_load(text) == {**expected, "val": None}


def test_names_that_downstream_projects_import(folder: Path) -> None:
    opt, _ = public.parse_options(".", is_train=True, argv=["-opt", "toy.yml"])
    assert opt["name"] == "toy"
    public.copy_opt_file("toy.yml", "out")
    assert (folder / "out" / "toy.yml").exists()
    assert public.yaml_load("toy.yml") == toy_options()
    assert public.yaml_load("a: 1\nb: [2]") == {"a": 1, "b": [2]}
    with pytest.raises(OptionsError, match="twice"):
        public.yaml_load("a: 1\na: 2")
    loader, dumper = public.ordered_yaml()
    text = yaml.dump(yaml.load("b: 1e-4\na: 2", Loader=loader), Dumper=dumper)
    assert text == "b: 0.0001\na: 2\n"
    assert public.dict2str({"a": 1, "b": {"c": 2}}) == dict2str({"a": 1, "b": {"c": 2}})
    assert dict2str({"a": 1, "b": {"c": 2}}).split() == ["a:", "1", "b:[", "c:", "2", "]"]
