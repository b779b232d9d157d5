"""Log lines, timers, progress and environment."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import close_log_files
from tqdm import tqdm

from basicsr.utils import logger as logger_module
from basicsr.utils import progress as progress_module
from basicsr.utils.logger import AvgTimer, MessageLogger, get_env_info, get_root_logger
from basicsr.utils.progress import Progress, format_seconds

NAME = "basicsr_test"


@pytest.fixture(autouse=True)
def _clean_logger() -> Iterator[None]:
    yield
    close_log_files(NAME)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_root_logger_is_idempotent_and_adds_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = get_root_logger(NAME)
    second = get_root_logger(NAME, log_file=tmp_path / "logs/a.log")
    third = get_root_logger(NAME, log_file=tmp_path / "logs/a.log")
    assert first is second is third
    assert len(first.handlers) == 2
    first.info("once")
    assert capsys.readouterr().err.count("INFO: once") == 1
    assert (tmp_path / "logs/a.log").read_text().count("INFO: once") == 1


def test_a_file_begins_with_what_was_said_before_it_was_named(tmp_path: Path) -> None:
    logger = get_root_logger(NAME)
    logger.warning("an option has %s", "no effect")
    get_root_logger(NAME, log_file=tmp_path / "a.log")
    get_root_logger(NAME, log_file=tmp_path / "b.log")
    logger.info("begun")
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert lines == ["WARNING: an option has no effect", "INFO: begun"]
    assert "no effect" not in (tmp_path / "b.log").read_text()


def test_other_ranks_write_errors_only_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logger_module, "is_master", lambda: False)
    logger = get_root_logger(NAME, log_file=tmp_path / "b.log")
    logger.info("hidden")
    logger.error("shown")
    err = capsys.readouterr().err
    assert "hidden" not in err
    assert "shown" in err
    assert not (tmp_path / "b.log").exists()


def test_lines_do_not_break_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logger = get_root_logger(NAME)
    with Progress(10, "work") as progress:
        progress.update()
        logger.info("a line")
        progress.update(note="loss=1")
    lines = terminal.getvalue().replace("\r", "\n").split("\n")
    assert any(line.endswith("INFO: a line") for line in lines)
    assert any("work" in line and "/10" in line for line in lines)
    assert not tqdm._instances


def test_without_a_terminal_lines_tell_the_remaining_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, "basicsr"), Progress(100, "work", line_interval=30) as progress:
        for _ in range(100):
            now[0] += 10
            progress.update()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "work: 3 of 100, 0:16:10 left"
    assert len(messages) == 33


def test_seconds_in_words() -> None:
    assert format_seconds(90061.9) == "1 day, 1:01:01"


def test_average_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(logger_module.time, "perf_counter", lambda: now[0])
    timer = AvgTimer(window=4)
    assert timer.get_avg_time() == 0
    for seconds in (1, 2, 3, 2):
        now[0] += seconds
        timer.record()
    assert timer.get_avg_time() == 2
    assert timer.get_current_time() == 2
    now[0] += 100
    timer.start()
    now[0] += 4
    timer.record()
    assert timer.get_avg_time() == 3


class Writer:
    def __init__(self) -> None:
        self.scalars: dict[str, tuple[float, int]] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = (value, step)


def test_messages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    monkeypatch.setattr(logger_module.time, "monotonic", lambda: now[0])
    opt: dict[str, Any] = {"name": "a_long_name", "train": {"total_iter": 100}, "logger": {"use_tb_logger": True}}
    writer = Writer()
    messages = MessageLogger(opt, start_iter=11, tb_logger=writer)
    now[0] = 20.0
    log_vars = {
        "epoch": 2,
        "iter": 20,
        "lrs": [1e-4],
        "time": 2.0,
        "data_time": 0.5,
        "l_g_pix": 0.25,
        "out_d_real": 1.0,
    }
    before = dict(log_vars)
    with caplog.at_level(logging.INFO, "basicsr"):
        messages(log_vars)
    assert log_vars == before
    line = caplog.records[-1].getMessage()
    assert "[a_lon..][epoch:  2, iter:      20, lr:(1.000e-04,)]" in line
    assert "[eta: 0:02:40, time (data): 2.000 (0.500)]" in line
    assert "l_g_pix: 2.5000e-01" in line
    assert writer.scalars == {"losses/l_g_pix": (0.25, 20), "train/out_d_real": (1.0, 20), "lr": (1e-4, 20)}


def test_environment_names_versions() -> None:
    import torch

    text = get_env_info()
    assert torch.__version__ in text
    assert "basicsr: 2" in text


def test_wandb_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.utils.errors import UserError

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install wandb, or set it to null"):
        logger_module.init_wandb_logger({"name": "a", "logger": {"wandb": {"project": "p"}}})
