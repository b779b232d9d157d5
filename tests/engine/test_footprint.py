"""Memory of a training step: foretold from small batches, and the largest batch that fits."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from tiny_run import close_log_files, write_options

from basicsr.cli import main
from basicsr.degradation import PairPool
from basicsr.engine import doctor, fitting, footprint
from basicsr.engine.loaders import TrainingBatches, build_training_batches
from basicsr.engine.machine import Diagnosis
from basicsr.engine.training import seed_networks
from basicsr.models import BaseModel, build_model
from basicsr.options import parse_options
from basicsr.train import main as train
from basicsr.utils.batch import Batch

GENERATOR = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "num_grow_ch": 4}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_options(tmp_path_factory.mktemp("footprint"))
    options = yaml.safe_load(made.read_text())
    train = {key: options["train"][key] for key in ("optim_g", "scheduler", "total_iter", "pixel_opt")}
    options |= {"model_type": "SRModel", "network_g": GENERATOR, "network_d": None, "train": train}
    made.write_text(yaml.safe_dump(options))
    return made


@pytest.fixture(autouse=True)
def here(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(footprint, "SIZES", (2, 4))
    monkeypatch.setattr(doctor, "examine", lambda folder: Diagnosis())
    yield
    close_log_files()


def build(file: Path, *changes: str) -> tuple[BaseModel, TrainingBatches]:
    argv = ["-opt", str(file), *(["--force_yml", *changes] if changes else [])]
    opt, _ = parse_options(file.parent, is_train=True, argv=argv)
    seed_networks(opt)
    return build_model(opt), build_training_batches(opt)


def test_a_large_batch_takes_what_two_small_ones_foretell(file: Path) -> None:
    model, batches = build(file)
    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    drawn = torch.get_rng_state()
    found = footprint.measure_footprint(model, batches)
    assert found is not None
    added = footprint.measure_step(model, batches, 12)
    assert found.at(12) - found.held == pytest.approx(added, rel=0.05)
    assert found.largest_batch(found.at(12) + 1) == 12
    assert all(torch.equal(value, before[name]) for name, value in model.net_g.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_recomputed_blocks_take_less_for_each_image(file: Path) -> None:
    model, batches = build(file, "train:activation_checkpointing=true")
    given, without = (footprint.measure_footprint(model, batches, is_saving=each) for each in (None, False))
    assert given is not None and without is not None
    assert given.per_image < 0.8 * without.per_image


def test_the_copy_for_a_checkpoint_is_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = build(file)
    added = footprint.measure_step(model, batches, 4)
    monkeypatch.setattr(footprint, "Snapshot", lambda state: None)
    without = footprint.measure_step(model, batches, 4)
    weights = sum(parameter.nbytes for parameter in model.net_g.parameters())
    size = 3 * weights + (0 if model.average is None else weights)  # Adam keeps two numbers for each
    assert added - without == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(("device", "missing"), [("cpu", 2 * (10 - 2) - 2), ("cuda", 2 * (10 - 2) - 10)])
def test_a_full_pool_of_pairs_is_counted(device: str, missing: int) -> None:
    def fill(queue_size: int) -> Any:
        pool = PairPool(queue_size)
        pool.exchange(Batch(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 1, 1)), torch.Generator())
        return SimpleNamespace(pool=pool, device=torch.device(device))

    model, actor = fill(10), fill(2)
    pair = 4 * (4 + 1)
    assert model.pool.nbytes == 10 * pair and actor.pool.nbytes == 2 * pair
    assert footprint._count_pool(model, actor) == missing * pair


def test_images_of_a_small_batch_come_again_in_a_large_one() -> None:
    batch = {"gt": torch.arange(2.0), "gt_path": ["a", "b"], "note": "ab"}
    found = footprint.repeat_images(batch, 5)
    assert found["gt"].tolist() == [0, 1, 0, 1, 0]
    assert found["gt_path"] == ["a", "b", "a", "b", "a"]
    assert found["note"] == "ab"


def test_the_check_says_how_much_memory_a_step_takes(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(footprint, "read_held", lambda device: 0)
    monkeypatch.setattr(footprint, "find_free_memory", lambda device: 0)
    monkeypatch.setattr(sys, "argv", ["train", "-opt", str(file), "--check"])
    assert train(root_path=str(file.parent)) == 0
    said = capsys.readouterr()
    text = r"A training step takes about \d\.\d\d GiB of memory; 0\.00 GiB free: lower batch_size_per_gpu"
    assert re.search(text, said.out + said.err)


def run_fit(file: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", "--fit", "-opt", str(file), *flags])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_largest_batch_is_one_that_fits(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, batches = build(file)
    known = footprint.measure_footprint(model, batches)
    assert known is not None
    added = known.at(6) - known.held
    monkeypatch.setattr(fitting, "SHARE", 1.0)
    monkeypatch.setattr(footprint, "read_held", lambda device: 0)
    monkeypatch.setattr(footprint, "find_free_memory", lambda device: 1.05 * added)
    there = sorted(file.parent.rglob("*"))
    code, said = run_fit(file, capsys, "--force_yml", "datasets:train:dataset_enlarge_ratio=20")
    assert code == 0
    assert said["numbers"]["largest_batch"] == 6
    assert said["numbers"]["largest_batch_checkpointed"] > 6
    facts = said["largest batch of a process"]
    assert "(tried): datasets.train.batch_size_per_gpu: 6" in facts["without activation checkpointing"]
    assert "train.activation_checkpointing: true" in facts["with activation checkpointing"]
    assert facts["gt_size"] == "32, as it is"
    assert sorted(file.parent.rglob("*")) == there


@pytest.mark.parametrize(
    ("takes", "parts", "batch", "is_tried"),
    [
        (lambda size: 10 * size, 1, 9, True),
        (lambda size: 10 * size, 3, 27, True),
        (lambda size: 15 * size, 1, 6, True),  # more than was foretold
        (lambda size: math.nan if size > 7 else 10 * size, 1, 7, True),  # memory runs out
        (lambda size: 1000, 1, 0, False),
    ],
)
def test_a_batch_that_turns_out_too_large_is_made_smaller(
    takes: Callable[[int], float], parts: int, batch: int, is_tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(model: Any, batches: Any, size: int, **more: Any) -> float:
        if math.isnan(taken := takes(size)):
            raise MemoryError
        return taken

    monkeypatch.setattr(fitting, "measure_step", measure)
    monkeypatch.setattr(fitting, "measure_footprint", lambda *args, **more: footprint.Footprint(0, 5, 10))
    settings = SimpleNamespace(accumulate_steps=parts)
    model: Any = SimpleNamespace(settings=settings, device=torch.device("cpu"))
    batches: Any = SimpleNamespace(sampler=range(1000))
    fit = fitting.find_largest(model, batches, 99, is_saving=False)
    assert fit is not None
    assert (fit.batch, fit.is_tried) == (batch, is_tried)


def test_a_batch_that_takes_long_is_reckoned_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "measure_step", None)
    monkeypatch.setattr(fitting, "measure_footprint", lambda *args, **more: footprint.Footprint(0, 5, 10, 1e3))
    model: Any = SimpleNamespace(settings=SimpleNamespace(accumulate_steps=1), device=torch.device("cpu"))
    batches: Any = SimpleNamespace(sampler=range(1000))
    assert fitting.find_largest(model, batches, 99, is_saving=False) == fitting.Fit(9, 95, is_tried=False)


@pytest.mark.slow
def test_where_nothing_fits_it_says_what_to_do(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(footprint, "find_free_memory", lambda device: -footprint.read_held(device))
    code, said = run_fit(file, capsys)
    assert code == 3
    assert said["numbers"]["largest_batch"] == 0
    assert any("a batch of 1 image does not fit into" in text and "gt_size" in text for text in said["problems"])


def test_an_interrupt_ends_it_and_leaves_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    there = sorted(file.parent.rglob("*"))
    monkeypatch.setattr(footprint, "copy_model", interrupt)
    assert main(["doctor", "--fit", "-opt", str(file)]) in (130, 143)
    assert sorted(file.parent.rglob("*")) == there


def test_it_needs_an_option_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--fit"]) == 2
    assert "-opt FILE" in capsys.readouterr().err
