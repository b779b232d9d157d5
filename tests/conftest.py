"""Shared fixtures. Tests never touch the network, and keep torch on one thread: networks are tiny here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files with the longest tests first, so that no process is left alone with them at the end."""
    first = ("test_extension.py", "test_every_recipe.py", "test_scripts_score.py")
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))
