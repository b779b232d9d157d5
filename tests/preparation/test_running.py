"""How the command lines of data preparation end: one line and one exit code, from the one place that makes them."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from basicsr.cli import main
from basicsr.engine.exits import run_to_exit_code
from basicsr.preparation import command
from basicsr.preparation.running import run_command
from basicsr.utils.errors import REPEAT, DataError, UserError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "a.png")
NO_FOLDER = OSError(errno.ENOTDIR, "Not a directory", "a.png")
KEPT = "What was written before is kept"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("--step: 0"), 2, "--step: 0"),
        (DataError("no such folder: in"), 3, "no such folder: in"),
        (NO_SPACE, 4, f"a.png cannot be written: {NO_SPACE.strerror}; make room, then {REPEAT}. {KEPT}"),
        (NO_FOLDER, 3, f"{NO_FOLDER}; fix this and run the same command again"),
        (KeyboardInterrupt(), 130, "Interrupted; run the same command again to go on."),
    ],
    ids=["user", "data", "disk", "folder", "Ctrl-C"],
)
def test_a_step_ends_with_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run_to_exit_code(lambda: run_command(fail)) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{line}\n")


def test_errors_reach_whoever_runs_a_step() -> None:
    def fail() -> None:
        raise NO_FOLDER

    with pytest.raises(DataError, match=r"Not a directory: 'a\.png'"):
        run_command(fail)
    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        run_command(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run_command(lambda: None) == 0
    assert run_command(lambda: 3) == 3


@pytest.mark.parametrize(("rank", "name", "expected"), [(0, "lmdb", [1]), (1, "lmdb", []), (1, "hard-gated", [1])])
def test_under_torchrun_the_first_process_does_what_cannot_be_shared(
    rank: int,
    name: str,
    expected: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for key, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    done: list[int] = []
    monkeypatch.setattr(command, "run_lmdb", lambda args: done.append(1) or 0)
    monkeypatch.setattr(command, "run_hard_gated", lambda args: done.append(1) or 0)
    folders = ["--output", "x.lmdb"] if name == "lmdb" else ["--hr_folder", "HR", "--lr_folder", "LR"]
    assert main(["data", name, "--input", "DIR", *folders]) == 0
    assert done == expected
    assert ("2 processes; this command works in the first" in caplog.text) is (rank == 0)
