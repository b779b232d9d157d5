"""How the command lines of data preparation end: one line and one exit code, from the one place that makes them."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from basicsr.engine.exits import run_to_exit_code
from basicsr.preparation.running import run_command
from basicsr.utils.errors import DataError, UserError

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "a.png")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("--step: 0"), 2, "--step: 0"),
        (DataError("no such folder: in"), 3, "no such folder: in"),
        (NO_SPACE, 3, f"{NO_SPACE}; fix this and run the same command again"),
        (KeyboardInterrupt(), 130, "Interrupted; run the same command again to go on."),
    ],
    ids=["user", "data", "disk", "Ctrl-C"],
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
        raise NO_SPACE

    with pytest.raises(DataError, match=r"No space left on device: 'a\.png'"):
        run_command(fail)
    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        run_command(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run_command(lambda: None) == 0
    assert run_command(lambda: 3) == 3


@pytest.mark.parametrize(("rank", "is_shared", "expected"), [(0, False, [1]), (1, False, []), (1, True, [1])])
def test_under_torchrun_the_first_process_does_what_cannot_be_shared(
    rank: int,
    is_shared: bool,
    expected: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    done: list[int] = []
    assert run_command(lambda: done.append(1), is_shared) == 0
    assert done == expected
    assert ("2 processes; this command works in the first" in caplog.text) is (rank == 0)
