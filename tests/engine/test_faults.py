"""Runs that are killed and go on end in the same bits as runs that were not (`pytest -m faults`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from gated_run import LAST, assert_same_bits, prepare, read_state, without_folder
from tiny_run import start, write_options

from basicsr.archs import build_network
from basicsr.weights import read_part

pytestmark = pytest.mark.faults
TIMEOUT = 240


def run_to_end(root: Path, *arguments: str) -> str:
    process = start(root, *arguments)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    return errors


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a file is there."""
    deadline = time.monotonic() + TIMEOUT
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, with workers and a degradation pool that have to be restored."""
    root = tmp_path_factory.mktemp("whole")
    run_to_end(root, "-opt", str(prepare(root)))
    return root


SLOW_WRITE = """
import time
from pathlib import Path

from basicsr.models import checkpoint, stored_weights

here = Path(__file__).parent

for module in (checkpoint, stored_weights):
    def write(obj, path, *rest, write=module.atomic_save, **more):
        if Path(path).name == "{file}":
            (here / "writing").touch()
            while not (here / "go").exists():
                time.sleep(0.01)
        write(obj, path, *rest, **more)

    module.atomic_save = write
"""


def prepare_held(root: Path, held: str) -> Path:
    """The same run, held up where it writes a file until there is a file ``go``: it cannot end before it is killed."""
    file = prepare(root)
    file.write_text(file.read_text() + "imports: [slow.py]\n")
    (root / "slow.py").write_text(SLOW_WRITE.format(file=held))
    return file


@pytest.mark.parametrize("killed_after", [3, 6])
def test_killed_runs_end_in_the_same_bits(killed_after: int, whole: Path, tmp_path: Path) -> None:
    file = prepare_held(tmp_path, f"{killed_after + 6}.state")
    process = start(tmp_path, "-opt", str(file))
    wait_for(tmp_path / f"experiments/tiny/training_states/{killed_after}.state", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (tmp_path / "go").touch()
    assert not (tmp_path / "experiments/tiny/summary.json").exists()
    log = run_to_end(tmp_path, "-opt", str(file), "--auto_resume")
    assert "Resuming from" in log
    assert_same_bits(read_state(tmp_path)["model"], read_state(whole)["model"])
    assert_same_bits(read_state(tmp_path)["rank_states"], read_state(whole)["rank_states"])
    for name in ("net_g_latest.pth", "net_d_latest.pth"):
        weights = [torch.load(root / "experiments/tiny/models" / name, weights_only=True) for root in (tmp_path, whole)]
        assert_same_bits(*weights)
    summaries = [(root / "experiments/tiny/summary.json").read_text() for root in (tmp_path, whole)]
    assert summaries[0] == summaries[1]
    assert not list((tmp_path / "experiments").glob("*_archived_*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signalled_runs_save_exit_with_130_and_go_on(number: signal.Signals, whole: Path, tmp_path: Path) -> None:
    file = prepare_held(tmp_path, "6.state")
    process = start(tmp_path, "-opt", str(file))
    wait_for(tmp_path / "experiments/tiny/training_states/3.state", process)
    os.killpg(process.pid, number)  # as a terminal or a batch system does: loading processes are hit, too
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, errors
    assert "--auto_resume" in errors
    assert "Traceback" not in errors
    run_to_end(tmp_path, "-opt", str(file), "--auto_resume")
    assert_same_bits(read_state(tmp_path)["model"], read_state(whole)["model"])


def test_a_torn_checkpoint_is_passed_over(whole: Path, tmp_path: Path) -> None:
    file = prepare_held(tmp_path, "12.state")
    process = start(tmp_path, "-opt", str(file))
    states = tmp_path / "experiments/tiny/training_states"
    wait_for(states / "6.state", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (tmp_path / "go").touch()
    (states / "6.state").write_bytes((states / "6.state").read_bytes()[:5000])
    for later in range(7, LAST + 1):
        (states / f"{later}.state").unlink(missing_ok=True)
    log = run_to_end(tmp_path, "-opt", str(file), "--auto_resume")
    assert "6.state is damaged" in log
    assert "3.state: iteration 3" in log
    assert_same_bits(read_state(tmp_path)["model"], read_state(whole)["model"])


@pytest.mark.parametrize("file", ["net_d_6.pth", "6.state"])
def test_a_run_that_is_killed_within_a_save_beside_it_ends_in_the_same_bits(
    file: str, whole: Path, tmp_path: Path
) -> None:
    options = prepare_held(tmp_path, file)
    process = start(tmp_path, "-opt", str(options))
    wait_for(tmp_path / "writing", process)
    # The loop goes on: the validation of iteration 8 has pictures.
    wait_for(tmp_path / "experiments/tiny/visualization/00/00_8.png", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "experiments/tiny/training_states/6.state").exists()
    (tmp_path / "go").touch()
    log = run_to_end(tmp_path, "-opt", str(options), "--auto_resume")
    assert "3.state: iteration 3" in log
    assert_same_bits(read_state(tmp_path)["model"], read_state(whole)["model"])
    assert_same_bits(read_state(tmp_path)["rank_states"], read_state(whole)["rank_states"])


def start_two(root: Path, script: str = "train", *arguments: str) -> subprocess.Popen[str]:
    """Starts two processes on the CPU, as scripts/dist_train_autoresume.sh does."""
    command = (sys.executable, "-m", "basicsr.engine.launch", "--standalone", "--nproc_per_node=2", "--max_restarts=1")
    return start(root, *arguments, "--launcher", "pytorch", script=script, command=command)


@pytest.fixture(scope="module")
def whole_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbed."""
    root = tmp_path_factory.mktemp("whole_of_two")
    process = start_two(root, "train", "-opt", str(prepare(root)))
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    return root


