from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def toys_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only the toys are registered for sure; the working folder is an empty one."""
    monkeypatch.setattr("basicsr.options.validate.fill_registries", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path
