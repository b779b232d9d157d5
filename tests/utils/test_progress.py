"""Progress without a terminal: a line now and then, with the time that is left."""

from __future__ import annotations

import logging

import pytest

from basicsr.utils.progress import Progress


def test_lines_begin_when_something_is_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "basicsr"), Progress(4, "Work", line_interval=0.0, in_percent=True) as progress:
        progress.update("first", 0)
        assert caplog.messages == []
        progress.update("first", 1)
        assert len(caplog.messages) == 1 and caplog.messages[0].startswith("Work: 25%, ")
