"""Processes that share the images of a command write the files that one process writes, once and to the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from critic_runs import QUIET
from rank_groups import run_ranks
from tiny_run import environment

from basicsr.analysis.images import BadFile, measure_items
from basicsr.cli import main
from basicsr.utils.errors import DataError

pytestmark = pytest.mark.distributed

SMALL = [*QUIET, "--batch_size", "3", "--formats", "png"]
COMMANDS = {
    "score": ["score", "photos", "-m", "dual", "--output", "out", "--guide", "photos/guide.txt", *SMALL],
    "statistics": ["spectrum", "statistics", "--input", "photos", "--experiment_name", "out", "--patch_size", "48"],
    "bands": ["spectrum", "bands", "--gt", "photos", "--model_path", "bicubic", "--output", "out/bands", *QUIET],
    "robustness": ["spectrum", "robustness", "--input", "photos", "--experiment_name", "dual", "--net", "D"],
}
COMMANDS["statistics"] += ["--repeat", "2", *SMALL]
COMMANDS["robustness"] += ["--input_size", "32", "--divide", "3", "--output", "out/curves", *SMALL]


def spoil(folder: Path, photos: Path) -> None:
    """Eight photographs and, among them, two files that are none."""
    shutil.copytree(photos, folder)
    for name in ("b.png", "d.png"):
        (folder / name).write_bytes(b"not an image")


def read_results(root: Path) -> dict[str, bytes]:
    """Every file that a command has written, by its name."""
    folders = [root / "out", root / "experiments/out", root / "experiments/dual/robustness"]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_two_ranks_write_what_one_process_writes(command: str, photos: Path, workplace: Path) -> None:
    spoil(workplace / "photos", photos)
    assert main(COMMANDS[command]) == 3, "the bad files are listed"
    alone = read_results(workplace)
    assert any(name.endswith((".csv", ".pth")) for name in alone)
    for folder in ("out", "experiments/out", "experiments/dual/robustness"):
        shutil.rmtree(workplace / folder, ignore_errors=True)
    assert run_ranks(workplace / "two", main, COMMANDS[command]) == [3, 0]
    together = read_results(workplace)
    assert together.keys() == alone.keys()
    assert [name for name, content in alone.items() if together[name] != content] == []


def count_items(bad: set[int]) -> tuple[list[tuple[int, int]], list[str], list[int]]:
    """Measures ten numbers in groups of three; some are bad when read, every seventh when measured."""
    seen: list[int] = []

    def measure(group):  # type: ignore[no-untyped-def]
        numbers = dict(group)
        seen.extend(numbers)
        return {place: BadFile("7", "odd") if value == 7 else value + sum(numbers) for place, value in numbers.items()}

    bad_files: list[BadFile] = []
    read = lambda item: BadFile(str(item), "bad") if item in bad else item  # noqa: E731
    found = list(measure_items(range(10), read, measure, bad_files, num_workers=0, group_size=3))
    return found, [file.name for file in bad_files], seen


def test_ranks_have_all_results_in_order_and_do_each_item_once(tmp_path: Path) -> None:
    (alone,) = run_ranks(tmp_path / "one", count_items, {4, 8}, world_size=1)
    assert alone[1] == ["4", "7", "8"]
    for world_size in (2, 5):
        ranks = run_ranks(tmp_path / f"{world_size}", count_items, {4, 8}, world_size=world_size)
        assert [rank[:2] for rank in ranks] == [alone[:2]] * world_size
        assert sorted(item for rank in ranks for item in rank[2]) == alone[2]


def test_one_rank_without_a_good_image_is_no_error_but_all_are(tmp_path: Path) -> None:
    first, second = run_ranks(tmp_path / "half", count_items, {0, 1, 2, 6, 7, 8})
    assert first[:2] == second[:2]
    errors = run_ranks(tmp_path / "all", count_items, set(range(10)))
    assert all(isinstance(error, DataError) and "no image could be used" in str(error) for error in errors)


def test_under_torchrun_a_command_that_cannot_share_works_once_and_says_so(workplace: Path, photos: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    weights = "experiments/dual/models/net_d.pth"
    command = ["-m", "basicsr.cli", "interpolate", weights, weights, "--alpha", "0.5", "-o", "between.pth"]
    finished = subprocess.run([*torchrun, *command], capture_output=True, text=True, env=environment())
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("2 processes; this command works in the first of them alone") == 1
    assert finished.stdout.count("between.pth") == 1
