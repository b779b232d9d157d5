"""``--auto_resume`` with changed options, with checkpoints whose content does not fit, and without any."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import close_log_files, write_options

from basicsr import train
from basicsr.models.checkpoint import load_checkpoint
from basicsr.models.presets import locate_in

LAST = 5


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    close_log_files()
    yield
    close_log_files()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint of every iteration, of which the last two are still to do; an epoch has five."""
    root = tmp_path_factory.mktemp("stopped")
    file = write_options(
        root,
        model_type="SRModel",
        network_d=None,
        train={"total_iter": LAST - 2, "gan_opt": None, "optim_d": None, "ema_decay": 0},
        datasets={"val": None},
        logger={"save_checkpoint_freq": 1},
    )
    assert train.main(["-opt", str(file)], root) == 0
    close_log_files()
    return root


class Run:
    """A copy of the stopped run that can be spoiled and gone on with."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.states = root / "experiments/tiny/training_states"

    def spoil(self, change: Callable[[dict[str, Any]], object], *iterations: int) -> None:
        for path in [self.states / f"{iteration}.state" for iteration in iterations]:
            state = torch.load(path, weights_only=True)
            change(state)
            torch.save(state, path)

    def go_on(self, *changes: str, flags: tuple[str, ...] = ("--auto_resume",)) -> tuple[int, str]:
        forced = ["--force_yml", f"train:total_iter={LAST}", *changes]
        code = train.main(["-opt", str(self.root / "tiny.yml"), *flags, *forced], self.root)
        return code, self.capsys.readouterr().err

    @property
    def archived(self) -> list[Path]:
        return list((self.root / "experiments").glob("*_archived_*"))


@pytest.fixture
def run(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return Run(tmp_path, capsys)


def test_unchanged_options_say_nothing(run: Run) -> None:
    code, said = run.go_on()
    assert code == 0
    assert "3.state: iteration 3" in said and "have changed" not in said and "ANEW" not in said


def test_what_has_changed_and_holds_is_listed(run: Run) -> None:
    code, said = run.go_on("train:optim_g:lr=4e-3", "train:optim_g:betas=[0.5,0.9]")
    assert code == 0
    assert "hold from here: train.optim_g.lr was 0.001, is 0.004; train.optim_g.betas was absent, is [0.5, 0.9]" in said
    group = load_checkpoint(run.states / f"{LAST}.state").model["optimizers"]["g"]["param_groups"][0]
    assert group["lr"] == 4e-3 and list(group["betas"]) == [0.5, 0.9]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train:optim_g:type=SGD", "another type than SGD. Options that have changed since it was written: "),
        ("train:optim_g:amsgrad=true", "has no max_exp_avg_sq"),
        ("network_g:num_feat=8", "network_g.num_feat was 4, is 8"),
        ("datasets:train:dataset_enlarge_ratio=0.5", "6 samples into an epoch that has 3 now"),
    ],
)
def test_what_has_changed_and_cannot_hold_is_refused(change: str, says: str, run: Run) -> None:
    code, said = run.go_on(change)
    assert code == 3
    key = change.partition("=")[0].replace(":", ".")
    assert says in said and f"{key} was" in said and "start anew under another name" in said
    assert "Traceback" not in said
    assert not run.archived and len(list(run.states.iterdir())) == LAST - 2


def test_changes_have_the_names_that_the_file_gives_them() -> None:
    published = {"train": {"optim_d": {"lr": 1e-3}, "gan_opt": {"type": "GANLoss"}}, "queue_size": 8}
    names = {
        "critics.d.optimizer.lr": "train.optim_d.lr",
        "objective.criterion.loss_weight": "train.gan_opt.loss_weight",
        "degradation.queue_size": "queue_size",
        "train.optim_g.lr": "train.optim_g.lr",
    }
    assert {name: locate_in(published, name) for name in names} == names
    assert all(locate_in({}, name) == name for name in names)


def test_fewer_images_are_refused_too(run: Run) -> None:
    data = run.root / "data/train"
    for path in sorted(data.rglob("*.png")):
        if path.stem > "01":
            path.unlink()
    code, said = run.go_on(f"datasets:train:dataroot_gt={data}/HR", f"datasets:train:dataroot_lq={data}/LR")
    assert code == 3 and "there were more images" in said


def forget(*keys: str | int) -> Callable[[dict[str, Any]], object]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (("sampler",), "3.state is incomplete: it has no sampler"),
        (("sampler", "consumed"), "3.state is incomplete: it has no sampler.consumed"),
        (("iter",), "3.state is incomplete: it has no iter"),
        (("model",), "3.state is incomplete: it has no model"),
        (("rank_states",), "3.state is incomplete: it has no rank_states"),
        (("model", "schedulers", "g", "last_epoch"), "3.state cannot be used: checkpoint, the schedule of net_g"),
        (("model", "optimizers"), "3.state cannot be used: checkpoint, the optimizer of net_g"),
        (("weights",), "3.state is incomplete: it has no weights"),
        (("weights", 0, "entries", "params"), "3.state cannot be used: the checkpoint has no network 'g'"),
    ],
)
def test_a_checkpoint_whose_content_does_not_fit_is_passed_over(keys: tuple[str, ...], says: str, run: Run) -> None:
    run.spoil(forget(*keys), 3)
    code, said = run.go_on()
    assert code == 0
    assert says in said and "trying an older one" in said and "2.state: iteration 2" in said
    assert not run.archived


def test_one_that_is_named_is_not_replaced_by_another(run: Run) -> None:
    run.spoil(forget("model", "optimizers"), 3)
    code, said = run.go_on(f"path:resume_state={run.states}/3.state", flags=())
    assert code == 3 and "3.state does not fit" in said
    code, said = run.go_on(f"path:resume_state={run.states}/3.state")
    assert code == 3 and "3.state does not fit" in said


@pytest.mark.parametrize("keys", [("sampler",), ("model", "optimizers")])
def test_without_a_sound_checkpoint_the_start_anew_is_loud(keys: tuple[str, ...], run: Run) -> None:
    run.spoil(forget(*keys), 1, 2, 3)
    code, said = run.go_on()
    assert code == 0
    assert "None of the 3 checkpoints in" in said and "STARTING ANEW" in said and "are kept in" in said
    assert len(run.archived) == 1 and load_checkpoint(run.states / f"{LAST}.state").position.iteration == LAST


def test_without_any_checkpoint_the_start_anew_is_loud(run: Run) -> None:
    shutil.rmtree(run.states)
    code, said = run.go_on()
    assert code == 0
    assert "weights of a run, but no checkpoint of it is left: STARTING ANEW" in said
    assert len(run.archived) == 1
    shutil.rmtree(run.root / "experiments")
    assert "ANEW" not in run.go_on()[1], "nothing was there"
