"""Progress without a terminal: a line now and then, with the time that is left."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from basicsr.utils.progress import Progress


def test_lines_begin_when_something_is_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "basicsr"), Progress(4, "Work", line_interval=0.0, in_percent=True) as progress:
        progress.update("first", 0)
        assert caplog.messages == []
        progress.update("first", 1)
        assert len(caplog.messages) == 1 and caplog.messages[0].startswith("Work: 25%, ")


def test_time_that_is_left_may_be_told_by_somebody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "basicsr"), Progress(4, "Work", line_interval=0.0, left=lambda: 3723.0) as lines:
        lines.update()
    assert caplog.messages == ["Work: 1 of 4, 1:02:03 left"]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, "Work", left=lambda: 3723.0) as bar:
        bar.note("l_pix=0.1")
    assert "0/4 [00:00<1:02:03" in terminal.getvalue() and "l_pix=0.1" in terminal.getvalue()
