"""No two runs write in one folder: who holds it, whose file is stale, who waits, and who is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_fakes import make_run
from tiny_run import environment, start, write_options

from basicsr.engine import folder_hold
from basicsr.engine.folder_hold import FolderHold, Holder, hold_folder
from basicsr.engine.trainer import train
from basicsr.utils.errors import TrainingError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_S", "SETTLE_S", "HEARTBEAT_S"):
        monkeypatch.setattr(folder_hold, name, 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "experiments" / "run"


def plant(folder: Path, age_s: float = 0, **changes: Any) -> Path:
    """A file of another process beside the folder."""
    file = folder.with_name(".run.lock")
    file.parent.mkdir(exist_ok=True)
    holder = replace(Holder.this_process(), **changes)
    file.write_text(json.dumps(vars(holder)))
    modified = file.stat().st_mtime - age_s
    os.utime(file, (modified, modified))
    return file


def find_dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_folder_is_held_by_one_run_and_let_go_of_at_its_end(folder: Path) -> None:
    with hold_folder(folder) as hold:
        assert hold is not None
        hold.check()
        with pytest.raises(TrainingError, match=rf"at work, process {os.getpid()} on .*\.run\.lock.*another name"):
            FolderHold(folder).acquire(waits=False)
    assert list(folder.parent.iterdir()) == []
    with hold_folder(folder):
        pass


def test_an_error_lets_go_of_the_folder(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), hold_folder(folder):
        raise KeyboardInterrupt
    assert list(folder.parent.iterdir()) == []


def test_other_ranks_hold_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_hold, "get_dist_info", lambda: (1, 2))
    with hold_folder(folder) as hold:
        assert hold is None
        assert not folder.parent.exists()


@pytest.mark.parametrize("changes", [{"pid": find_dead_pid()}, {"started": "1"}])
def test_the_file_of_a_dead_process_of_this_machine_is_taken_over(
    changes: dict[str, Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(folder, **changes)
    with hold_folder(folder) as hold:
        assert hold is not None
        hold.check()
    assert "taking it over" in caplog.text
    assert list(folder.parent.iterdir()) == []


def test_another_machine_is_believed_as_long_as_its_heart_beats(folder: Path) -> None:
    file = plant(folder, machine="other", host="node7", pid=find_dead_pid(), age_s=folder_hold.STALE_AFTER_S - 60)
    with pytest.raises(TrainingError, match="on node7"):
        FolderHold(folder).acquire(waits=False)
    assert list(folder.parent.iterdir()) == [file]
    plant(folder, machine="other", host="node7", age_s=folder_hold.STALE_AFTER_S + 60)
    with hold_folder(folder):
        pass


def test_a_file_that_is_just_being_made_or_was_torn_counts_by_its_age(folder: Path) -> None:
    file = plant(folder)
    file.write_text("")
    with pytest.raises(TrainingError, match="another process"):
        FolderHold(folder).acquire(waits=False)
    os.utime(file, (1, 1))
    with hold_folder(folder):
        pass


def test_the_heart_beats(folder: Path) -> None:
    with hold_folder(folder) as hold:
        assert hold is not None
        os.utime(hold.file, (1, 1))
        for _ in range(500):
            if hold.file.stat().st_mtime > 1:
                break
            threading.Event().wait(0.01)
        assert hold.file.stat().st_mtime > 1
    assert not hold._thread.is_alive()


def test_a_run_that_goes_on_waits_for_the_end_of_the_other(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "basicsr")
    first = FolderHold(folder)
    first.acquire(waits=False)
    end = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: first.release())
    monkeypatch.setattr(folder_hold, "time", end)
    with hold_folder(folder, waits=True) as second:
        assert second is not None
        second.check()
    assert caplog.text.count("Waiting for process") == 1


def test_no_run_waits_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_hold, "WAIT_LIMIT_S", 0.05)
    plant(folder)
    with pytest.raises(TrainingError, match="at work"):
        FolderHold(folder).acquire(waits=True)


def test_two_that_find_a_dead_process_do_not_both_take_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(folder, pid=find_dead_pid())
    # Both have found it before one takes it, and both have taken it before one looks whose it is.
    about_to, taken, write = threading.Barrier(2), threading.Barrier(2), FolderHold._write_beside

    def write_together(hold: FolderHold) -> Path:
        about_to.wait(60)
        return write(hold)

    monkeypatch.setattr(FolderHold, "_write_beside", write_together)
    settle = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: taken.wait(60))
    monkeypatch.setattr(folder_hold, "time", settle)
    found: list[str] = []

    def take() -> None:
        try:
            FolderHold(folder).acquire(waits=False)
            found.append("held")
        except TrainingError:
            found.append("refused")

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["held", "refused"]


def test_nothing_is_saved_where_another_run_has_taken_the_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    folder = tmp_path / "experiments/run"
    with hold_folder(folder) as run.hold:
        step = run.model.optimize_parameters

        def lose(current_iter: int) -> None:
            if current_iter == 6:
                plant(folder, host="node7")
            step(current_iter)

        run.model.optimize_parameters = lose
        with pytest.raises(TrainingError, match=r"on node7 has taken .*without saving"):
            train(run)
    assert [path.name for path in (folder / "training_states").iterdir()] == ["4.state"]
    assert run.model.exported == [4]
    assert folder.with_name(".run.lock").exists(), "it is the other's"


def test_a_file_that_somebody_removed_is_made_again(folder: Path) -> None:
    with hold_folder(folder) as hold:
        assert hold is not None
        hold.file.unlink()
        hold.check()
        assert hold.file.exists()


HOLDING = """
import sys, time
from basicsr.engine.folder_hold import FolderHold
FolderHold(sys.argv[1]).acquire(waits=False)
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.faults
def test_a_second_run_of_a_name_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "experiments/tiny"
    (folder / "models").mkdir(parents=True)
    (folder / "models/net_g_3.pth").write_text("the first run's")
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert holding.stdout is not None and holding.stdout.readline() == "held\n"
    second = start(tmp_path, "-opt", str(write_options(tmp_path, train={"total_iter": 1})))
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 4, errors
    assert f"belongs to a run that is at work, process {holding.pid}" in errors and "Traceback" not in errors
    assert (folder / "models/net_g_3.pth").read_text() == "the first run's"
    holding.kill()
    holding.communicate()
    with hold_folder(folder):
        pass
