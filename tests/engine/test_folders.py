"""Listing folders, archiving runs, and the names that BasicSR's misc module publishes."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import close_log_files

from basicsr.engine import run_folder
from basicsr.engine.run_folder import choose_checkpoint, prepare_folder
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.utils import folders, misc
from basicsr.utils.atomic import atomic_path, remove_temporaries
from basicsr.utils.errors import UserError, WeightsError
from basicsr.utils.launcher import LAUNCHER_PID


def make_options(root: Path, **extra: Any) -> dict[str, Any]:
    folder = root / "experiments" / "run"
    path = {name: str(folder / name) for name in ("models", "training_states", "visualization")}
    path |= {"experiments_root": str(folder), "log": str(folder), **extra.pop("path", {})}
    return {"name": "run", "is_train": True, "auto_resume": False, "path": path, **extra}


class Model:
    def training_state(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def opt_file(tmp_path: Path) -> str:
    file = tmp_path / "file.yml"
    file.write_text("name: run\n")
    return str(file)


def test_scandir_is_sorted_and_skips_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", ".hidden.png", "deep/c.png", "deep/.x/d.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert list(misc.scandir(tmp_path)) == ["a.jpg", "b.png"]
    assert list(misc.scandir(tmp_path, suffix=".png", recursive=True)) == ["b.png", "deep/c.png"]
    assert list(misc.scandir(str(tmp_path), suffix=(".jpg",), full_path=True)) == [str(tmp_path / "a.jpg")]
    with pytest.raises(TypeError, match="suffix"):
        misc.scandir(tmp_path, suffix=3)  # type: ignore[arg-type]


def test_archiving_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "get_time_str", lambda: "20260101_000000")
    target = tmp_path / "run"
    for content in ("first", "second", "third"):
        misc.mkdir_and_rename(str(target))
        (target / "result").write_text(content)
    kept = {path.name: (path / "result").read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "run": "third",
        "run_archived_20260101_000000": "first",
        "run_archived_20260101_000000_2": "second",
    }


@pytest.mark.parametrize("path", [".", "..", "run/.."])
def test_a_folder_that_others_are_in_is_not_moved(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not moved"):
        folders.archive(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_a_test_leaves_the_scores_of_its_namesake_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "results" / "dual"
    for part in ("score/photos", "iqa/PIPAL"):
        (root / part).mkdir(parents=True)
        (root / part / "scores.csv").write_text(part)
    opt = {"is_train": False, "path": {"results_root": str(root), "visualization": str(root / "visualization")}}
    assert folders.make_exp_dirs(opt) is None
    (root / "metrics.json").write_text("{}")
    archived = folders.make_exp_dirs(opt)
    assert archived is not None and {path.name for path in archived.iterdir()} == {"metrics.json", "visualization"}
    assert {path.name for path in root.iterdir()} == {"score", "iqa", "visualization"}
    assert (root / "iqa/PIPAL/scores.csv").read_text() == "iqa/PIPAL"


def test_a_second_run_keeps_the_first(tmp_path: Path, opt_file: str) -> None:
    opt = make_options(tmp_path)
    prepare_folder(opt, opt_file, goes_on=False)
    (tmp_path / "experiments/run/models/net_g_latest.pth").write_text("weights")
    prepare_folder(opt, opt_file, goes_on=False)
    close_log_files()
    archived = [path for path in (tmp_path / "experiments").iterdir() if "_archived_" in path.name]
    assert len(archived) == 1
    assert (archived[0] / "models/net_g_latest.pth").read_text() == "weights"
    assert (archived[0] / "file.yml").read_text().endswith("name: run\n")
    assert not list((tmp_path / "experiments/run/models").iterdir())


@pytest.mark.parametrize("holds_results", [True, False])
def test_auto_resume_without_a_checkpoint_archives_results_only(
    holds_results: bool, tmp_path: Path, opt_file: str
) -> None:
    opt = make_options(tmp_path, auto_resume=True)
    prepare_folder(opt, opt_file, goes_on=False)
    if holds_results:
        (tmp_path / "experiments/run/models/net_g_5.pth").touch()
    assert choose_checkpoint(opt) is None
    prepare_folder(opt, opt_file, goes_on=False)
    close_log_files()
    assert len(list((tmp_path / "experiments").iterdir())) == (2 if holds_results else 1)


def test_going_on_stays_in_the_folder(tmp_path: Path, opt_file: str) -> None:
    opt = make_options(tmp_path)
    prepare_folder(opt, opt_file, goes_on=False)
    (tmp_path / "experiments/run/models/net_g_5.pth").touch()
    prepare_folder(opt, opt_file, goes_on=True)
    close_log_files()
    assert (tmp_path / "experiments/run/models/net_g_5.pth").exists()


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_next_start_removes_what_a_kill_within_a_save_has_left(
    goes_on: bool, tmp_path: Path, opt_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "experiments/run"
    targets = [root / name for name in ("models/net_g_5.pth", "training_states/5.state", "a/b_5.png", "summary.json")]
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
    for target in targets:
        with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
    monkeypatch.undo()
    (root / "models/.mine.tmp").write_text("of the user")
    assert len(list(tmp_path.rglob(".*.tmp"))) == 5
    prepare_folder(make_options(tmp_path, auto_resume=True), opt_file, goes_on)
    close_log_files()
    assert [path.name for path in tmp_path.rglob(".*.tmp")] == [".mine.tmp"]


def test_a_test_leaves_alone_what_is_just_being_written_beside_it(tmp_path: Path) -> None:
    for name in ("score/.a.csv.01234567.tmp", "visualization/.a.png.01234567.tmp"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, passing_over=folders.SCORE_FOLDERS)
    assert [path.parent.name for path in tmp_path.rglob(".*.tmp")] == ["score"]


def test_starting_from_weights_that_would_be_archived_is_refused(tmp_path: Path, opt_file: str) -> None:
    own = tmp_path / "experiments/run/models/net_g_5.pth"
    own.parent.mkdir(parents=True)
    own.touch()
    opt = make_options(tmp_path, path={"pretrain_network_g": str(own)})
    with pytest.raises(UserError, match=r"path\.pretrain_network_g"):
        prepare_folder(opt, opt_file, goes_on=False)
    assert own.exists()


def test_choice_of_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(**changes: Any) -> Path:
        checkpoint = choose_checkpoint({**opt, **changes})
        assert checkpoint is not None
        return checkpoint.path

    named = save_checkpoint(tmp_path / "elsewhere", Model(), Position(3))
    opt = make_options(tmp_path, path={"resume_state": str(named)})
    own = save_checkpoint(opt["path"]["training_states"], Model(), Position(7))
    assert chosen() == named
    assert chosen(auto_resume=True) == own
    own.write_bytes(b"torn")
    assert chosen(auto_resume=True) == named
    named.unlink()
    with pytest.raises(WeightsError, match=r"3\.state"):
        choose_checkpoint(opt)


def test_a_restart_goes_on_from_what_its_own_launch_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(**changes: Any) -> str:
        checkpoint = choose_checkpoint({**opt, **changes})
        return checkpoint.path.name if checkpoint else ""

    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "TORCHELASTIC_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    opt = make_options(tmp_path)
    folder = opt["path"]["training_states"]
    monkeypatch.setenv(LAUNCHER_PID, "1")
    save_checkpoint(folder, Model(), Position(9))
    monkeypatch.setenv(LAUNCHER_PID, str(os.getpid()))
    assert chosen() == ""
    assert chosen(auto_resume=True) == "9.state"
    for iteration in (3, 6):
        save_checkpoint(folder, Model(), Position(iteration))
    assert chosen() == "6.state"
    (Path(folder) / "6.state").write_bytes(b"torn")
    assert chosen() == "3.state"


def test_a_checkpoint_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opt = make_options(tmp_path, auto_resume=True)
    for iteration in (3, 7):
        save_checkpoint(opt["path"]["training_states"], Model(), Position(iteration))
    read: list[Any] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda file, **kwargs: (read.append(file), load(file, **kwargs))[1])
    checkpoint = choose_checkpoint(opt)
    assert checkpoint is not None and checkpoint.position == Position(7)
    assert [path.name for path in read] == ["7.state"]


def test_one_rank_looks_for_the_newest_and_the_others_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opt = make_options(tmp_path, auto_resume=True)
    chosen = save_checkpoint(opt["path"]["training_states"], Model(), Position(7))
    (Path(opt["path"]["training_states"]) / "8.state").write_bytes(b"torn")
    monkeypatch.setattr(run_folder, "get_dist_info", lambda: (1, 2))
    monkeypatch.setattr(run_folder, "find_latest_checkpoint", lambda _: pytest.fail("rank 1 must not look"))
    monkeypatch.setattr(run_folder, "broadcast_object", lambda _: chosen)
    checkpoint = choose_checkpoint(opt)
    assert checkpoint is not None and checkpoint.path == chosen


def test_small_functions() -> None:
    assert misc.sizeof_fmt(512) == "512.0 B"
    assert misc.sizeof_fmt(3 * 1024**2 + 200000) == "3.2 MB"
    assert len(misc.get_time_str()) == 15
    misc.set_random_seed(5)
    first = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    misc.set_random_seed(5)
    assert first == (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002


def test_check_resume_points_at_saved_weights() -> None:
    opt: dict[str, Any] = {
        "network_g": {},
        "net_spectral_d": {},
        "path": {"resume_state": "s", "models": "m", "param_key_g": "params_ema"},
    }
    misc.check_resume(opt, 300)
    assert opt["path"]["pretrain_network_g"] == "m/net_g_300.pth"
    assert opt["path"]["pretrain_network_spectral_d"] == "m/net_spectral_d_300.pth"
    assert opt["path"]["param_key_g"] == "params"
