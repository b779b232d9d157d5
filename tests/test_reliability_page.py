"""The page on reliability names tests that there are."""

from __future__ import annotations

import re

from tiny_run import PROJECT


def test_every_named_test_is_there() -> None:
    page = (PROJECT / "docs/reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)`", page)
    assert len(named) > 30
    assert [name for name in named if not (PROJECT / name).is_file()] == []