def assert_same_end(root: Path, reference: Path) -> None:
    assert_same_bits(read_state(root)["model"], read_state(reference)["model"])
    assert_same_bits(read_state(root)["rank_states"], read_state(reference)["rank_states"])
    file = f"experiments/tiny/training_states/{LAST}.state"
    others = [without_folder(read_part(at / file, "rank_states/1"), f"{at}{os.sep}") for at in (root, reference)]
    assert_same_bits(*others)


@pytest.mark.distributed
def test_an_elastic_run_whose_rank_1_is_killed_restarts_and_finishes(whole_of_two: Path, tmp_path: Path) -> None:
    process = start_two(tmp_path, "train", "-opt", str(prepare(tmp_path)))  # a restart needs no --auto_resume
    wait_for(tmp_path / "experiments/tiny/training_states/3.state", process)
    os.kill(find_rank_1(process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert "restart 1" in errors
    assert "Resuming from" in errors
    assert_same_end(tmp_path, whole_of_two)


@pytest.mark.distributed
def test_processes_stop_together_and_go_on(whole_of_two: Path, tmp_path: Path) -> None:
    arguments = ("-opt", str(prepare_held(tmp_path, "6.state")), "--auto_resume")
    process = start_two(tmp_path, "train", *arguments)
    wait_for(tmp_path / "experiments/tiny/training_states/3.state", process)
    # The launcher passes it on to whole groups, loading processes included; all that comes at once is one request.
    for number in (process.pid, find_rank_1(process.pid)):
        os.kill(number, signal.SIGTERM)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, errors
    assert "everything is saved" in errors
    assert "Read error" not in errors
    process = start_two(tmp_path, "train", *arguments)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert_same_end(tmp_path, whole_of_two)


SLOW_METRIC = """
import os
import time
from pathlib import Path

from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
def calculate_slowly(img, img2, crop_border):
    Path(__file__).with_name("measuring" + os.environ["RANK"]).touch()
    time.sleep(300)
    return 0.0
"""


@pytest.mark.distributed
def test_processes_leave_a_validation_together(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_METRIC)
    metrics = {"slow": {"type": "calculate_slowly", "crop_border": 4, "better": "higher"}}
    # The rehearsal would be in the slow metric first, on rank 0.
    train = {"rehearse": False}
    file = write_options(tmp_path, imports=["slow.py"], train=train, val={"val_freq": 5, "metrics": metrics})
    process = start_two(tmp_path, "train", "-opt", str(file))
    for rank in range(2):
        wait_for(tmp_path / f"measuring{rank}", process)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert read_state(tmp_path, 5)["iter"] == 5


def find_children(parent: int) -> list[int]:
    """Processes that another one has started."""
    files = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(number) for file in files for number in file.read_text().split()]


@pytest.mark.parametrize("moment", ["training", "validation", "test"])
def test_a_loading_process_that_is_killed_ends_a_command_with_one_message(moment: str, tmp_path: Path) -> None:
    metrics = {"slow": {"type": "calculate_slowly", "crop_border": 4, "better": "higher"}}
    (tmp_path / "slow.py").write_text(SLOW_METRIC.replace("300", "30").replace('os.environ["RANK"]', '"0"'))
    file = write_options(tmp_path, imports=["slow.py"], val={"val_freq": 5, "metrics": metrics})
    options = yaml.safe_load(file.read_text())
    loading = {"num_worker_per_gpu": 2, "dataset_enlarge_ratio": 200}
    options["datasets"]["train"] |= loading
    options["train"] |= {"total_iter": 10000, "rehearse": False}
    options["datasets"]["val"]["num_worker_per_gpu"] = 2
    seen = tmp_path / ("experiments/tiny/training_states/3.state" if moment == "training" else "measuring0")
    if moment == "test":
        options = {key: value for key, value in options.items() if key not in ("train", "network_d", "logger")}
        options["datasets"] = {"test_1": options["datasets"]["val"]}
        options["val"].pop("val_freq")
        torch.save({"params": build_network(options["network_g"]).state_dict()}, tmp_path / "g.pth")
        options["path"] = {"pretrain_network_g": str(tmp_path / "g.pth")}
    elif moment == "training":
        options["val"]["val_freq"] = 10000
    file.write_text(yaml.safe_dump(options))
    process = start(tmp_path, "-opt", str(file), script="test" if moment == "test" else "train")
    wait_for(seen, process)
    os.kill(find_children(process.pid)[-1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors
    assert "Traceback" not in errors
    assert "a data loading process died" in errors.splitlines()[-1]
    if moment != "test":
        assert read_state(tmp_path, 3)["iter"] == 3


@pytest.mark.distributed
def test_two_processes_measure_what_one_does(whole: Path, tmp_path: Path) -> None:
    options = yaml.safe_load((whole / "tiny.yml").read_text())
    test_options = {
        "name": "tiny_test",
        "model_type": "SRModel",
        "scale": 4,
        "num_gpu": 0,
        "datasets": {"test_1": options["datasets"]["val"]},
        "network_g": options["network_g"],
        "path": {"pretrain_network_g": str(whole / "experiments/tiny/models/net_g_latest.pth")},
        "val": {"save_img": True, "metrics": options["val"]["metrics"]},
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test_options))
    found = []
    for begin in (partial(start, tmp_path, script="test"), partial(start_two, tmp_path, "test")):
        process = begin("-opt", str(file))
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, errors
        found.append((tmp_path / "results/tiny_test/metrics.json").read_text())
        assert len(list((tmp_path / "results/tiny_test/visualization").rglob("*.png"))) == 3
    assert found[0] == found[1]
    summary = json.loads((whole / "experiments/tiny/summary.json").read_text())
    assert json.loads(found[0])["tiny_val"]["images"] == summary


def find_rank_1(launcher: int) -> int:
    """The process among a launcher's children whose environment says RANK=1."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == launcher and b"RANK=1" in variables:
            return int(entry.name)
    raise AssertionError("rank 1 is not running")
