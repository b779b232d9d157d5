"""A tiny model in a file, and an empty folder to work in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import compact, save


@pytest.fixture(scope="session")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a x2 network that repeats every pixel."""
    return save(compact(), tmp_path_factory.mktemp("weights") / "repeating.pth")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
