"""Every command takes odd pictures, lists, opinions and databases as they are meant, or names what it cannot use."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from campaign_plan import Plan, Tally
from critic_runs import QUIET, save_experiment
from forks import Case, run_cases
from gated_run import prepare
from odd_files import DATABASES, GUIDES, IMAGES, LISTS, PHOTOGRAPH
from PIL import Image
from test_every_recipe import ROOT

from basicsr import cli, test, train
from basicsr.archs import build_network

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]

WHOLE = {"pictures": 200, "lists": 40, "guides": 30, "databases": 30}
FOLDER = "odd_pictures"


def run_script(name: str, *arguments: str) -> int:
    """Runs one of the project's scripts as the command line does."""
    sys.argv = [name, *arguments]
    runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
    return 0


def train_on(**changes: Any) -> int:
    """Two iterations of a small hard-gated run on the folder."""
    file = prepare(Path.cwd())
    options = yaml.safe_load(file.read_text())
    options["datasets"]["train"] |= {"dataroot_gt": FOLDER, "num_worker_per_gpu": 0, **changes}
    options["train"]["total_iter"], options["queue_size"] = 2, 4
    file.write_text(yaml.safe_dump(options))
    return train.main(["-opt", str(file)], Path.cwd())


def test_on() -> int:
    """A test of random weights on the folder, without a reference."""
    values = {"name": "odd_test", "model_type": "SRModel", "scale": 4, "num_gpu": 0}
    values["datasets"] = {"test_1": {"name": "odd_set", "type": "SingleImageDataset", "dataroot_lq": FOLDER}}
    values["network_g"] = {"type": "MSRResNet", "num_feat": 4, "num_block": 1}
    torch.save({"params": build_network(values["network_g"]).state_dict()}, "net_g.pth")
    values["path"] = {"pretrain_network_g": "net_g.pth"}
    values["val"] = {"save_img": True, "tile": 64}
    Path("test.yml").write_text(yaml.safe_dump(values))
    return test.main(["-opt", "test.yml"], Path.cwd())


test_on.__test__ = False  # type: ignore[attr-defined]


def score() -> int:
    save_experiment(Path("experiments/dual"))
    return cli.main(["score", FOLDER, "-m", "experiments/dual", "--n_ensemble", "2", "--formats", "png", *QUIET])


COMMANDS: dict[str, Callable[[], int]] = {
    "train": train_on,
    "test": test_on,
    "spectrum bands": lambda: cli.main(
        ["spectrum", "bands", "--gt", FOLDER, "--model_path", "bicubic", "--formats", "png", *QUIET]
    ),
    "spectrum statistics": lambda: cli.main(
        ["spectrum", "statistics", "--input", FOLDER, "--experiment_name", "s", "--patch_size", "32", *QUIET]
    ),
    "score": score,
    "check_dataset": lambda: run_script("data_preparation/check_dataset.py", "--gt", FOLDER, "--recursive"),
    "create_lmdb": lambda: run_script("data_preparation/create_lmdb.py", "--input", FOLDER, "--output", "out.lmdb"),
    "extract_subimages": lambda: run_script(
        *("data_preparation/extract_subimages.py", "--input", FOLDER, "--output", "subs", "--crop_size", "32"),
        *("--step", "32", "--thresh_size", "0"),
    ),
    "generate_meta_info": lambda: run_script(
        *("data_preparation/generate_meta_info.py", "--input", FOLDER, "--meta_info", "m.txt", "--with_size", "--check")
    ),
    "generate_multiscale_DF2K": lambda: run_script(
        *("data_preparation/generate_multiscale_DF2K.py", "--input", FOLDER, "--output", "scales"),
        *("--shortest_edge", "24"),
    ),
    "generate_hgd_dataset": lambda: run_script(
        "generate_hgd_dataset.py", "--input", FOLDER, "--hr_folder", "hr", "--lr_folder", "lr"
    ),
}


def score_by(guide: bytes) -> int:
    save_experiment(Path("experiments/dual"))
    Path("odd.txt").write_bytes(guide)
    arguments = ["--experiment_name", "dual", "--test_set", FOLDER, "--test_set_guider", "odd.txt", "--n_ensemble", "2"]
    arguments += ["--test_set_name", "S", "--img_size", "96", "96", "--formats", "png", *QUIET]
    return run_script("test_iqa.py", *arguments)


def train_on_list(content: bytes) -> int:
    Path("odd.txt").write_bytes(content)
    return train_on(meta_info_file="odd.txt")


def train_on_database() -> int:
    return train_on(dataroot_gt="odd.lmdb", io_backend={"type": "lmdb"})


def list_cases(kind: str) -> list[tuple[str, Callable[[], int]]]:
    """Every case of a kind, in the order in which a share of the campaign takes them."""
    if kind == "pictures":
        found = [
            (f"{command}, {name}", lambda write=write, run=run: (write(Path(FOLDER)), run())[1])
            for name, write in IMAGES.items()
            for command, run in COMMANDS.items()
        ]
    elif kind == "lists":
        found = [(name, lambda content=content: train_on_list(content)) for name, content in LISTS.items()]
    elif kind == "guides":
        found = [(name, lambda content=content: score_by(content)) for name, content in GUIDES.items()]
    else:
        found = [
            (name, lambda write=write: (write(Path.cwd()), train_on_database())[1]) for name, write in DATABASES.items()
        ]
    return found


def prepare_and(work: Callable[[], int]) -> int:
    """Puts three sound pictures into the folder first."""
    os.mkdir(FOLDER)
    for index in range(3):
        Image.fromarray(PHOTOGRAPH).rotate(90 * index).save(f"{FOLDER}/{index}.png")
    return work()


@pytest.mark.parametrize("kind", WHOLE)
def test_odd_files_are_used_or_named(kind: str, plan: Plan, tally: Callable[[str], Tally], tmp_path: Path) -> None:
    counts, known, cases = tally(f"odd {kind}"), list_cases(kind), []
    order = plan.order(kind, len(known))
    for index in range(plan.count(WHOLE[kind])):
        label, work = known[order[index % len(known)]]
        cases.append(Case(f"seed {plan.seed}, {index} ({label})", lambda work=work: prepare_and(work)))
    for end in run_cases(cases, tmp_path / "runs", timeout=240):
        if end.fault:
            counts.lose(end.case.label, end.fault)
        elif end.code and "odd" not in end.text:
            counts.lose(end.case.label, f"exit code {end.code} without a name: {end.text[-300:]}")
        else:
            counts.add("named" if end.code else "right")
    counts.demand_none_lost()
