"""Whatever a run cannot write, it ends in one way: one message, code 4, and what was saved before is sound."""

from __future__ import annotations

import errno
import io
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import close_log_files, environment, write_options

from basicsr import train
from basicsr.engine.exits import run_to_exit_code
from basicsr.models.checkpoint import find_latest_checkpoint
from basicsr.utils import atomic
from basicsr.utils.lmdb_util import LmdbMaker
from basicsr.utils.logger import get_root_logger

STATES = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EFBIG", "EMFILE", "ENFILE"]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    close_log_files()
    yield
    close_log_files()


def fail(name: str, path: str = "out/a.png") -> None:
    number = getattr(errno, name)
    raise OSError(number, os.strerror(number), path)


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_the_machine_is_one_line_and_code_4(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(lambda: fail(name)) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"out/a.png cannot be written: {os.strerror(getattr(errno, name))}; ")
    assert said.count("\n") == 1


def test_only_a_training_is_told_to_go_on_with_auto_resume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train_pipeline", lambda *_: fail("ENOSPC"))
    assert train.main(["-opt", "x.yml"]) == 4
    assert "make room, then go on with --auto_resume" in capsys.readouterr().err
    assert run_to_exit_code(lambda: fail("ENOSPC")) == 4
    said = capsys.readouterr().err
    assert "make room, then run the same command again" in said and "--auto_resume" not in said


@pytest.mark.parametrize(("limit", "number"), [(3000, errno.EFBIG), (20_000, errno.ENOSPC)])
def test_a_database_that_cannot_be_written_says_why(limit: int, number: int, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=r"too large|came short") as caught:
            maker = LmdbMaker(tmp_path / "x.lmdb")
            maker.put(bytes(50_000), "a", (1, 1, 3))
            maker.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == number and caught.value.filename == str(tmp_path / "x.lmdb.unfinished")
    assert not (tmp_path / "x.lmdb").exists()


def test_a_device_is_written_to_and_not_replaced_by_a_file(tmp_path: Path) -> None:
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        atomic.atomic_write_text("x", link)
    assert link.is_symlink() and list(tmp_path.iterdir()) == [link]


def test_other_errors_of_the_system_are_defects() -> None:
    with pytest.raises(OSError, match="Bad file"):
        run_to_exit_code(lambda: fail("EBADF"))


def test_a_thread_that_cannot_write_shows_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        for name in ("ENOSPC", "EBADF"):
            thread = threading.Thread(target=fail, args=(name, name))
            thread.start()
            thread.join()
        return 0

    with _recording() as seen:
        assert run_to_exit_code(work) == 0
    assert seen == ["EBADF"]


class _recording:
    """Stands for Python's own hook meanwhile."""

    def __enter__(self) -> list[Any]:
        seen: list[Any] = []
        self.former, threading.excepthook = threading.excepthook, lambda args: seen.append(args.exc_value.filename)
        return seen

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self.former


def test_a_log_that_cannot_be_written_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        get_root_logger(log_file="/dev/full")
        logging.getLogger("basicsr").info("a line")

    assert run_to_exit_code(work) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("/dev/full cannot be written: No space left on device")
    for handler in logging.getLogger("basicsr").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream = io.StringIO()  # what is left of the line cannot be written at the end either


def test_torch_does_not_hide_why_a_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None: ...

    monkeypatch.setattr(atomic, "open", lambda *args: Full(io.FileIO(*args)), raising=False)
    with pytest.raises(OSError, match="No space left"):
        atomic.atomic_save({"a": torch.zeros(100)}, tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["net_g_2", "2.state", "01_2.png", "tiny.yml", "summary.json"])
def test_every_file_of_a_run_fails_in_one_way(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("basicsr.models.checkpoint.SAVE_ATTEMPTS", 1)
    file = write_options(
        tmp_path,
        model_type="SRModel",
        network_d=None,
        train={"total_iter": 3, "gan_opt": None, "optim_d": None, "ema_decay": 0},
        val={"val_freq": 2, "metrics": {}},
        logger={"save_checkpoint_freq": 1},
    )
    replace = os.replace

    def refuse(source: Any, target: Any) -> None:
        if what in str(target):
            fail("ENOSPC", str(target))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", refuse)
    assert train.main(["-opt", str(file)], tmp_path) == 4
    said = capsys.readouterr().err
    assert "No space left" in said.splitlines()[-1] and what in said.splitlines()[-1]
    assert "Traceback" not in said and not list(tmp_path.rglob(".*.tmp")) and not list(tmp_path.rglob("*.lock"))
    monkeypatch.setattr(atomic.os, "replace", replace)
    newest = find_latest_checkpoint(tmp_path / "experiments/tiny/training_states")
    expected = {"net_g_2": 1, "2.state": 1, "01_2.png": 2, "summary.json": 3}.get(what)
    assert (newest and newest.position.iteration) == expected
    close_log_files()
    assert train.main(["-opt", str(file), "--auto_resume"], tmp_path) == 0


LIMITED = """
import resource, sys
from basicsr.train import main
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
sys.exit(main(sys.argv[4:], sys.argv[3]))
"""


@pytest.mark.faults
def test_a_limit_on_the_size_of_files_ends_a_run_with_one_message(tmp_path: Path) -> None:
    file = write_options(tmp_path, logger={"save_checkpoint_freq": 1, "use_tb_logger": True, "print_freq": 1})
    command = [sys.executable, "-c", LIMITED, "RLIMIT_FSIZE", "40000", str(tmp_path), "-opt", str(file)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 4, ended.stderr
    assert "File too large; raise the limit" in ended.stderr and "Traceback" not in ended.stderr
